"""Writes the pages in docs/reference that follow from the code: run-file.md, cli.md, conformance.md, plugin-api.md, plugins.md.

    python docs/generate.py                  # write them
    python docs/generate.py --check          # say which are out of date, and write nothing
    python docs/generate.py --accept NAME    # promise a changed name of the plugin API as it is now: see plugin-api.md

Nothing heavy is imported: settings are read from source, as `alignzoo info` reads them. `tests/test_docs.py` fails while a
page is out of date.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from alignzoo.cli import parser as command_line
from alignzoo.seam import promise
from alignzoo.seam.described import Setting, described
from alignzoo.seam.discovery import discover
from alignzoo.seam.hookspecs import API
from alignzoo.seam.registry import Plugin, Release, Revoked, read
from alignzoo.seam.surface import CONTRACT, Name, surface
from alignzoo.seam.zoo import Found

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTICE = "<!-- Written by docs/generate.py from the code. Do not edit: change the code, then run `python docs/generate.py`. -->"

TABLES: tuple[tuple[str, str, str], ...] = (
    ("At the top", "alignzoo.lab.runfile:_Head", "Written above the first table."),
    (
        "`[model]`",
        "alignzoo.model.choices:Loading",
        'Say which model: `path = "folder or hub name"`, or `use = "playground"` for the model of a plugin. Beside it:',
    ),
    ("`[model.lora]`", "alignzoo.model.choices:Lora", "The shape of every adapter of the run, the start's too."),
    (
        "`[budget]`",
        "alignzoo.learning.choices:Budget",
        "What the training may spend (not the start's training). "
        "It stops after the update in which a limit is reached. See [costs](../explanation/costs.md).",
    ),
    (
        "`[watch]`",
        "alignzoo.learning.choices:Watch",
        "What the canaries look at. See [the canaries](../explanation/architecture.md#canaries).",
    ),
    ("`[intake]`", "alignzoo.learning.choices:Limits", "How much of the feedback may be unusable before the run refuses."),
    (
        "`[reward]` and `[[reward]]`",
        "alignzoo.learning.choices:Voice",
        "How a reward counts, beside its own settings. Several are written as `[[reward]]`, one table each; `combine` at the "
        "top says what they come to.",
    ),
    (
        "`[answer]`",
        "alignzoo.lab.plan:Answering",
        "What start and policy are asked at the end. `[answer.manner]` also says how candidates are sampled while feedback "
        "is collected.",
    ),
    (
        "`[trail]`",
        "alignzoo.lab.plan:Trailing",
        "Points of KL, proxy and gold on the way, in `train/trail.jsonl`. They cost time, and are charged to nobody.",
    ),
    (
        "`[whose]`",
        "alignzoo.lab.reserve:Whose",
        "What is held back from learning, so that the report can say which policy each group of annotators agrees with. See "
        "[annotators](../feedback/annotators.md#which-policy-does-each-group-agree-with-whose).",
    ),
    (
        "`[tune]`, in a bench file",
        "alignzoo.lab.bench.tuning:Tuning",
        "How much tuning each entry of a [bench](../how-to/bench.md) gets.",
    ),
)

WORDS: dict[str, dict[str, str]] = {
    "alignzoo.lab.runfile:_Head": {
        "name": "The run's name, and of its folder below `runs/`. Without it: the file's own name.",
        "seed": "The seed of the run. A component with a `seed` of its own takes this one unless it is given another.",
        "checkpoint_every": "Updates between two checkpoints.",
    },
    "alignzoo.model.choices:Lora": {
        "rank": "Width of the adapters.",
        "alpha": "Their weight: what an adapter adds is multiplied by alpha/rank.",
    },
    "alignzoo.learning.choices:Budget": {
        "updates": "Updates.",
        "labels": "Distinct records dealt to the optimizer.",
        "flops": "Floating-point operations of the base, by formula.",
        "seconds": "Seconds spent in updates.",
    },
    "alignzoo.lab.plan:Answering": {
        "manner.max_tokens": "The longest answer, in tokens.",
        "manner.temperature": "Logits are divided by it; 0 is greedy.",
        "manner.top_p": "Draw from the likeliest tokens that together have this probability.",
        "manner.top_k": "Draw from so many of the likeliest tokens; 0 draws from all.",
        "manner.min_p": "Draw from tokens with at least this share of the likeliest one's probability; 0 draws from all.",
        "manner.stop": "Texts that end an answer: it stops where it says one of them, and its text ends before it.",
        "manner.seed": "With the prompt and the number of the answer, it decides every draw.",
    },
}
"""Words for settings whose source says nothing of them. What the source says goes first."""

PLACES: dict[str, str] = {
    "task": "`[task]`",
    "model": "`[model]`",
    "feedback": "`[feedback]` and `[start.feedback]`",
    "filter": "`[[feedback.filter]]`",
    "acquisition": "`[feedback.acquisition]`",
    "reward": "`[reward]`, `[jury]` and `[judge]`",
    "optimizer": "`[optimizer]` and `[start]`",
    "policy": "`[policy]`",
}
TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "tuple[str, ...]": "list of texts",
    "Path | tuple[Path, ...]": "path, or a list of paths",
}
DEFAULTS = {"True": "true", "False": "false", "()": "[]", "None": '"none"'}
SIGNS = {">=": "≥", "<=": "≤"}

HEAD = """# The run file

