"""Whether all workers are benign though they seem to be of two kinds: by what f_B says of either's updates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.statistics import FEWEST, TINY, shown_samples, spreads

#: Steps of the moving averages, and before anything is said.
HORIZON, YOUNGEST = 15, 5
#: Standard errors of the difference at which all workers come to be followed, and cease to be.
SURE, DOUBT = 1.5, -2.0
#: What their update gains at a step at least: of the first f_B, and of lr |update| |grad f_B|, which is predicted.
LEAST, PREDICTED = 0.01, 0.08
#: Of that, what the trusted workers' update gains at most; and the cosine of the two updates at most.
PART, APART = 0.25, 0.6
#: Steps of trial, after which f_B has to be this part of what it was; and steps of rest after it failed.
TRIAL, FALLEN, REST = 15, 0.9, 50


class AllWorkers:
    """Compares updates by the trusted with updates by all workers, on the QV samples.

    Workers whose data are unlike contradict each other as Byzantine workers contradict benign ones. But then it is all
    workers' update that lowers f_B, step after step, and not that of the trusted. Samples of one class say nothing of
    this. Byzantine workers may gain for a while, too, but next to nothing beside what is predicted; and f_B has to fall
    by it. Source: ours.
    """

    def __init__(self):
        self.believed = False
        self.first: float | None = None  # f_B before the first step that was followed
        self.since, self.before = 0, 0.0  # steps of belief, and f_B before them
        self.begin()

    def begin(self) -> None:
        """Forget all comparisons."""
        self.steps = 0
        self.agree, self.prediction = 1.0, 0.0  # moving averages: cosine of the two updates, lr |update| |grad f_B|
        self.gains: np.ndarray | None = None  # [2, b], of each sample by the trusted and by all: moving averages

    def follow(self, server: Server, trusted: Tensor, all_workers: Tensor, slope: float) -> None:
        """Take in a step's two updates [d] and |grad f_B|, and decide which is to be followed.

        f_B is asked while the two are apart, or all are followed: it takes three passes over the samples.
        """
        length, other = kernels.norms(torch.stack([all_workers, trusted])).tolist()
        cosine = float((all_workers / max(length, TINY)) @ (trusted / max(other, TINY)))
        self.agree += (cosine - self.agree) / HORIZON
        if self.agree > APART and not self.believed:
            self.steps = min(self.steps, 0)
            return
        tried = _tried(server, trusted, all_workers)
        if tried is None:
            return
        loss, gains = tried
        self.first = loss if self.first is None else self.first
        self.steps += 1
        share = max(1 / HORIZON, 1 / max(1, self.steps))
        self.prediction += share * (server.lr * length * slope - self.prediction)
        self.gains = gains if self.gains is None else self.gains + share * (gains - self.gains)
        self.since += 1
        bound = self.before * (FALLEN if self.since == TRIAL else 1.0)
        if self.believed and self.since >= TRIAL and loss > bound:
            self.believed, self.steps = False, -REST
        elif self.steps >= YOUNGEST:
            was, self.believed = self.believed, self._better()
            if self.believed and not was:
                self.since, self.before = 0, min(loss, self.first)

    def _better(self) -> bool:
        by_trusted, by_all = self.gains.mean(axis=1)
        sure = spreads(self.gains[1] - self.gains[0])
        if self.believed:
            return sure > DOUBT
        gains = by_all > max(LEAST * self.first, PREDICTED * self.prediction) and by_trusted < PART * by_all
        return gains and sure > SURE


def _tried(server: Server, *updates: Tensor) -> tuple[float, np.ndarray] | None:
    """f_B, and how far the loss of each QV sample would fall by each of k updates [d], [k, b].

    None where the server shows too few samples, and where a loss is not finite.
    """
    qv = shown_samples(server, FEWEST)
    if qv is None:
        return None
    theta = server.parameters
    points = (theta, *(theta - server.lr * update.to(theta) for update in updates))
    now, *then = (server.model.losses(point, qv.inputs, qv.targets).double() for point in points)
    gains = torch.stack([now - loss for loss in then])
    return (float(now.mean()), gains.numpy()) if gains.isfinite().all() else None
