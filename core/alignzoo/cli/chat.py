"""`alignzoo chat`: talk to the policy of a run, or to two side by side."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING, Any

from alignzoo.cli.quiet import quiet_libraries

if TYPE_CHECKING:
    from alignzoo.interfaces import Manner, Policy
    from alignzoo.records import Completion, Turn


def add(verbs: Any) -> None:
    page = verbs.add_parser(
        "chat",
        help="talk to a run's policy, or to two side by side",
        description="Talk to a run's policy, or to two side by side. An empty line begins anew; end with Ctrl-D.",
        allow_abbrev=False,
    )
    page.add_argument("target", metavar="DIR", help="the folder of a trained run")
    page.add_argument("other", metavar="DIR", nargs="?", help="a second one; without it, --start compares with the start")
    page.add_argument("--start", action="store_true", help="answer as the run's start, too")
    page.add_argument("--temperature", type=float, default=1.0, help="0 is greedy")
    page.add_argument("--max-tokens", type=int, default=64, help="how long an answer may be")
    page.add_argument("--seed", type=int, default=0, help="another seed, other answers")
    page.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    quiet_libraries()
    from alignzoo.cli.parser import UsageError
    from alignzoo.interfaces import Manner
    from alignzoo.lab.run import Run

    if not args.temperature >= 0 or args.max_tokens < 1 or args.seed < 0:
        raise UsageError("--temperature and --seed are 0 or more, --max-tokens is 1 or more")
    try:
        manner = Manner(args.max_tokens, args.temperature, seed=args.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    first = Run.at(args.target)
    policies: dict[str, Policy] = {args.target: first.policy()}
    if args.other:
        policies[args.other] = Run.at(args.other).policy()
    if args.start:
        policies["start"] = first.start_role()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a byte that is no UTF-8 is no reason to end
    converse(policies, manner)
    return 0


def converse(policies: dict[str, Policy], manner: Manner) -> None:
    """Read lines from standard input and answer each as every policy; each keeps its own side of the conversation."""
    from alignzoo.records import Turn

    histories: dict[str, list[Turn]] = {name: [] for name in policies}
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if not line.strip():
            histories = {name: [] for name in policies}
            continue
        for name, policy in policies.items():
            said, reply = _answered(policy, [*histories[name], Turn("user", line.strip())], manner)
            histories[name] = [*said, Turn("assistant", reply.text)]
            label = f"{name}: " if len(policies) > 1 else ""
            print(f"{label}{reply.text}{'' if reply.finished else ' …'}", flush=True)


def _answered(policy: Policy, said: list[Turn], manner: Manner) -> tuple[list[Turn], Completion]:
    """The reply to a conversation. One that has outgrown the context goes on without its oldest turns, which is said."""
    from alignzoo.model.text import TextError
    from alignzoo.records import Prompt

    kept = said
    while True:
        try:
            [[reply]] = policy.sample([Prompt(tuple(kept))], 1, manner)
        except TextError:
            if len(kept) <= 2:
                raise
            kept = kept[2:]
            continue
        if kept != said:
            print(f"(the context is full: the first {len(said) - len(kept)} turns are forgotten)", flush=True)
        return kept, reply