A run is one TOML file. An unknown key, a wrong type or a value out of range is an error that names the file, the place and
the nearest name; all of them are reported at once, before any model is loaded. A change on the command line has the form
`--set optimizer.beta=0.2`; `--set 'feedback={use="shp"}'` puts a table in the place of the whole of another, where the settings
in it are none of what it is to use. The same file with everything resolved lies in the run's folder as `run.toml`.

| table | must it be there? | what it is |
|---|---|---|
| `[model]` | yes | the frozen base, and how it is loaded |
| `[optimizer]` | yes | the algorithm that aligns; `use` and its own settings |
| `[task]` | yes, or `answer.file` | prompts to learn on and prompts to be judged on |
| `[feedback]` | if the optimizer needs it | where judgements come from |
| `[[feedback.filter]]` | no | what holds records of a source back; also below every other `….feedback` |
| `[feedback.acquisition]` | no | what chooses, among more answers than are needed, those that a source is asked about |
| `[policy]` | no | what is put around the trained policy before anybody asks it |
| `[start]`, `[start.feedback]` | no | an optimizer that makes what alignment starts from, and what it learns from |
| `[reward]` | if the optimizer needs it | what its answers are worth; `use` may be your own `module:function` |
| `[reward.feedback]` | no | what it is trained on: `[reward]` then names an optimizer that deploys a reward |
| `[judge]` | for the report | a reward that scores the answers at the end |
| `[jury]`, `[jury.feedback]` | no | who else is shown the answers ([how](../feedback/annotators.md)) |
| `[budget]`, `[watch]`, `[intake]`, `[answer]`, `[trail]`, `[whose]` | no | limits and questions, with the defaults below |

