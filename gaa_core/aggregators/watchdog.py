"""The watchdog of GAAPlus: what is usual for f_B, and what is not."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Watchdog:
    """Judges an update by its trial: f_B before it, and f_B as it would be after it.

    An update that would lift f_B far above its usual level is refused. After `patience` refusals in a row whoever is
    trusted now is not worth it: the verdict is to roll back. Each rollback makes the watchdog more tolerant for a
    while, so that it cannot hold up a training whose true direction raises f_B (a QV set that lacks classes).
    """

    horizon: int = 30  # steps over which the usual level is taken
    alarm: float = 4.0  # spreads above the level
    patience: int = 4
    every: int = 10  # steps between two states that are kept

    def __post_init__(self):
        self.level = self.spread = 0.0
        self.tolerance = self.alarm
        self.judged = self.refusals = self.since_kept = 0

    def wants_to_keep(self, loss: float) -> bool:
        """Whether the state at this f_B is worth keeping: now and then, and only when f_B is as usual."""
        if self.judged == 0:
            return math.isfinite(loss)
        self.since_kept += 1
        usual = loss <= self.level + 1.5 * self.spread and self.refusals == 0
        if usual and self.since_kept >= self.every:
            self.since_kept = 0
            return True
        return False

    def judge(self, loss: float, trial: float) -> str:
        """ "accept", "refuse" or "roll back"."""
        if self.judged == 0 and math.isfinite(loss):
            self.level, self.spread = loss, 0.1 * abs(loss)
        limit = self.level + self.tolerance * self.spread + 0.05
        if not math.isfinite(trial) or (trial > limit and trial > loss):
            self.refusals += 1
            if self.refusals < self.patience:
                return "refuse"
            self.refusals = 0
            self.tolerance *= 1.5
            return "roll back"
        self.refusals = 0
        self.judged += 1
        self.tolerance = max(self.alarm, 0.99 * self.tolerance)
        share = max(1 / self.horizon, 1 / (self.judged + 1))
        deviation = min(abs(trial - self.level), 2 * self.spread + 0.005)  # a jump must not make jumps usual
        self.level += share * (min(trial, limit) - self.level)
        self.spread += share * (deviation - self.spread)
        return "accept"
