"""The watchdog of GAAPlus: what is usual for f_B, what is not, and when the run has lost its bearings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gaa_core.aggregators.gaa_plus.evidence import YOUNG


@dataclass
class Watchdog:
    """Judges an update by its trial: f_B before it, and f_B as it would be after it.

    An update that would lift f_B far above its usual level is refused. After `patience` refusals in a row a worker that
    is trusted now is not worth it: the verdict is to roll back. Each rollback makes the watchdog more tolerant for a
    while, so that it cannot hold up a training whose true direction raises f_B (a QV set that lacks classes).
    """

    horizon: int = 30  # steps over which the usual level is taken
    alarm: float = 4.0  # spreads above the level
    most: float = 40.0  # spreads that are tolerated at most, however often it rolled back
    patience: int = 4
    every: int = 10  # steps between two states that are kept

    def __post_init__(self):
        self.level = self.spread = 0.0
        self.tolerance = self.alarm
        self.judged = self.refusals = self.since_kept = 0
        self.first = math.inf  # f_B before the first update

    def wants_to_keep(self, loss: float) -> bool:
        """Whether the state at this f_B is worth keeping: now and then, and only when f_B is as usual.

        And not above its first value: what is kept is never worse than the start.
        """
        if self.judged == 0:
            self.first = loss
            return math.isfinite(loss)
        self.since_kept += 1
        usual = loss <= min(self.level + 1.5 * self.spread, self.first) and self.refusals == 0
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
            self.tolerance = min(1.5 * self.tolerance, self.most)
            return "roll back"
        self.refusals = 0
        self.judged += 1
        self.tolerance = max(self.alarm, 0.99 * self.tolerance)
        share = max(1 / self.horizon, 1 / (self.judged + 1))
        deviation = min(abs(trial - self.level), 2 * self.spread + 0.005)  # a jump must not make jumps usual
        self.level += share * (min(trial, limit) - self.level)
        self.spread += share * (deviation - self.spread)
        return "accept"


@dataclass
class Bearings:
    """Whether a run still knows where it goes. No single step shows it: it takes averages over some."""

    lost_at: float = 1.2  # times its first value, above which f_B says that the run has gone the wrong way
    lost_though_settled_at: float = 2.0  # the same where memory and reputations are sure of theirs
    steps: int = 15  # for which that has to last
    longest: int = 10  # steps of silence on end, above which it says more of the evidence than of the workers
    young: int = YOUNG  # accepted updates, after which it can be right: late in training nothing agrees
    byzantine_at: float = 0.15  # the share of distrusted submissions from which on there are Byzantine workers about
    settled_at: float = 2.5  # mean log-odds of reputations that have settled who they are

    def __post_init__(self):
        self.first: float | None = None  # f_B before the first step
        self.usual = 0.0  # a moving average of f_B
        self.byzantine = 0.0  # a moving average of the share of distrusted submissions
        self.since = 0  # steps since the start, or since it began anew
        self.was_clear = False  # whether Byzantine workers could be told by evidence once

    def note(self, loss: float) -> None:
        """Take in f_B at the start of a step."""
        loss = min(loss, 1e6) if math.isfinite(loss) else 1e6
        if self.first is None:
            self.first = self.usual = loss
        self.usual += 0.1 * (loss - self.usual)
        self.since += 1

    def lost(self, standing: float, reputation: float) -> bool:
        """Whether the model has long done worse than before the first step: the wrong ones have been trusted.

        `standing` is the log-odds of the memory, `reputation` the mean size of those that workers start the step with,
        `agreed` the log-odds of the memory from all who were heard at first saying the same. A few QV samples may speak
        against what the first two are sure of, or against all workers; they have to speak up.
        """
        settled = standing > 4 and reputation > self.settled_at
        limit = self.lost_though_settled_at if settled else self.lost_at
        return self.since > self.steps and self.usual > limit * self.first

    def begin_anew(self) -> None:
        """The run was reversed."""
        self.usual, self.since = self.first, 0

    def stuck(self, silent: int, accepted: int) -> bool:
        """Whether no worker has been trusted for longer than there can be no worker honest, after so few accepted
        updates.
        """
        return silent > self.longest and accepted <= self.young