`use` names a component: `dpo`, or `optimizer:dpo`, or in full `optimizer:dpo/dpo`. `run.toml` has the full name.
A table inside a table (`[optimizer.descent]`, `[answer.manner]`) changes what it names and keeps the rest."""


def run_file() -> str:
    """The page of every table and setting."""
    parts = [NOTICE, HEAD]
    for title, source, words in TABLES:
        parts += [f"## {title}", words, _table(_told(source))]
    ours = [found for found in discover().components if found.distribution == "alignzoo"]
    for kind, places in PLACES.items():
        for found in (found for found in ours if found.component.kind == kind):
            parts += [*_component(found, places)]
    return "\n\n".join(parts) + "\n"


def _component(found: Found, places: str) -> Iterator[str]:
    component = found.component
    yield f"## `{component.kind}:{component.id}`"
    facts = [f"For {places}: {component.summary}."]
    facts += [f"Needs: {', '.join(component.needs)}."] if component.needs else []
    facts += [f"Gives: {', '.join(component.gives)}."] if component.gives else []
    yield " ".join(facts)
    settings = described(component.object)
    yield _table(settings) if settings else "No settings."


def _told(source: str) -> list[Setting]:
    words = WORDS.get(source, {})
    return [replace(setting, doc=setting.doc or words.get(setting.name, "")) for setting in described(source)]


def _table(settings: Iterable[Setting]) -> str:
    lines = ["| setting | type | default | range | meaning |", "|---|---|---|---|---|"]
    for s in settings:
        limits = s.range
        for sign, better in SIGNS.items():
            limits = limits.replace(sign, better)
        default = f"`{DEFAULTS.get(s.default, s.default)}`" if s.default else "(required)"
        lines.append(f"| `{s.name}` | {_type(s.type)} | {default} | {limits} | {_cell(s.doc)} |")
    return "\n".join(lines)


def _type(text: str) -> str:
    if text.endswith(" | None"):
        return f'{_type(text.removesuffix(" | None"))} or `"none"`'
    if text.startswith('"'):
        return " or ".join(f"`{choice}`" for choice in text.split(" | "))
    if text.startswith('tuple["'):
        return f"list of {_type(text.removeprefix('tuple[').removesuffix(', ...]'))}"
    return TYPES.get(text, f"`{text}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# The command line ---------------------------------------------------------------------------------------------------


def cli() -> str:
    """The page of every verb and option."""
    top, *verbs = ((name, page) for name, page in command_line.bundled_pages().items())
    parts = [NOTICE, "# The command line", f"{top[1].description} `python -m alignzoo` is the same.", _options(top[1])]
    epilog = command_line.EPILOG
    parts.append(epilog[0].upper() + epilog[1:].replace("\n", " ") + ".")
    for name, page in verbs:
        words = page.description or ""
        parts += [f"## `alignzoo {name}`", f"{words[0].upper()}{words[1:].rstrip('.')}.", _options(page)]
    return "\n\n".join(parts) + "\n"


def _options(page: argparse.ArgumentParser) -> str:
    lines = ["| argument | default | meaning |", "|---|---|---|"]
    for action in page._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            lines.append(f"| `COMMAND` | | one of {', '.join(f'`{verb}`' for verb in action.choices)} |")
            continue
        spelled = ", ".join(f"`{option}`" for option in action.option_strings)
        value = action.metavar or (action.dest.upper() if action.nargs is None and action.option_strings else "")
        if spelled and value and not action.choices:
            spelled = spelled.replace(action.option_strings[-1], f"{action.option_strings[-1]} {value}")
        if not spelled:
            spelled = f"`{value}`" + (" (may be left out)" if action.nargs == "?" else "")
        meaning = action.help or ""
        if action.choices:
            meaning = f"{meaning}: {', '.join(map(str, action.choices))}" if meaning else ", ".join(map(str, action.choices))
        shown = action.default if isinstance(action.default, int | float) and not isinstance(action.default, bool) else None
        lines.append(f"| {spelled} | {f'`{shown}`' if shown is not None else ''} | {_cell(meaning)} |")
    return "\n".join(lines)


# The plugin API -------------------------------------------------------------------------------------------------------

API_HEAD = """# The plugin API, version {api}

What a plugin may count on. A component says for which version it was built (`Component(…, api="1.0")`), and works with every
later one of the same major number. Everything else in alignzoo may change from one day to the next: a name that is not on this
page is not yours.

[Write an optimizer](../how-to/write-an-optimizer.md) shows the names at work; `alignzoo new` writes a plugin that uses them.

## What may change

* **Minor** (1.0 → 1.1): something is added. A new name, a new parameter or field with a default, a new choice of a `Literal`,
  a new hook, a new argument of a hook. Every plugin built for 1.0 works as before. One that uses what is new says `api="1.1"`,
  and an older alignzoo refuses it with that reason.
* **Major** (1.1 → 2.0): something is taken away or means something else. A name, parameter, field or choice is gone; a new one
  has no default; a default or a type is another; an old protocol demands more. Plugins built for 1.x are refused, with that
  reason.
* **A name goes slowly.** It is marked with `alignzoo.deprecation.deprecated` (or, if it has moved, found by
  `alignzoo.deprecation.moved`) in a minor version, warns with `AlignzooDeprecation` in that version and every one after it,
  says what to use instead, and is gone in the next major version at the earliest. pytest shows these warnings.

## How this is kept

`docs/reference/plugin-api.json` is the promise: every name of this page with its signature. `tests/test_seam_promise.py`
compares the code with it. What is added passes; `python docs/generate.py` writes it down with the version it came with. What is
taken away or narrowed fails, with what to do: put it back; or let the old name stay and mark it as deprecated; or, if no plugin
can notice (a type is only written in other words), `python docs/generate.py --accept NAME`; or raise the major number of
`alignzoo.seam.hookspecs.API`.

