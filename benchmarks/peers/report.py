"""Results as they are kept: one JSON file for machines, one table for people, each row with the command that made it."""

from __future__ import annotations

import datetime
import json
import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from setting import Case

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("alignzoo", "torch", "transformers", "peft", "trl", "bitsandbytes")


def circumstances(command: str) -> dict[str, Any]:
    """What a figure is worth nothing without."""
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES if find_spec(name)},
    }


def keep(file: str, key: str, result: dict[str, Any]) -> dict[str, Any]:
    """Put one result among the others of its file, and return them all."""
    RESULTS.mkdir(exist_ok=True)
    place = RESULTS / f"{file}.json"
    kept: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    kept = dict(sorted((kept | {key: result}).items()))
    place.write_text(json.dumps(kept, indent=2) + "\n")
    return kept


def write(case: Case, method: str, result: dict[str, Any], command: str) -> list[str]:
    """Keep a case of DPO or of a relative, rewrite the table, and say which goals were missed."""
    missed = _missed(case, method, result)
    named = {"size": case.size, "mix": case.mix, "batch": case.batch}
    key = f"case {case.number}" if method == "dpo" else f"{method}, case {case.number}"
    kept = keep("peers-dpo", key, named | result | {"missed": missed} | circumstances(command))
    (RESULTS / "peers-dpo.md").write_text(_table(kept))
    return missed


def _missed(case: Case, method: str, result: dict[str, Any]) -> list[str]:
    """A relative is held to DPO's ratio alone."""
    found, memory = result["remembered"], result["memory"]
    missed = []
    if found["ratio"] < case.ratio:
        missed.append(f"ratio {found['ratio']:.2f}, goal {case.ratio}")
    if method != "dpo":
        return missed
    if case.ceiling and found["share_of_ceiling"]["ours"] < case.ceiling:
        missed.append(f"{found['share_of_ceiling']['ours']:.0%} of the ceiling, goal {case.ceiling:.0%}")
    if case.memory and memory["ours"] > case.memory * memory["theirs"]:
        missed.append(f"memory grows 1/{memory['theirs'] / memory['ours']:.1f} of the peer's, goal 1/{1 / case.memory:.0f}")
    if case.first_epoch and result["first_epoch"]["ratio"] < case.first_epoch:
        missed.append(f"ratio in the first epoch {result['first_epoch']['ratio']:.2f}, goal {case.first_epoch}")
    return missed


def _table(kept: dict[str, Any]) -> str:
    lines = [
        "# DPO and its relatives beside TRL's trainers",
        "",
        "Written by `benchmarks/peers/dpo.py`; the rules are in [benchmarks/peers/README.md](../peers/README.md).",
        "CPU milliseconds per update, one thread, medians of alternating rounds. Parity is the largest difference between the",
        "losses of 20 updates.",
        "",
        "| case | parity | TRL ms | alignzoo ms | ratio | by round | of the ceiling (TRL) | memory growth MiB, TRL / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, row in kept.items():
        races = [("", row["remembered"])]
        races += [(", reference asked in the step", row["first_epoch"])] if "first_epoch" in row else []
        for note, race in races:
            lines.append(_row(f"{key}: {row['size']} {row['mix']} × {row['batch']}{note}", row, race))
    lines += ["", "| case | goals missed | command | date | processor | versions |", "|---|---|---|---|---|---|"]
    for key, row in kept.items():
        versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        missed = "; ".join(row["missed"]) or "none"
        lines.append(f"| {key} | {missed} | `{row['command']}` | {row['date']} | {row['processor']} | {versions} |")
    return "\n".join(lines) + "\n"


def _row(what: str, row: dict[str, Any], race: dict[str, Any]) -> str:
    ms, share, memory = race["ms_per_update"], race.get("share_of_ceiling"), row["memory"]
    cells = [
        what,
        f"{row['parity']['largest_difference']:.1e}",
        f"{ms['theirs']:.0f}",
        f"{ms['ours']:.0f}",
        f"**{race['ratio']:.2f}**",
        f"{min(race['ratio_by_round'])}–{max(race['ratio_by_round'])}",
        f"{share['ours']:.0%} ({share['theirs']:.0%})" if share else "",
        f"{memory['theirs']:.0f} / {memory['ours']:.0f} = {memory['theirs'] / memory['ours']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    features = next((line for line in lines if line.startswith("flags")), "")
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in features]
    return f"{named[0] if named else platform.machine()} ({', '.join(known)})"
