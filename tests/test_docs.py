"""The pages are held to the code: links resolve, run files are read, commands parse, functions exist, examples run."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from shelf import shelf_in

from alignzoo.cli.parser import bundled_pages
from alignzoo.lab.bench.benchfile import bench_of
from alignzoo.lab.runfile import plan_of
from alignzoo.records import from_json
from alignzoo.seam.discovery import discover
from alignzoo.seam.settings import override
from alignzoo.seam.source import file_of
from alignzoo.seam.zoo import Zoo

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])
DEMO: dict[str, Any] = tomllib.loads((ROOT / "benchmarks" / "demo.toml").read_text())
RUN_BY_A_TEST = (ROOT / "docs" / "tutorial" / "a-plugin-in-an-hour.md",)
"""Pages whose commands are all run, among files that the page itself writes: tests/test_tutorial_hour.py."""
TOPS = ("core/", "plugins/", "benchmarks/", "docs/", "tests/")


@dataclass(frozen=True)
class Fence:
    """A block of code on a page."""

    page: Path
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that the block says it is, in its first line: "# alignzoo_thumbs/thumbs.py"."""
        found = re.match(r"# (\S+\.(?:py|toml))\n", self.text)
        return found[1] if found else ""


def fences(page: Path) -> list[Fence]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Fence(page, language, text) for language, text in found]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """Code within sentences and tables."""
    return [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", prose(page))]


def every(language: str) -> list[Any]:
    found = [fence for page in PAGES for fence in fences(page) if fence.language == language]
    return [pytest.param(fence, id=f"{fence.page.relative_to(ROOT)}-{i}") for i, fence in enumerate(found)]


def every_page() -> Any:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# Links and paths ---------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page()
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


@every_page()
def test_files_that_are_spoken_of_exist(page: Path) -> None:
    for span in spans(page):
        if span.startswith(TOPS) and " " not in span:
            assert (ROOT / span).exists(), span


def test_every_page_of_the_documentation_is_reached_from_its_index() -> None:
    reached, ahead = set(), [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", prose(page))
        ahead += [(page.parent / target).resolve() for target in targets if not re.match(r"[a-z]+:", target)]
    assert [page for page in (ROOT / "docs").glob("**/*.md") if page not in reached and "decisions" not in page.parts] == []


# Run files ---------------------------------------------------------------------------------------------------------------


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The demo's run file with a page's fragment in it. Another `use` replaces a table."""
    both = {k: v for k, v in over.items() if isinstance(v, Mapping) and isinstance(under.get(k), Mapping)}
    mixed = {k: laid_over({} if {"use", "path"} & set(v) else under[k], v) for k, v in both.items()}
    return {**under, **over, **mixed}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    """What is installed, and the plugins that the pages write, installed for real."""
    shelf = shelf_in(tmp_path, monkeypatch)
    for page in PAGES:
        written = [fence for fence in fences(page) if fence.file]
        for project in (tomllib.loads(fence.text)["project"] for fence in written if fence.file == "pyproject.toml"):
            [[plugin, module]] = project["entry-points"]["alignzoo.plugins"].items()
            shelf.put(plugin, None, dist=project["name"])
            (tmp_path / module).mkdir()
            for fence in (fence for fence in written if fence.file.startswith(f"{module}/")):
                (tmp_path / fence.file).write_text(fence.text)
    return discover()


def test_plugins_on_the_pages_are_found_whole(zoo: Zoo) -> None:
    assert {"optimizer:thumbs/thumbs", "task:mine/files", "reward:mine/short"} <= {f.full_name for f in zoo.components}
    assert [fault for fault in zoo.broken if fault.plugin in ("thumbs", "mine")] == []


@pytest.mark.parametrize("fence", every("toml"))
def test_run_files_are_read(fence: Fence, zoo: Zoo) -> None:
    table = tomllib.loads(fence.text)
    if {"entry", "task"} <= set(table):
        bench_of({"name": "named", **table}, zoo, fence.page.name)
        return
    if fence.file:  # a file of a plugin's own, not a run file
        return
    whole = {"optimizer", "task", "model"} <= set(table)
    plan_of(table if whole else laid_over(DEMO, table), zoo, fence.page.name)


# Commands ----------------------------------------------------------------------------------------------------------------


def commands(page: Path) -> list[str]:
    lines = [line for fence in fences(page) if fence.language == "bash" for line in fence.text.splitlines()]
    said = [span for span in spans(page) if span.startswith("alignzoo ")]
    return [*lines, *said]


@every_page()
def test_commands_parse(page: Path, zoo: Zoo) -> None:
    parsers = bundled_pages()
    for command in commands(page):
        words = shlex.split(command, comments=True)
        if page in RUN_BY_A_TEST and words[:1] == ["python"]:
            continue
        if words[:1] == ["python"]:
            assert (ROOT / words[1]).is_file(), command
        if words[:1] != ["alignzoo"]:
            continue
        verb = words[1]
        assert verb in parsers, command
        known = {option for action in parsers[verb]._actions for option in action.option_strings}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, command
        if len(words) == 2:  # the verb alone, in a sentence
            continue
        args = parsers[verb].parse_args(words[2:])
        if hasattr(args, "changes") and page not in RUN_BY_A_TEST:
            named = ROOT / args.target
            table = tomllib.loads(named.read_text(encoding="utf-8")) if named.suffix == ".toml" and named.is_file() else DEMO
            for change in args.changes:
                table = override(table, change)
            read = bench_of if verb == "bench" else plan_of
            read({"name": "named", **table}, zoo, command)


@every_page()
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(page):
        if command.startswith("make ") and "=" not in command:
            assert command.split()[1] in targets, command


@every_page()
def test_settings_that_are_spoken_of_exist(page: Path) -> None:
    """`watch.every`, `budget.updates`, `model.lora.targets`: named with the table they stand in."""
    known = set(re.findall(r"^\| `([\w.]+)` \|", reference("run-file.md"), re.MULTILINE))
    checks = set(re.findall(r"^\| `([\w.-]+)` \|", reference("conformance.md"), re.MULTILINE))
    for span in spans(page):
        if re.fullmatch(r"(budget|watch|intake|answer|model|optimizer)(\.[a-z_]+)+", span):
            assert span in checks or span.partition(".")[2].removeprefix("lora.") in known, span


# Code --------------------------------------------------------------------------------------------------------------------


def defined(path: str, names: list[str]) -> bool:
    """Whether a source file defines names[0], and within it names[1], and so on; nothing is imported."""
    body: list[ast.stmt] = ast.parse(Path(path).read_text(encoding="utf-8")).body
    for name in names:
        found = [node for node in body if name in _names(node)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def _names(node: ast.stmt) -> set[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {name.asname or name.name for name in names}
    return set()


def exists(dotted: str) -> bool:
    """Whether "alignzoo_dpo.dpo.DPO.improve" is a module, or something that one defines."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        if path := file_of(".".join(parts[:length])):
            return length == len(parts) or (path.endswith(".py") and defined(path, parts[length:]))
    return False


def test_what_exists_is_told_from_what_does_not() -> None:
    assert exists("alignzoo_dpo.dpo.DPO.pair_loss")
    assert exists("alignzoo.learning")
    assert not exists("alignzoo_dpo.dpo.DPO.pear_loss")
    assert not exists("alignzoo_dpo.doo")


@every_page()
def test_functions_that_are_named_exist(page: Path) -> None:
    for span in spans(page):
        dotted = span.partition("(")[0]
        if re.fullmatch(r"alignzoo(_\w+)?(\.\w+)+", dotted) and dotted not in ("alignzoo.plugins", "alignzoo.lock"):
            assert exists(dotted), dotted


@pytest.mark.parametrize("page", sorted(path.stem for path in (ROOT / "docs" / "algorithms").glob("*.md")))
def test_equations_have_functions(page: Path) -> None:
    text = (ROOT / "docs" / "algorithms" / f"{page}.md").read_text(encoding="utf-8")
    [table] = re.findall(r"^\| what \| where \|\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    for row in table.splitlines()[1:]:
        named = re.findall(r"`(alignzoo[\w.]+)`", row)
        assert named, row
        assert all(exists(name) for name in named), row


ALGORITHMS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "algorithms").glob("*.md"))}


