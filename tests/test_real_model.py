"""With a real small language model and real feedback beside the checkout; skipped where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignzoo.interfaces import Lesson, Manner
from alignzoo.lab.store import Training, read_json
from alignzoo.lab.training import Seat, Terms, train
from alignzoo.learning.choices import Budget
from alignzoo.learning.descent import Descent
from alignzoo.learning.intake import admit
from alignzoo.model import sampling
from alignzoo.model.base import Base
from alignzoo.model.choices import Loading, Lora
from alignzoo.model.role import bare_on, policy_on
from alignzoo.model.text import Text
from alignzoo.records import Comparison, Completion, Prompt, Turn
from alignzoo_dpo.dpo import DPO

DATA = Path(__file__).parents[2] / "shared" / "data"
STORIES = DATA / "stories260K-pad192"
pytestmark = pytest.mark.skipif(not STORIES.exists(), reason="no real model beside the checkout")


def dialogue(text: str) -> tuple[Prompt, Completion]:
    """A transcript of Human and Assistant turns as a prompt and its last answer."""
    turns = []
    for part in text.split("\n\nHuman: ")[1:]:
        asked, *answered = part.split("\n\nAssistant:")
        turns += [Turn("user", asked.strip()), *(Turn("assistant", answer.strip()) for answer in answered)]
    return Prompt(tuple(turns[:-1])), Completion(turns[-1].text)


def test_greedy_stories_are_the_ones_transformers_tells() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = Base.load(str(STORIES), Loading(quantize="none", template="plain"))
    assert base.packs
    prompts = [Prompt.ask("Once upon a time"), Prompt.ask("Lily and Tom went to the park")]
    ours = bare_on(base, "judge").sample(prompts, 1, Manner(max_tokens=40, temperature=0))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES).eval(), AutoTokenizer.from_pretrained(STORIES)
    for prompt, [story] in zip(prompts, ours, strict=True):
        ids = torch.tensor([base.text.prompt_ids(prompt)])
        theirs = model.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=tokenizer.eos_token_id or 2)
        assert list(story.tokens) == theirs[0, ids.shape[1] :].tolist()


def test_a_batch_of_unlike_prompts_is_continued_as_transformers_continues_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One token, an end token in the middle, many words: padded on the left there, packed and laid out here, with every row
    as long as it likes; at once and in batches of one."""
    from transformers import AutoModelForCausalLM

    base = Base.load(str(STORIES), Loading(quantize="none", template="plain"))
    assert (base.packs, base.caches) == (True, True)  # else every row is read anew for each token, and is right
    end = base.text.end
    odd = {"": (1,), "ended": (1, *base.text.tokenizer("Once. ", add_special_tokens=False)["input_ids"], end, 403, 407, 261)}
    texts = ["", "ended", "Once upon a time, there was a little girl named Lily. She", "Tom"]
    ids = [odd.get(text) or base.text.prompt_ids(Prompt.ask(text)) for text in texts]
    monkeypatch.setattr(Text, "prompt_ids", lambda text, prompt: dict(zip(texts, ids, strict=True))[prompt.turns[0].text])
    model = AutoModelForCausalLM.from_pretrained(STORIES).eval()
    dot = base.text.tokenizer.convert_tokens_to_ids(".")
    base.text = replace(base.text, ends=frozenset({end, dot}))  # so that rows end at different steps
    wide = max(map(len, ids))
    rows = torch.tensor([[0] * (wide - len(row)) + list(row) for row in ids])
    seen = torch.tensor([[0] * (wide - len(row)) + [1] * len(row) for row in ids])
    theirs = model.generate(
        rows, attention_mask=seen, max_new_tokens=40, do_sample=False, pad_token_id=0, eos_token_id=[end, dot]
    )[:, wide:].tolist()
    prompts = [Prompt.ask(text) for text in texts]
    for room in (sampling._CACHED, 1):
        monkeypatch.setattr(sampling, "_CACHED", room)
        ours = bare_on(base, "judge").sample(prompts, 3, Manner(max_tokens=40, temperature=0))
        assert len({len(group[0].tokens) for group in ours}) > 1
        for group, row in zip(ours, theirs, strict=True):
            assert len({reply.tokens for reply in group}) == 1
            written = group[0].tokens
            assert list(written) == row[: len(written)]
            assert set(row[len(written) :]) <= {0}


