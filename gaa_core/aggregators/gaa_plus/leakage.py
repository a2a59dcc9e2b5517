"""Whether attackers know the quasi-validation samples: what they say fits these too well, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.direction import survey
from gaa_core.aggregators.gaa_plus.sight import FEWEST, QV_KINDS, Sight, identical, shown_samples, size, spreads


def sample_slopes(server: Server, direction: Tensor) -> Tensor | None:
    """How fast the loss of each QV sample grows along a direction [d] at length 1, [b], by central differences.

    None where there are too few samples, where the direction has no length or a loss is not finite, and where a
    server does not show its samples.
    """
    qv = shown_samples(server, FEWEST)
    length = float(kernels.norms(direction[None]))
    if qv is None or not 0 < length < math.inf:
        return None
    step = 1e-3 * max(1.0, float(kernels.norms(server.parameters[None])))
    reach = (step / length * direction).to(server.parameters)
    ahead = server.model.losses(server.parameters + reach, qv.inputs, qv.targets).double()
    behind = server.model.losses(server.parameters - reach, qv.inputs, qv.targets).double()
    slopes = (ahead - behind) / (2 * step)
    return slopes if slopes.isfinite().all() else None


class Leakage:
    """Two tests of one law: what honest workers say along any direction, the QV samples say on average.

    Along a direction D that does not depend on them, V.D of an honest submission and the samples' own slopes along D
    have the same mean; these scatter, so b of them err by 1/sqrt(b) of one's scatter.

    Too good: at the start, the samples say more along the sum S of all submissions than a submission does, in either
    sense and without its own part: where some reverse what the rest say, S is short, but no worker says less for that.
    Who copies the QV gradient agrees with it more than the true gradient does.
    Too bad: later, the samples' slopes along the course of late updates have gone, while the trusted say as much of it
    as ever. The model was taught the samples, and little else. Where they never agreed with the trusted, these lie, but
    know nothing.

    Then the QV gradient speaks for Byzantine workers: less than the usual cosine with it speaks for a worker. Source:
    ours.
    """

    too_good_at, too_bad_at, in_doubt_at = 5.0, 3.0, 2.0  # spreads
    fading = 0.6  # of what the trusted say, under which what the samples say has gone
    lasting = 0.5  # of what the trusted said at first, from which on they say as much as ever
    young, youngest = 5, 15.0  # steps of the course, and submissions at the start, before anything is said

    def __init__(self):
        self.alarms = 0  # how often the trusted were exposed
        self.known = False  # whether attackers know the samples
        self.first: float | None = None  # what the trusted said of their course at first
        self.peak = 0.0  # the most that the samples said of it
        self.begin()

    def begin(self) -> None:
        """Knowing of no submission, but all that was found out."""
        self.course: Tensor | None = None  # [d], a moving average of updates
        self.steps = 0  # of it
        self.surprise = self.said = self.own = 0.0  # moving averages: spreads, and slopes
        self.centres: dict[str, tuple[int, float]] = {}  # steps, and what is usual, by kind of evidence
        self.sum: Tensor | None = None  # [d], of all submissions since then
        self.weight = 0.0  # the sum of their counts

    def too_good(self, server: Server, sight: Sight) -> bool:
        """Take in a step at the start; whether the samples say more of the sum than submissions say of the others."""
        counts = sight.counts
        total = counts.to(sight.gradients.dtype) @ sight.gradients
        self.sum = total if self.sum is None else self.sum + total
        self.weight += float(counts.sum())
        slopes = sample_slopes(server, self.sum) if self.weight > self.youngest else None
        if slopes is None:
            return False
        length = float(kernels.norms(self.sum[None]))
        along = survey(sight.gradients, [self.sum])[1][:, 0]
        said = sight.lengths * (along - counts * sight.lengths / length)
        return spreads(slopes, size(said, counts)) > self.too_good_at

    def follow(self, server: Server, sight: Sight, update: Tensor, credits: Tensor, calm: Callable) -> None:
        """Take in an update [d] and whose it is; `calm` softens a direction as the memory of directions does.

        Steps whose credits went to copies are left out: copies have their own judge.
        """
        share, self.sum = float(credits.sum()), None
        if share < 0.3 or float(credits @ identical(sight.alike)) > 0.5 * share:
            return
        fresh = self.course is None
        if fresh:
            self.course = update.clone()
        direction = calm(self.course)
        slopes = sample_slopes(server, direction)
        if slopes is not None:
            self.peak = max(self.peak, float(slopes.mean()))
        said = float(update @ direction) / (float(kernels.norms(direction[None])) * share or 1.0)
        if slopes is not None and not fresh and math.isfinite(said):  # an update agrees with itself
            self.steps += 1
            rate = max(0.15, 1 / self.steps)
            self.surprise += (max(-20.0, min(spreads(slopes, said), 20.0)) - self.surprise) * rate
            self.said += (said - self.said) * rate
            self.own += (float(slopes.mean()) - self.own) * rate
            if self.first is None and self.steps == self.young:
                self.first = self.said
        self.course += (update - self.course) / 5

    def in_doubt(self) -> bool:
        """Whether the samples agree with the trusted too little for a state to be worth keeping."""
        return self.surprise <= -self.in_doubt_at

    def too_bad(self) -> bool:
        """Whether the samples have no part any more in what the trusted still say."""
        if self.first is None or self.steps <= self.young or self.surprise > -self.too_bad_at:
            return False
        gone = self.own < self.fading * self.said and self.peak > self.fading * self.first
        return gone and self.said > self.lasting * self.first

    def turned(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cosines [k] by kind, where those with QV gradients speak against a worker."""
        return {kind: self.centred(kind, -seen) if kind in QV_KINDS else seen for kind, seen in values.items()}

    def centred(self, kind: str, values: Tensor) -> Tensor:
        """Values [k] less what is usual."""
        looks, usual = self.centres.get(kind, (0, 0.0))
        usual += max(0.1, 1 / (looks + 1)) * (float(values.mean()) - usual)
        self.centres[kind] = looks + 1, usual
        return values - usual
