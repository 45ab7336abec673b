"""What an answer costs once training is over, and from how many answers on training pays.

Best-of-n trains nothing and pays with every answer; a policy that was trained has paid before. With T for what training spent
and c for what an answer costs, the one that trains more is the cheaper one after

    q > (T₁ − T₂) / (c₂ − c₁)        answers, where T₁ > T₂ and c₁ < c₂
"""

from __future__ import annotations

from collections.abc import Mapping

UNITS = ("flops", "tokens", "seconds")


def each(served: Mapping[str, float]) -> dict[str, float]:
    """The cost of one answer, from a row of serving.json."""
    answers = served["answers"]
    whole = {**served, "tokens": served["read"] + served["written"]}
    return {name: whole[name] / answers for name in (*UNITS, "scores")}


def break_even(trained: float, costs: float, other_trained: float, other_costs: float) -> float | None:
    """After how many answers the one with the dearer training is the cheaper of the two; 0 if it is from the first, None if it
    never is."""
    if trained < other_trained:
        return break_even(other_trained, other_costs, trained, costs)
    if trained == other_trained:
        return 0.0
    return (trained - other_trained) / (other_costs - costs) if costs < other_costs else None