def test_every_optimizer_has_a_page_that_says_when_and_when_not() -> None:
    optimizers = {
        found.full_name.rpartition("/")[2] for found in discover().components if found.full_name.startswith("optimizer:")
    }
    assert set(ALGORITHMS) == optimizers
    for name, text in ALGORITHMS.items():
        headings = set(re.findall(r"^## (.+)$", text, re.MULTILINE))
        assert {"Settings", "When to use it", "When not", "What is left out"} <= headings, name
        assert {"What it logs", "What it tells"} & headings, name
        assert f"(../reference/run-file.md#optimizer{name})" in text, name


def figures(text: str) -> list[str]:
    """What the first table of a page says is logged; "`held_out_accuracy`, `_low`" are two names."""
    _, _, below = text.partition("## What it logs\n")
    rows = re.search(r"^\| (?:figure|number).*\n\|[-| ]+\n((?:\|.*\n)+)", below, re.MULTILINE)
    named = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in rows[1].splitlines()] if rows else []
    return [
        name if not name.startswith("_") else own[0].removesuffix("_60").removesuffix("_to") + name
        for own in named
        for name in own
    ]


def spoken_in(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    """Every string and keyword in a folder's code, and how its composed strings begin."""
    whole, begun = set(), []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)):
                    whole.add(text)
                case ast.keyword(arg=str(text)):
                    whole.add(text)
                case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if re.fullmatch(r"\w+_", text):
                    begun.append(text)
    return whole, tuple(begun)


