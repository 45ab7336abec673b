"""Who judges, and how, as a run file says it: the sub-table [feedback.judge] or [reward.judge].

    [feedback.judge]
    which = "local"                    # the run's own base; or "remote", or "recorded"
    thoughts = 0                       # tokens of thinking aloud before the verdict

A source or a reward takes a `Hired` among its settings and asks `hired.judge(role)`, with the run's bare base as the role, for
the judge. What is wrong with the settings is told when they are read, before any model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Interval

from alignzoo.interfaces import Share
from alignzoo.limits import check_settings
from alignzoo.model.choices import Loading
from alignzoo_rlaif.endpoint import Endpoint
from alignzoo_rlaif.form import Form, before
from alignzoo_rlaif.judging import JudgeError
from alignzoo_rlaif.recorded import RecordedOracle
from alignzoo_rlaif.remote import RemoteOracle
from alignzoo_rlaif.sitting import Sitting

if TYPE_CHECKING:
    from alignzoo.model.role import Role


@dataclass(frozen=True)
class Hired:
    """The settings of a judge."""

    which: Literal["local", "remote", "recorded"] = "local"
    """Who judges: a model here, an endpoint that speaks OpenAI's protocol, or verdicts that a file holds."""
    form: Form = Form()
    """How cases are put, and how the judge is to answer."""
    reading: Literal["options", "written"] = "options"
    """Verdicts by the log-probabilities of the answers there are, or by what the judge writes (none, one half or one)."""
    labels: Literal["soft", "hard"] = "soft"
    """Probabilities as they are, or each order's winner alone."""
    orders: Literal["both", "drawn"] = "both"
    """Show every pair in both orders, or in one that is drawn by the seed, at half the price and with the lean left in."""
    thoughts: Annotated[int, Ge(0)] = 0
    """Tokens that the judge may think aloud before it answers (let the form ask it to); 0 asks for the answer at once."""
    clamp: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    """Keep probabilities within [clamp, 1 - clamp]. A judge that has thought aloud is too sure: Bai et al. take 0.4."""
    rates_by: Literal["scale", "reference"] = "scale"
    """Rate by the expected score on the form's scale, or by the probability of beating a reference reply."""
    reference: str = ""
    """The reply that is to be beaten; if empty, what the judging model itself would answer."""
    calibrate: Literal["none", "blank"] = "none"
    """Take out of the scale's probabilities what the judge says of an empty reply."""
    unread: Share = 0.2
    """Verdicts that may be unreadable (they count as one half) before the judge is dismissed."""
    seed: Annotated[int, Ge(0)] = 0
    """Draws letters, marks and, where only one is shown, the order."""
    model: str = ""
    """A folder or hub name of a model that judges instead of the run's base."""
    loading: Loading = Loading()
    """How that model is loaded."""
    endpoint: Endpoint = Endpoint()
    """Where a remote judge is, and how much it may be asked."""
    file: Path = Path()
    """The verdicts of a recorded judge."""
    who: str = ""
    """Whose verdicts, where the file holds those of several."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.thoughts and not before(self.form.answer).strip():
            raise JudgeError(
                'thoughts: nothing would tell where they end; let the form\'s answer begin with words: "Answer: {letter}"'
            )
        if self.which == "remote" and not (self.endpoint.url and self.endpoint.model):
            raise JudgeError('endpoint: a remote judge needs an address and a model: url = "http://…/v1", model = "…"')
        if self.which == "recorded" and not self.file.is_file():
            raise JudgeError(f"file: there is no file {self.file} with recorded verdicts")
        if self.which != "local" and self.calibrate != "none":
            raise JudgeError(f'calibrate: a {self.which} judge does not tell enough for that; leave it at "none"')
        if self.reading == "written" and self.calibrate != "none":
            raise JudgeError('calibrate: written verdicts have no probabilities to calibrate; set reading = "options"')

    def judge(self, role: Role | None) -> Sitting:
        """The judge. `role` is the run's bare base; a judge with a model of its own, or with none, does without."""
        if self.which == "local":
            from alignzoo_rlaif.local import LocalOracle

            return Sitting(LocalOracle.of(self, role), self)
        if self.which == "remote":
            return Sitting(RemoteOracle(self.endpoint.line(), self), self)
        return Sitting(RecordedOracle.of(self.file, self.who), self)