def test_temperature_towards_nought_is_greedy_and_a_stop_string_may_lie_over_tokens() -> None:
    base = Base.load(str(STORIES), Loading(quantize="none", template="plain"))
    role, asked = bare_on(base, "judge"), [Prompt.ask("Once upon a time"), Prompt.ask("Tom")]
    greedy = role.sample(asked, 2, Manner(max_tokens=30, temperature=0))
    cold = role.sample(asked, 2, Manner(max_tokens=30, temperature=1e-5, top_k=9, top_p=0.9, min_p=0.1))
    assert [[r.tokens for r in group] for group in cold] == [[r.tokens for r in group] for group in greedy]
    whole = greedy[0][0]
    says = [base.text.said(whole.tokens[:count]) for count in range(len(whole.tokens) + 1)]
    place = next(count for count in range(5, len(says)) if len(says[count]) > len(says[count - 1]) + 1)
    stop = says[place - 1][-3:] + says[place][len(says[place - 1]) :][:1]  # ends within a token, begins before it
    [[cut, *_], *_] = role.sample(asked, 2, Manner(max_tokens=30, temperature=0, stop=(stop,)))
    first = next(count for count, text in enumerate(says) if stop in text)
    assert cut.tokens == whole.tokens[:first]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finished


def test_dpo_on_real_pairs_in_four_bits_begins_at_log_2_and_is_watched(tmp_path: Path) -> None:
    base = Base.load(str(STORIES), Loading(template="dialogue"), Lora(rank=4))
    rows = [json.loads(line) for line in (DATA / "hh_harmless_pairs.jsonl").read_text().splitlines()[:80]]
    pairs = []
    for row in rows:
        (prompt, chosen), (_, rejected) = dialogue(row["chosen"]), dialogue(row["rejected"])
        pairs.append(Comparison(prompt, chosen, rejected))
    lesson, intake = admit(Lesson(comparisons=pairs), ("comparisons",), base.text)
    assert intake.kept >= 70
    dpo = DPO(likelihood=0.0, batch_size=8, descent=Descent(lr=1e-3))
    seen: list[float] = []
    terms = Terms(budget=Budget(updates=6))
    files = Training(tmp_path)
    train(dpo, lesson, Seat(base, policy_on), files, terms, lambda update, metrics, ledger: seen.append(metrics["loss"]))
    assert seen[0] == pytest.approx(0.6931, abs=1e-3)
    assert len(seen) == 6
    assert read_json(files.summary)["final"]["kl"] == pytest.approx(0.0, abs=20.0)


def test_the_best_of_eight_stories_is_friendlier() -> None:
    """By the sentiment of its words, which is what chose it."""
    from alignzoo_best_of_n.best_of_n import BestOfN
    from alignzoo_lexical.lexical import Sentiment

    base = Base.load(str(STORIES), Loading(quantize="none", template="plain"))
    start, friendly = bare_on(base, "start"), Sentiment()
    prompts = [
        Prompt.ask(f"One day, {name} went to the {place}.") for name in ("Lily", "Tom", "Mia") for place in ("park", "shop")
    ]
    means = []
    for policy in (start, BestOfN(n=8).deploy(start, Lesson(reward=friendly))):
        groups = policy.sample(prompts, 4, Manner(max_tokens=48, seed=1))
        scores = [friendly([prompt] * 4, group) for prompt, group in zip(prompts, groups, strict=True)]
        means.append(sum(map(sum, scores)) / 24)
    assert means[1] > means[0] + 0.25