@pytest.mark.parametrize("page", ALGORITHMS)
def test_figures_on_the_page_are_logged(page: str) -> None:
    [plugin] = set(re.findall(r"^\| plugin \| \[`(plugins/\w+)`\]", ALGORITHMS[page], re.MULTILINE)) or {""}
    assert plugin
    named = figures(ALGORITHMS[page])
    assert named or page in ("best-of-n", "constitutional")  # without updates
    said = [spoken_in(next((ROOT / plugin).glob("alignzoo_*")))]
    said += [spoken_in(ROOT / "core" / "alignzoo" / room) for room in ("learning", "lab")]
    for name in named:
        assert any(name in whole or name.startswith(begun) for whole, begun in said), name


@pytest.mark.parametrize("fence", every("python"))
def test_python_compiles_and_its_imports_exist(fence: Fence, zoo: Zoo) -> None:
    for node in ast.walk(ast.parse(fence.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition("_")[0].partition(".")[0] == "alignzoo":
            for name in node.names:
                assert exists(f"{node.module}.{name.name}"), f"{node.module}.{name.name}"


@pytest.mark.parametrize("fence", every("json"))
def test_records_on_the_pages_are_read(fence: Fence, tmp_path: Path) -> None:
    from alignzoo.lab.prompts import read_prompts

    if '"kind"' in fence.text:
        assert [from_json(line) for line in fence.text.splitlines()]
    else:
        (tmp_path / "prompts.jsonl").write_text(fence.text)
        assert len(read_prompts(tmp_path / "prompts.jsonl")) == len(fence.text.splitlines())


def test_the_optimizer_on_the_page_learns(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own trial, as it stands on the page: log 2 at first, then less."""
    page = ROOT / "docs" / "how-to" / "write-an-optimizer.md"
    [trial] = [fence for fence in fences(page) if "toy_base()" in fence.text]
    exec(compile(trial.text, str(page), "exec"), {})
    losses = [ast.literal_eval(line)["loss"] for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses[-1] < 0.65


def test_the_task_and_the_reward_on_the_page_work(zoo: Zoo, tmp_path: Path) -> None:
    from alignzoo.interfaces import Reward, Task
    from alignzoo.records import Completion, Prompt

    (tmp_path / "test.jsonl").write_text('{"prompt": "How do I repot a cactus?"}\n')
    task = zoo.find("task", "files").load()(tmp_path)
    reward = zoo.find("reward", "short").load()(words=2)
    assert isinstance(task, Task)
    assert isinstance(reward, Reward)
    assert task.prompts("test") == [Prompt.ask("How do I repot a cactus?")]
    asked = task.prompts("test") * 3
    assert reward(asked, [Completion("yes"), Completion("a b c"), Completion("", finished=False)]) == [1.0, 0.5, -1.0]


# Pages that follow from the code ------------------------------------------------------------------------------------------


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(name: str) -> str:
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["run-file.md", "cli.md", "conformance.md", "plugin-api.md", "plugins.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert reference(name) == generator().PAGES[name](), "run: python docs/generate.py"


def test_every_setting_has_words() -> None:
    for row in reference("run-file.md").splitlines():
        if row.startswith("| `") and row.count("|") == 6:
            assert row.split("|")[-2].strip(), f"no meaning: {row}"


def test_a_text_is_told_as_it_is_set_and_not_by_the_name_it_has_in_the_source() -> None:
    rows = [row.split("|") for row in reference("run-file.md").splitlines() if "` | text | " in row]
    assert len(rows) > 50
    assert [row[1] for row in rows if row[3].strip() != "(required)" and not row[3].strip().startswith('`"')] == []
