"""Warm-up: some steps without credit, in which one axis is learned from submissions of both signs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gaa_core.agent import sigmoid
from gaa_core.aggregators.gaa_plus.evidence import Mirror
from gaa_core.aggregators.gaa_plus.statistics import LEAST, TINY, Statistics, size, survey, unit
from gaa_core.aggregators.gaa_plus.workers import START

#: Submissions that are imagined to have come, at the usual share of benign ones, before any was seen.
IMAGINED = 10.0
#: Log-odds that all submissions on one side are benign rather than those on the other, before grad f_B is asked.
FAVOUR = 0.5
#: Submissions in the moments of an axis, and what a product of two cosines at their usual sizes says.
WINDOW, PRODUCT = 30.0, 0.1
#: Spreads from 0 at which two kinds are apart, and at which warm-up ends.
APART, CLEAR = 1.5, 2.5


class Axis:
    """A direction that may be the true gradient's or its opposite's, and what speaks for its sign."""

    def __init__(self, d: int):
        self.average = torch.zeros(d)  # of unit vectors
        self.steps = 0
        self.mirror = Mirror(WINDOW)
        self.counted = self.along = 0.0  # submissions, and those on its side
        self.product = 0.0  # of its own cosines and the QV gradient's, each over its usual size, summed

    def accept(self, contrast: Tensor) -> None:
        """Take in one direction [d]."""
        if contrast.any():
            self.steps += 1
            self.average.lerp_(unit(contrast).to(self.average), 1 / self.steps)

    def log_odds(self) -> float:
        """That it points the right way: by the QV gradient, and by how many are on its side."""
        majority = 2 * self.along / max(self.counted, 1e-9) - 1  # 1: all are, -1: none is
        return 2 * self.product + FAVOUR * majority

    def sign(self) -> float:
        """1 where it points the right way, as far as can be told; -1 where it points the other way."""
        return 1.0 if self.log_odds() > 0 else -1.0


class WarmUp:
    """Learns the axis, and from f_B its sign alone.

    The cosine with grad f_B of a few samples tells the sign of one submission by half a spread, where the true gradient
    tells it by four. All submissions of a few steps share that one direction up to their signs. Two axes grow: the mean
    of submissions, right where most are benign, and the contrast sum_i tanh(l_i / 2) V_i / |V_i|, where l_i adds up the
    evidence on V_i: right where no kind has the majority. The one that sets two kinds further apart is taken.
    Source: ours.
    """

    def __init__(self, d: int, longest: int):
        self.longest = longest
        self.axes = {kind: Axis(d) for kind in ("mean", "contrast")}
        self.best: Axis | None = None
        self.size = 0.0  # root mean square of cosines with the QV gradient, over all steps
        self.steps = 0
        self.seen = self.told = 0.0  # submissions, and those that were told apart
        self.benign = IMAGINED * START  # of these

    def look(self, seen: Statistics, calm: Callable, doubt: Callable) -> tuple[np.ndarray, bool]:
        """Take in a step; log-odds [k] of being benign, and whether they are clear enough to teach.

        `calm` preconditions a direction [d]; `doubt` turns P(benign) [k] into that of submissions that may be copies.
        """
        counts, values = seen.counts, seen.values
        self.steps += 1
        self.seen += float(counts.sum())
        usual = size(values["qv"], counts)
        hints = values["qv"] / usual
        self.size += (usual - self.size) / self.steps
        leanings = self._judge(seen, calm)
        self._follow(seen, hints, leanings, doubt)
        if self.best is None:
            return hints, False
        odds = self.best.sign() * leanings[self.best]
        clear = self.best.mirror.apart() > APART
        if clear:
            self.told += float(counts.sum())
            self.benign += float(sigmoid(odds) @ counts)
        return odds, clear

    def _judge(self, seen: Statistics, calm: Callable) -> dict[Axis, np.ndarray]:
        """What each axis says of each submission [k], up to its sign; and which axis is the best."""
        axes = [axis for axis in self.axes.values() if axis.steps]
        if not axes:
            return {}
        counts, leanings = seen.counts, {}
        found = survey(seen.gradients, [calm(axis.average) for axis in axes])[1]
        for axis, own in zip(axes, found.T, strict=True):
            axis.mirror.learn(own, counts)
            leanings[axis] = axis.mirror.leaning(own)
            axis.along += float(sigmoid(leanings[axis]) @ counts)
            axis.counted += float(counts.sum())
            agreed = float((own * seen.values["qv"]) @ counts)
            axis.product += PRODUCT * agreed / max(axis.mirror.second**0.5 * self.size, TINY)
        self.best = max(axes, key=lambda axis: axis.mirror.apart())
        return leanings

    def _follow(self, seen: Statistics, hints: np.ndarray, leanings: dict[Axis, np.ndarray], doubt: Callable) -> None:
        """Let both axes grow by this step's submissions, in one pass over them."""
        weights = []
        for kind, axis in self.axes.items():
            odds = hints + leanings.get(axis, 0.0)
            weight = np.tanh(odds / 2) if kind == "contrast" else np.ones_like(odds)
            benign = sigmoid(odds)
            weights.append(np.where(weight > 0, weight * doubt(benign) / benign.clip(1e-12), weight))
        scales = np.where(seen.lengths > 0, seen.counts / np.maximum(seen.lengths, LEAST), 0.0)
        contrasts = torch.from_numpy(weights * scales).to(seen.gradients.dtype) @ seen.gradients
        for axis, contrast in zip(self.axes.values(), contrasts, strict=True):
            axis.accept(contrast)

    def over(self) -> bool:
        """Whether the axis is clear, or it has taken too long."""
        clear = self.best is not None and self.best.mirror.apart() > CLEAR and self.seen > 1.5 * IMAGINED
        return clear or self.steps >= self.longest

    def share(self) -> float:
        """The share of benign submissions, as far as they were told apart."""
        return self.benign / (self.told + IMAGINED)
