"""Constitutions from every sort of file, and what is wrong with a bad one, by file and line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from alignzoo_rlaif.constitution import Constitution, ConstitutionError, Principle, drawn, read_constitution

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "cai_principles.jsonl"


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


TOML = """# Two principles.
name = "manners"

[[principle]]
id = "polite"
text = "Be polite."
weight = 3

[[principle]]
id = "brief"
critique = "Is it brief?"
revision = "Make it brief."
"""


def test_toml(tmp_path: Path) -> None:
    read = read_constitution(written(tmp_path, "rules.toml", TOML))
    assert read.name == "manners"
    assert read.principles == (
        Principle("polite", "Be polite.", weight=3.0),
        Principle("brief", critique="Is it brief?", revision="Make it brief."),
    )


def test_a_text_gives_all_three_questions_and_what_is_written_stays() -> None:
    asked = Principle("polite", "Be polite.", comparison="Which is the politer?").asked
    assert asked.critique.endswith("against this principle: Be polite.")
    assert asked.revision.endswith("keeps to this principle: Be polite.")
    assert asked.comparison == "Which is the politer?"


def test_principles_serve_what_they_have_words_for() -> None:
    text = Principle("a", "Be kind.")
    revising = Principle("b", critique="What is wrong?", revision="Mend it.")
    comparing = Principle("c", comparison="Which?")
    whole = Constitution("all", (text, revising, comparing))
    assert [p.id for p in whole.serving("revision")] == ["a", "b"]
    assert [p.id for p in whole.serving("comparison")] == ["a", "c"]
    assert [p.id for p in whole.serving("instruction")] == ["a"]
    with pytest.raises(ConstitutionError, match="no principle in it has critique and revision"):
        Constitution("some", (comparing,)).serving("revision")


def test_lines_of_text(tmp_path: Path) -> None:
    read = read_constitution(written(tmp_path, "kind.txt", "# For everyone\n\nBe kind.\n  Be true.  \n"))
    assert read.name == "kind"
    assert read.principles == (Principle("line-3", "Be kind."), Principle("line-4", "Be true."))


ANTHROPIC = [
    {
        "kind": "critique_revision",
        "key": "harmful0",
        "prompt": ["\n\nCritiqueRequest: What is harmful in it?\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Take it out.\n\nRevision:",
    },
    {"kind": "comparison", "key": "rl0", "instruction": "\nChoose the less harmful one. Options:"},
]


def test_anthropics_form_as_lines_and_as_one_table(tmp_path: Path) -> None:
    wanted = (
        Principle("harmful0", critique="What is harmful in it?", revision="Take it out."),
        Principle("rl0", comparison="Choose the less harmful one."),
    )
    lines = read_constitution(written(tmp_path, "p.jsonl", "\n".join(map(json.dumps, ANTHROPIC))))
    table = {row["key"]: {name: row[name] for name in row if name != "key"} for row in ANTHROPIC}
    assert lines.principles == wanted
    assert read_constitution(written(tmp_path, "p.json", json.dumps(table, indent=1))).principles == wanted


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no published principles beside the checkout")
def test_the_published_principles_load_unchanged() -> None:
    """16 to revise by and 16 to compare by. Between the labels their words are what the file has, letter by letter."""
    read = read_constitution(PUBLISHED)
    assert len(read.serving("revision")) == len(read.serving("comparison")) == 16
    rows = {row["key"]: row for row in map(json.loads, PUBLISHED.read_text().splitlines())}
    for principle in read.principles:
        row = rows[principle.id]
        if "prompt" in row:
            assert "\n\nCritiqueRequest: " + principle.critique + "\n\nCritique:" == "".join(row["prompt"])
            assert "\n\nRevisionRequest: " + principle.revision + "\n\nRevision:" == row["edit_request"]
        else:
            assert row["instruction"].replace("Options:", "").strip() == principle.comparison


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", 'name = "x"\n', r"a\.toml: there is no principle in it"),
        ("a.txt", "# nothing\n\n", r"a\.txt: there is no principle in it"),
        ("a.jsonl", "\n", r"a\.jsonl: there is no principle in it"),
        ("a.toml", "name = \n", r"a\.toml: not TOML"),
        ("a.toml", 'name = "x"\nprinciples = 3\n', r"a\.toml:2: 'principles' is not known here"),
        (
            "a.toml",
            TOML.replace("weight = 3", "wieght = 3"),
            r"a\.toml:7: principle\.wieght: no such setting; did you mean 'weight'",
        ),
        ("a.toml", TOML.replace("weight = 3", "weight = 0"), r"a\.toml:4: principle\.weight: must be greater than 0"),
        ("a.toml", TOML.replace('id = "brief"\n', ""), r"a\.toml:9: principle\.id: missing"),
        (
            "a.toml",
            TOML.replace('revision = "Make it brief."\n', ""),
            r"a\.toml:9: principle: critique and revision go together",
        ),
        ("a.toml", TOML.replace('"brief"', '"polite"'), "two principles are called 'polite'"),
        ("a.toml", '[[principle]]\nid = "x"\n', r"a\.toml:1: principle: a principle says nothing"),
        (
            "a.jsonl",
            '{"key": "x", "instruction": "I?"}\n{"key": "y", "instrction": "I?"}\n',
            r"a\.jsonl:2: 'instrction' is not known",
        ),
        ("a.jsonl", '{"key": "x", "instruction": "I?"}\n{"key"\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", '{"key": "x"}\n', r"a\.jsonl:1: a principle says nothing"),
        ("a.jsonl", "3\n", r"a\.jsonl:1: a principle is a table; got int"),
        ("a.jsonl", '{"key": null, "instruction": "I?"}\n', r"a\.jsonl:1: key, prompt, .* are texts"),
        ("a.json", '[{"key": "x", "prompt": [1], "edit_request": "E"}]', r"a\.json:1: key, prompt, .* are texts"),
        ("a.json", "5", r"a\.json: principles stand in a list or a table; got int"),
        ("a.json", "[" * 100_000, r"a\.json: not JSON"),
        (
            "a.toml",
            '[[principle]]\nid = "x"\ntext = "X"\nweight = inf\n',
            r"a\.toml:1: principle\.weight: .* with an end; got inf",
        ),
        ("a.toml", '[[principle]]\nid = "x"\ntext = "  "\n', r"a\.toml:1: principle: a principle says nothing"),
        ("a.toml", '[[principle]]\nid = "x\\ny"\ntext = "X"\n', r"a\.toml:1: principle: .* an id of one line"),
        (
            "a.toml",
            '[[principle]]\nid = "x"\ntext = "X"\nweight = 1e308\n[[principle]]\nid = "y"\ntext = "Y"\nweight = 1e308\n',
            "a: the weights together are too large",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConstitutionError, match=message):
        read_constitution(written(tmp_path, name, text))


def test_a_mark_of_the_order_of_bytes_is_no_part_of_the_words(tmp_path: Path) -> None:
    assert read_constitution(written(tmp_path, "a.toml", "\ufeff" + TOML)).name == "manners"
    [line] = read_constitution(written(tmp_path, "a.txt", "\ufeffBe kind.\n")).principles
    assert line.text == "Be kind."


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match="no such file"):
        read_constitution(tmp_path / "none.toml")


def test_a_part_of_a_constitution(tmp_path: Path) -> None:
    read = read_constitution(written(tmp_path, "rules.toml", TOML))
    assert [p.id for p in read.only(("brief",)).principles] == ["brief"]
    assert read.only(()) == read
    with pytest.raises(ConstitutionError, match="no principle 'bref'; there is polite, brief"):
        read.only(("bref",))


def test_the_label_goes_with_the_words(tmp_path: Path) -> None:
    one = read_constitution(written(tmp_path, "rules.toml", TOML))
    other = read_constitution(written(tmp_path, "rules.toml", TOML.replace("Be polite.", "Be rude.")))
    assert one.label.startswith("manners@")
    assert one.label != other.label
    assert one.label == read_constitution(written(tmp_path, "rules.toml", TOML + "\n# a remark\n")).label


def test_principles_are_drawn_by_weight() -> None:
    two = (Principle("a", "A", weight=3.0), Principle("b", "B"))
    counts = Counter(drawn(two, Random(seed)).id for seed in range(2000))
    assert 1400 < counts["a"] < 1600


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "constitution").glob("*.principles.toml")), ids=lambda f: f.stem)
def test_the_playgrounds_constitutions_serve_revision_and_comparison(file: Path) -> None:
    read = read_constitution(file)
    assert len(read.serving("revision")) == len(read.serving("comparison")) == len(read.principles)
