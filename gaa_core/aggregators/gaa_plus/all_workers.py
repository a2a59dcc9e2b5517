"""Whether all workers are honest though they seem to be of two kinds: by what f_B says of either's updates."""

from __future__ import annotations

import torch
from torch import Tensor

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.direction import survey
from gaa_core.aggregators.gaa_plus.sight import FEWEST, classes, shown_samples, spreads


class AllWorkers:
    """Compares updates by the trusted with updates by all workers, on the QV samples.

    Workers whose data are unlike contradict each other as Byzantine workers contradict the honest, and a worker that
    follows one kind alone teaches the model its data alone. But then it is all workers' update that lowers f_B, step
    after step, and not that of the trusted; where Byzantine workers are about it is the other way round. Each update is
    tried on each sample, and the samples' scatter says what the difference is worth. Samples of one class say nothing
    of this.

    Byzantine workers, too, may gain for a while, where they undo what the model was too sure of. But theirs is next to
    nothing beside what a step as long, straight down the gradient of f_B, is predicted to gain. And belief is on trial:
    f_B has to fall by it, and never again to be what it was before. Source: ours.
    """

    horizon, youngest = 15, 5  # steps of the moving averages, and before anything is said
    sure_at, doubt_at = 1.5, -2.0  # spreads, from which on all workers are believed, and until when
    least = 0.01  # of the first f_B, which all workers' update gains at a step at least,
    predicted = 0.08  # and of lr |update| |grad f_B|
    part = 0.25  # of what all workers' updates gain, which those of the trusted gain at most
    trial, fallen = 15, 0.9  # steps of belief, after which f_B has to be this part of what it was
    apart = 0.6  # cosine of the two updates, on average, under which there can be two kinds that contradict each other
    rest = 50  # steps after belief that failed

    def __init__(self):
        self.believed = False
        self.first: float | None = None  # f_B before the first step that was followed
        self.since, self.before = 0, 0.0  # steps of belief, and f_B before them
        self.begin()

    def begin(self) -> None:
        """Nothing that was compared counts any more."""
        self.steps = 0
        self.agree = 0.0  # cosine of the two updates, a moving average
        self.prediction = 0.0  # lr |all workers' update| |grad f_B|, a moving average
        self.gains: Tensor | None = None  # [2, b], of each sample by the trusted and by all workers: moving averages

    def on_trial(self) -> bool:
        """Whether it is believed, but has not shown yet that f_B falls by it."""
        return self.believed and self.since < self.trial

    def follow(self, server: Server, trusted: Tensor, all_workers: Tensor, slope: float) -> bool:
        """Take in a step's two updates [d], and the length of grad f_B; whether belief fails at this step."""
        tried = _tried(server, trusted, all_workers)
        if tried is None:
            return False
        loss, gains = tried
        self.first = loss if self.first is None else self.first
        self.steps += 1
        share = max(1 / self.horizon, 1 / max(1, self.steps))
        length, cosine = survey(all_workers[None], [trusted])
        self.agree += share * (float(cosine) - self.agree)
        self.prediction += share * (server.lr * float(length) * slope - self.prediction)
        self.gains = gains if self.gains is None else self.gains.lerp(gains, share)
        self.since += 1
        bound = self.before * (self.fallen if self.since == self.trial else 1.0)
        if self.believed and self.since >= self.trial and loss > bound:
            self.believed, self.steps = False, -self.rest
            return True
        if self.steps >= self.youngest:
            was, self.believed = self.believed, self._better()
            if self.believed and not was:
                self.since, self.before = 0, min(loss, self.first)
        return False

    def _better(self) -> bool:
        more = self.gains[1] - self.gains[0]
        by_trusted, by_all = self.gains.mean(dim=1).tolist()
        sure = spreads(more, 0.0)
        if self.believed:
            return sure > self.doubt_at
        least = max(self.least * self.first, self.predicted * self.prediction)
        gains = by_all > least and by_trusted < self.part * by_all
        return gains and sure > self.sure_at and self.agree < self.apart


def _tried(server: Server, *updates: Tensor) -> tuple[float, Tensor] | None:
    """f_B, and how far the loss of each QV sample would fall by each of k updates [d], [k, b].

    None where the server shows no samples, or too few, where these are of one class, and where a loss is not finite.
    """
    qv = shown_samples(server, FEWEST)
    if qv is None or classes(server) < 2:
        return None
    theta = server.parameters
    points = (theta, *(theta - server.lr * update.to(theta) for update in updates))
    now, *then = (server.model.losses(point, qv.inputs, qv.targets).double() for point in points)
    gains = torch.stack([now - loss for loss in then])
    return (float(now.mean()), gains) if gains.isfinite().all() else None
