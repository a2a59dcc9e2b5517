"""Whether attackers know the quasi-validation samples: their submissions fit these too well, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.statistics import (
    FEWEST,
    QV_KINDS,
    Statistics,
    identical,
    shown_samples,
    size,
    spreads,
    survey,
    weighted_median,
)

#: Standard errors: the samples agree with the sum of submissions too well; with the course of updates too badly; and so
#: badly that no state is worth keeping.
TOO_GOOD, TOO_BAD, IN_DOUBT = 5.0, 3.0, 2.0
#: The samples' slope has gone below this part of the credited submissions'; theirs lasts above this part of the first.
FADING, LASTING = 0.6, 0.5
#: Steps of the course, and submissions at the start, before anything is said.
YOUNG, YOUNGEST = 5, 15.0
#: Updates in the course, and the least part of a new step in the averages.
COURSE, RATE = 5, 0.15
#: The step of central differences, of the length of theta or of 1; and the most standard errors that one step counts.
STEP, MOST = 1e-3, 20.0


def sample_slopes(server: Server, direction: Tensor) -> np.ndarray | None:
    """How fast the loss of each QV sample grows along a direction [d] at length 1, [b], by central differences.

    None where the server shows too few samples, or where the direction or a loss is not finite.
    """
    qv = shown_samples(server, FEWEST)
    length = float(kernels.norms(direction[None]))
    if qv is None or not 0 < length < math.inf:
        return None
    step = STEP * max(1.0, float(kernels.norms(server.parameters[None])))
    reach = (step / length * direction).to(server.parameters)
    ahead = server.model.losses(server.parameters + reach, qv.inputs, qv.targets).double()
    behind = server.model.losses(server.parameters - reach, qv.inputs, qv.targets).double()
    slopes = (ahead - behind) / (2 * step)
    return slopes.numpy() if slopes.isfinite().all() else None


class Leakage:
    """Two tests of one law: along a direction that does not depend on them, QV samples and benign submissions have one
    mean slope.

    Too good: at the start the samples have a greater slope along the sum of all submissions than a submission has
    along the others. Copies of the QV gradient agree with it better than the true gradient does.
    Too bad: later the samples' slope along the course of updates has gone, and the credited submissions' has not: the
    model was fitted to the samples, and little else.

    From then on the QV gradient speaks against a worker. Source: ours.
    """

    def __init__(self):
        self.alarms = 0
        self.known = False  # whether attackers know the samples
        self.first: float | None = None  # slope of the credited along their course at first
        self.peak = 0.0  # the greatest slope of the samples
        self.begin()

    def begin(self) -> None:
        """Forget all submissions, but not what was found out."""
        self.course: Tensor | None = None  # [d], a moving average of updates
        self.steps = 0
        self.slope = MOST  # of the samples along the course, in standard errors: a moving average
        self.surprise = self.theirs = self.own = 0.0  # moving averages: standard errors, and the two slopes
        self.centres: dict[str, tuple[int, float]] = {}  # steps, and the usual value, by kind of evidence
        self.sum: Tensor | None = None  # [d], of all submissions since then
        self.weight = 0.0

    def too_good(self, server: Server, seen: Statistics) -> bool:
        """Take in a step of the warm-up; whether the samples' slope along the sum is too great."""
        counts = seen.counts
        total = torch.from_numpy(counts).to(seen.gradients.dtype) @ seen.gradients
        self.sum = total if self.sum is None else self.sum + total
        self.weight += float(counts.sum())
        slopes = sample_slopes(server, self.sum) if self.weight > YOUNGEST else None
        if slopes is None:
            return False
        length = float(kernels.norms(self.sum[None]))
        along = survey(seen.gradients, [self.sum])[1][:, 0]
        theirs = seen.lengths * (along - counts * seen.lengths / length)  # without a submission's own part
        return spreads(slopes, size(theirs, counts)) > TOO_GOOD

    def follow(self, server: Server, seen: Statistics, update: Tensor, credits: np.ndarray, calm: Callable) -> None:
        """Take in an update [d] and its credits [k]; steps whose credits went to copies are left out."""
        share, self.sum = float(credits.sum()), None
        if share < 0.3 or float(credits @ identical(seen.alike)) > 0.5 * share:
            return
        fresh = self.course is None
        if fresh:
            self.course = update.clone()
        direction = calm(self.course)
        slopes = sample_slopes(server, direction)
        if slopes is not None:
            self.peak = max(self.peak, float(slopes.mean()))
        along = (seen.gradients @ direction.to(update)).double().numpy() / (
            float(kernels.norms(direction[None])) or 1.0
        )
        theirs = weighted_median(along, credits)  # a mean might be that of one which drags the course along
        if slopes is not None and not fresh and math.isfinite(theirs):  # an update agrees with itself
            self.steps += 1
            rate = max(RATE, 1 / self.steps)
            self.surprise += (max(-MOST, min(spreads(slopes, theirs), MOST)) - self.surprise) * rate
            self.slope += (max(-MOST, min(spreads(slopes, 0.0), MOST)) - self.slope) * rate
            self.theirs += (theirs - self.theirs) * rate
            self.own += (float(slopes.mean()) - self.own) * rate
            if self.first is None and self.steps == YOUNG:
                self.first = self.theirs
        self.course += (update - self.course) / COURSE

    def in_doubt(self) -> bool:
        """Whether the samples agree with the credited too little for a state to be worth keeping."""
        return self.surprise <= -IN_DOUBT

    def too_bad(self) -> bool:
        """Whether the samples' slope has gone and the credited submissions' has not."""
        if self.first is None or self.steps <= YOUNG or self.surprise > -TOO_BAD:
            return False
        gone = self.own < FADING * self.theirs and self.peak > FADING * self.first
        return gone and self.theirs > LASTING * self.first

    def turned(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Cosines [k] by kind, where those with QV gradients speak against a worker."""
        return {kind: self.centred(kind, -seen) if kind in QV_KINDS else seen for kind, seen in values.items()}

    def centred(self, kind: str, values: np.ndarray) -> np.ndarray:
        """Values [k] less what is usual."""
        looks, usual = self.centres.get(kind, (0, 0.0))
        usual += max(0.1, 1 / (looks + 1)) * (float(values.mean()) - usual)
        self.centres[kind] = looks + 1, usual
        return values - usual
