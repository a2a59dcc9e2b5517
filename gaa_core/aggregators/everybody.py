"""Whether all workers are honest though they seem to be of two kinds: by what f_B says of either's updates."""

from __future__ import annotations

import torch
from torch import Tensor

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.sight import shown_samples


class Everybody:
    """Compares updates by the trusted with updates by everybody, on the QV samples.

    Workers whose data are unlike contradict each other as liars contradict the honest, and whoever follows one kind
    alone teaches the model its data alone. But then it is everybody's update that lowers f_B, step after step, and not
    that of the trusted; where liars are about it is the other way round. Each update is tried on each sample, and the
    samples' scatter says what the difference is worth. Samples of one class say nothing of this. Source: ours.
    """

    horizon, youngest = 15, 5  # steps of the moving averages, and before anything is said
    sure_at, doubt_at = 1.5, -2.0  # spreads, from which on everybody is believed, and until when
    part = 0.25  # of what everybody's updates gain, which those of the trusted gain at most

    def __init__(self):
        self.believed = False
        self.begin()

    def begin(self) -> None:
        """Nothing that was compared counts any more."""
        self.steps = 0
        self.gains: Tensor | None = None  # [2, b], of each sample by the trusted and by everybody: moving averages

    def follow(self, server: Server, trusted: Tensor, everybody: Tensor) -> None:
        """Take in a step's two updates [d]."""
        qv = shown_samples(server, fewest=4)
        if qv is None or len(qv.targets.unique()) < 2:
            return
        theta = server.parameters
        points = (theta, theta - server.lr * trusted.to(theta), theta - server.lr * everybody.to(theta))
        now, *then = (server.model.losses(point, qv.inputs, qv.targets).double() for point in points)
        gains = torch.stack([now - loss for loss in then])
        if not gains.isfinite().all():
            return
        self.steps += 1
        self.gains = gains if self.gains is None else self.gains.lerp(gains, max(1 / self.horizon, 1 / self.steps))
        if self.steps >= self.youngest:
            self.believed = self._better()

    def _better(self) -> bool:
        more = self.gains[1] - self.gains[0]
        by_trusted, by_all = self.gains.mean(dim=1).tolist()
        spreads = float(more.mean()) / max(float(more.std()) / len(more) ** 0.5, 1e-24)
        if self.believed:
            return spreads > self.doubt_at
        return by_all > 0 and by_trusted < self.part * by_all and spreads > self.sure_at
