"""Whether all who can be heard say the same: then there is no other worker to believe."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaa_core.aggregators.gaa_plus.evidence import two_kinds

#: A step in which all say the same proves no more than this, in log-odds: there may have been no benign worker.
A_STEP = 0.5

#: And all steps no more than this where others were detected, or where none was.
BESIDE_LIARS, OF_ALL = 4.0, 2.0

#: The least share of workers that contradict, where not all say the same; of few workers it is one of them.
CONTRADICT = 0.1


class Chorus:
    """What those say who are heard, along one direction, and whether some of them contradict.

    Of one kind of worker the cosine x is about +m, of two kinds about +m or -m. The moments tell m without a sign
    (`two_kinds`), so the mean of x tells the rest: it is m where all say the same, and (1 - 2 q) m where a share q
    contradicts. A worker that is of a gross length, not finite, or a copy of others is not heard, or as one. If anybody
    honest is heard, and no worker contradicts, they are all honest. Source: ours.
    """

    def __init__(self):
        self.sums = torch.zeros(3, dtype=torch.float64)  # of cosines, their squares and fourth powers
        self.counted = 0.0  # submissions, as far as they count
        self.heard = 0  # submissions that count at all
        self.all = 0  # workers that could have submitted
        self.steps = 0

    def hear(self, cosines: Tensor, counts: Tensor, workers: int) -> None:
        """Take in a step: cosines [k] with the direction, counting as `counts` [k] says, of so many workers."""
        self.sums += torch.stack([cosines, cosines**2, cosines**4]) @ counts
        self.counted += float(counts.sum())
        self.heard += int((counts > 1e-3).sum())
        self.all += workers
        self.steps += 1

    def log_odds(self) -> float:
        """That all say the same rather than that somebody contradicts; negative where what they say is the opposite.

        0 where somebody seems to contradict, and of a single crowd of copies.
        """
        if not self.counted > 1 or self.counted < 1.5 * self.steps < self.heard:
            return 0.0
        first, second, fourth = (self.sums / self.counted).tolist()
        mean, variance = two_kinds(second, fourth)
        if not mean > 0:
            return 0.0
        said = min(abs(first) / mean, 1.0)
        other = max(0.0, 1 - 2 * max(CONTRADICT, self.steps / self.heard))
        odds = ((said - other) ** 2 - (said - 1) ** 2) / 2 * self.counted * mean**2 / variance
        most = BESIDE_LIARS if self.heard < 0.9 * self.all else OF_ALL
        return math.copysign(min(max(0.0, odds), A_STEP * self.steps, most), first)
