"""Vote threads and a file of verdicts from the playground's own world, so that sources that read have something to read.

    python benchmarks/playground_threads.py runs/threads

threads.jsonl holds posts and comments in Reddit's shape: every train request is a post, writers of mixed quality comment on it
at different times, and the crowd comes by at random moments, sees some of what is there by then, and votes. Who was early is
seen by more people, as on the real site. verdicts.csv holds what members of the crowd chose between two replies, in columns of
its own. Nobody in here exists, and the same seed gives the same files.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from alignzoo.records import Completion, Prompt
from alignzoo_playground.annotators import pool
from alignzoo_playground.replies import MIXED, plan_reply, write_reply
from alignzoo_playground.requests import read_request
from alignzoo_playground.task import PlaygroundTask

COMMENTS, READERS, SHOWN = 8, 40, 4
"""Comments under a post, readers who come by, and comments that each of them looks at."""
BEGIN, SPAN, LATER = 1_500_000_000, 86_400, 10 * 86_400
"""When posts are written, over how many seconds there is traffic, and how much later the scores are read."""


@dataclass
class Comment:
    """A reply, when it was written, and its score: a comment begins with one point."""

    reply: Completion
    second: int
    score: int = 1


def replies(prompt: Prompt, count: int, dice: Random) -> list[Completion]:
    """Different replies by writers of mixed quality."""
    request = read_request(prompt.text)
    assert request is not None  # prompts of the task are requests
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[write_reply(request, plan_reply(request, MIXED, dice))] = None
    return [Completion(text) for text in texts]


def voted(prompt: Prompt, dice: Random) -> list[Comment]:
    """A thread after all readers have been there. Each looks at a few comments that are there already, and gives a point to
    what pleases; what does not costs a point half of the time."""
    comments = [Comment(reply, dice.randrange(SPAN // 2)) for reply in replies(prompt, COMMENTS, dice)]
    crowd = pool("crowd")
    for _ in range(READERS):
        moment, reader = dice.randrange(SPAN), dice.choice(crowd)
        there = [comment for comment in comments if comment.second < moment]
        for comment in dice.sample(there, min(SHOWN, len(there))):
            if reader.thumb(prompt, comment.reply, dice):
                comment.score += 1
            elif dice.random() < 0.5:
                comment.score -= 1
    return comments


def threads(prompts: list[Prompt], dice: Random) -> Iterator[dict[str, Any]]:
    """Rows of posts and comments, as a dump has them."""
    for number, prompt in enumerate(prompts):
        post, begin = f"p{number:05d}", BEGIN + 1000 * number
        shared = {"subreddit": "playground", "retrieved_on": begin + LATER, "edited": False, "distinguished": None}
        asked = {"id": post, "title": prompt.text, "selftext": "", "is_self": True, "over_18": False}
        yield {**shared, **asked, "author": f"asker_{number}", "created_utc": begin, "score": 50}
        for place, comment in enumerate(voted(prompt, dice)):
            under = {"id": f"c{number:05d}{place}", "link_id": f"t3_{post}", "parent_id": f"t3_{post}"}
            told = {"is_submitter": False, "stickied": False, "score_hidden": False, "score": comment.score}
            who = {"author": f"writer_{number}_{place}", "created_utc": begin + comment.second}
            yield {**shared, **under, **told, **who, "body": comment.reply.text}


def verdicts(prompts: list[Prompt], count: int, dice: Random) -> Iterator[dict[str, str]]:
    """Rows of a log in words of its own."""
    crowd = pool("crowd")
    for number in range(count):
        prompt = prompts[number % len(prompts)]
        left, right = replies(prompt, 2, dice)
        judge = dice.choice(crowd)
        won = "left" if judge.prefers_first(prompt, left, right, dice) else "right"
        yield {"request": prompt.text, "left": left.text, "right": right.text, "liked": won, "judge": judge.name}


def write(folder: Path, seed: int) -> None:
    """Both files."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = list(PlaygroundTask(wordings_each=3).prompts("train"))
    rows = threads(prompts, Random(f"threads/{seed}"))
    (folder / "threads.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with (folder / "verdicts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ("request", "left", "right", "liked", "judge"))
        table.writeheader()
        table.writerows(verdicts(prompts, 1200, Random(f"verdicts/{seed}")))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