`tests/test_stranger.py` builds and runs a plugin that was written against 1.0 and is never edited."""

API_PAGES = {
    "alignzoo.seam.hookspecs": "Hooks: how a plugin says what it has. The module that the entry point names is import-light.",
    "alignzoo.interfaces": "Protocols: what a component is. It has these methods, and inherits from nothing.",
    "alignzoo.records": "Records: what people and models said, as text.",
    "alignzoo.tally": "What a source or filter tells of the rows that it left out.",
    "alignzoo.limits": "Ranges of settings, kept in Python, too.",
    "alignzoo.deprecation": "Names that are on their way out. For plugins that others build on, too.",
    "alignzoo.model.role": "A role: an adapter on the base, which samples and is asked for log-probabilities.",
    "alignzoo.model.base": "The base that all roles share.",
    "alignzoo.model.text": "Records → packed batches.",
    "alignzoo.model.forest": "The packed batch.",
    "alignzoo.learning.decks": "Records in shuffled batches, with a cursor that survives.",
    "alignzoo.learning.descent": "The step: micro-batches that are exactly one batch.",
    "alignzoo.learning.intake": "Whether a lesson can be learned from.",
    "alignzoo.learning.memory": "What survives an update.",
    "alignzoo.learning.reference": "A frozen role that is asked about each text once.",
    "alignzoo.learning.rollouts": "Sampling, scoring and log-probabilities, for those who learn from a reward.",
    "alignzoo.learning.credit": "Advantages and clipped objectives, on flat tensors.",
    "alignzoo.learning.divergence": "KL: its estimators, and the leash.",
    "alignzoo.learning.rewards": "Rewards that are checked: one finite number for each answer.",
    "alignzoo.testing.toy": "A small real base to test against. To be imported from `alignzoo.testing`.",
    "alignzoo.testing.conformance": "The conformance kit as a test. To be imported from `alignzoo.testing`.",
    "alignzoo.testing.checks": "How the kit tries a component. To be imported from `alignzoo.testing`.",
}


def plugin_api() -> str:
    """The page of every name that plugins may count on."""
    names, promised = surface(), promise.read((REFERENCE / PROMISE).read_text(encoding="utf-8"))
    parts = [NOTICE, API_HEAD.format(api=API)]
    for page in CONTRACT:
        here = {name.removeprefix(f"{page}."): name for name in names if name.startswith(f"{page}.")}
        rows = [
            _promised(short, names[name], promised[name].since if name in promised else API) for short, name in here.items()
        ]
        parts += [f"## `{page}`", API_PAGES[page], "| name | what it is |\n|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _promised(short: str, name: Name, since: str) -> str:
    said = " ".join(name.said.split())
    shown = f"{short}{said}" if said.startswith("(") else f"{short}: {said}" if said else short
    kind = "" if name.kind in ("function", "method", "attribute", "property", "value") else f"*{name.kind}.* "
    notes = [f"Since {since}."] if since != "1.0" else []
    notes += [f"**Deprecated** since {name.deprecated}."] if name.deprecated else []
    return f"| `{_cell(shown)}` | {' '.join([kind + _cell(name.doc), *notes]).strip()} |"


PROMISE = "plugin-api.json"


def keep_promise(accepted: Iterable[str] = ()) -> str:
    """The promise with what was added since, and with the names that somebody accepted as they are now."""
    now, promised = surface(), promise.read((REFERENCE / PROMISE).read_text(encoding="utf-8"))
    for name in accepted:
        if name not in promised:
            raise SystemExit(f"{name} is not promised; see docs/reference/{PROMISE}")
        del promised[name]
    return promise.written(promise.renewed(promised, now, API))


# The conformance kit -------------------------------------------------------------------------------------------------

CHECKS_HEAD = """# The checks of the conformance kit

