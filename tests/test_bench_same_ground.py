"""What finished runs of a bench must have in common: whatever differs is named, and what may differ is left alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignzoo.lab import store
from alignzoo.lab.bench.folder import Cell
from alignzoo.lab.bench.outcome import Outcome, apart, ground

GIVEN: dict[str, Any] = {
    "seed": 0,
    "answer": {"prompts": 2, "manner": {"temperature": 1.0}},
    "judge": {"use": "gold"},
    "source": {"use": "playground", "count": 8},
    "weights": "as they were",
    "adapter": "sha256:1",
    "asked": "a or b?",
    "said": "a",
    "by_policy": "b",
    "records": "{}\n",
}


def outcome(root: Path, **changes: Any) -> Outcome:
    """A finished run of which only that is there which others must share."""
    given = {**GIVEN, **changes}
    files, model = store.Folder(root / "run"), root / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(given["weights"])
    rows = [{"who": "start", "prompt": given["asked"], "completion": given["said"]}]
    store.write_rows(files.answers, [*rows, {"who": "policy", "prompt": given["asked"], "completion": given["by_policy"]}])
    store.write_json(files.start.summary, {"adapter": given["adapter"]})
    store.write_text(files.feedback, given["records"])
    table = {"model": {"path": "model"}, "start": {"use": "sft"}, "answer": given["answer"], "judge": given["judge"]}
    table["feedback"] = given["source"]
    plan: Any = SimpleNamespace(table=lambda: table, model=str(model), seed=given["seed"], start=True, feedback=True, jury=())
    return Outcome("done", ground=ground(plan, files))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"answer": {"prompts": 2, "manner": {"temperature": 0.5}}}, "decoding"),
        ({"judge": {"use": "length"}}, "judge"),
        ({"asked": "c or d?"}, "prompts and answers of the start"),
        ({"said": "b"}, "answers of the start"),
        ({"weights": "others"}, "base"),
        ({"adapter": "sha256:2"}, "start"),
        ({"records": "{ }\n"}, "feedback"),
    ],
    ids=lambda what: " ".join(what) if isinstance(what, dict) else "",
)
def test_what_differs_between_two_runs_of_a_seed_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    one, other = outcome(tmp_path / "one"), outcome(tmp_path / "other", **changes)
    assert f"not on the same ground as dpo/0: its {named} differ" in apart(other, [(Cell("dpo", 0), one)])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"by_policy": "another answer"},
        {"seed": 1, "adapter": "sha256:2", "said": "b", "records": "{ }\n"},
        {"source": {"use": "hh-rlhf"}, "records": "{ }\n"},
    ],
    ids=["nothing", "the policy", "the seed, and what hangs on it", "the source, and its records"],
)
def test_what_may_differ_is_left_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    one, other = outcome(tmp_path / "one"), outcome(tmp_path / "other", **changes)
    assert apart(other, [(Cell("dpo", 0), one)]) == ""


def test_a_file_that_settings_name_is_the_same_under_every_seed(tmp_path: Path) -> None:
    """Feedback of another seed has no other reason to differ from that of the first."""
    data = tmp_path / "a file of pairs.jsonl"
    data.write_text("{}\n")
    source = {"use": "file", "data": str(data)}
    one = outcome(tmp_path / "one", source=source)
    again = outcome(tmp_path / "again", source=source, seed=1)
    assert apart(again, [(Cell("dpo", 0), one)]) == ""
    judging = outcome(tmp_path / "judging", judge={"use": "gold", "log": str(data)})
    data.write_text("{ }\n")
    assert apart(outcome(tmp_path / "judged", judge={"use": "gold", "log": str(data)}), [(Cell("dpo", 0), judging)]) == ""
    other = outcome(tmp_path / "other", source=source, seed=1)
    assert f"not on the same ground as dpo/0: its file {data} differ" in apart(other, [(Cell("dpo", 0), one)])