What `alignzoo check` and `conformance` look at, by id. [How to use it](../how-to/conformance.md). A check is made after those
it builds on; where one of them fails, it is not run. Levels: *static* trains nothing, *cpu* and *gpu* run the component."""
SUBJECTS = {
    "plugin": "A plugin",
    "component": "Any component",
    "optimizer": "An optimizer",
    "reward": "A reward, or what an optimizer deploys as one",
    "feedback": "A source of feedback",
    "filter": "A filter",
    "task": "A task",
    "model": "A model",
    "policy": "What is put around a policy",
    "acquisition": "An acquisition",
}


def conformance() -> str:
    """The page of every check, read from the source: the kit itself imports torch."""
    found: dict[str, list[str]] = {kind: [] for kind in SUBJECTS}
    for path in sorted((ROOT / "core" / "alignzoo" / "testing").glob("*.py")):
        for function in (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)):
            for mark in (mark for mark in function.decorator_list if isinstance(mark, ast.Call)):
                kind, level, after = _check(mark)
                name, says = function.name.replace("_", "-"), " ".join((ast.get_docstring(function) or "").split())
                below = ", ".join(f"`{one}`" for one in after)
                found[kind].append(f"| `{kind}.{name}` | {level} | {_cell(says)} | {below} |")
    parts = [NOTICE, CHECKS_HEAD]
    for kind, rows in found.items():
        parts += [
            f"## {SUBJECTS[kind]}",
            "\n".join(["| id | level | what must hold | builds on |", "|---|---|---|---|", *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def _check(mark: ast.Call) -> tuple[str, str, tuple[str, ...]]:
    """What `@check(…)` says: kind, level, and the checks that this one builds on."""
    kind, *level = (ast.literal_eval(argument) for argument in mark.args)
    named = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
    after = named.get("after", ())
    return kind, level[0] if level else "cpu", tuple(one if "." in one else f"{kind}.{one}" for one in after)


# The registry -------------------------------------------------------------------------------------------------------


PLUGINS_HEAD = """# The plugins

What `registry.toml` lists, as `alignzoo search` shows it. A plugin's components are named in run files: `use = "dpo"`, or in
full `optimizer:dpo/dpo`. How plugins are got and looked after: [Plugins](../how-to/plugins.md); what a tier promises:
[Trust](../trust.md)."""


def plugins() -> str:
    """The page of every plugin that the registry lists."""
    lines = ["| plugin | tier | what it is | components | needs | paper |", "|---|---|---|---|---|---|"]
    for plugin in sorted(read().plugin, key=lambda plugin: plugin.id):
        components = ", ".join(f"`{component}`" for component in plugin.components)
        paper = f"[paper]({plugin.paper})" if plugin.paper else ""
        cells = (f"`{plugin.id}`", plugin.tier, _cell(plugin.summary), components, ", ".join(plugin.needs), paper)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n\n".join([NOTICE, PLUGINS_HEAD, "\n".join(lines), _registry_schema()]) + "\n"


def _registry_schema() -> str:
    parts = [
        "## The file",
        "One `[[plugin]]` for each plugin, one `[[plugin.release]]` below it for each release, `[[revoked]]` at the end.",
    ]
    for title, kind in (("[[plugin]]", Plugin), ("[[plugin.release]]", Release), ("[[revoked]]", Revoked)):
        parts += [f"### `{title}`", _table(replace(row, doc=row.doc or FIELDS[row.name]) for row in _fields(kind))]
    return "\n\n".join(parts)


def _fields(kind: type) -> list[Setting]:
    rows = (setting for setting in described(f"{kind.__module__}:{kind.__name__}") if setting.name != "release")
    return [
        replace(row, name=row.name.replace("_", "-"), default="(none)" if row.default in ('""', "()") else row.default)
        for row in rows
    ]


FIELDS = {
    "id": "The plugin's id: it has one owner.",
    "dist": "The distribution that it comes in; only this one may bring a plugin of the id.",
    "tier": "How well it is known: `bundled`, `verified` or `community`.",
    "summary": "One line, without a full stop.",
    "components": "What it offers, each as `kind:id`.",
    "license": "As an SPDX expression.",
    "needs": "What its optimizers learn from.",
    "paper": "Where the method is described.",
    "repo": "Where its source is. Required unless it is bundled.",
    "maintainers": "Who answers for it. Required unless it is bundled.",
    "version": "The version; of a revocation: every version, if none is named.",
    "api": "The version of the plugin API that it was built for.",
    "sha256": "Of the wheel, 64 hexadecimal digits.",
    "requires-python": "As in a package's metadata: `>=3.11`.",
    "reason": "Why nobody is to run it.",
}


PAGES = {
    "run-file.md": run_file,
    "cli.md": cli,
    "conformance.md": conformance,
    "plugin-api.md": plugin_api,
    "plugins.md": plugins,
}


def main() -> int:
    options = argparse.ArgumentParser(description="Write the reference pages that follow from the code.")
    options.add_argument("--check", action="store_true", help="say which pages are out of date, and write nothing")
    options.add_argument("--accept", action="append", default=[], metavar="NAME", help="promise this name as it is now")
    given = options.parse_args()
    check = given.check
    stale = []
    for name, made in {PROMISE: lambda: keep_promise(given.accept), **PAGES}.items():
        path, text = REFERENCE / name, made()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
