"""The watchdog: which updates f_B refuses, and when it says that a run is lost, since the wrong workers are trusted."""

from __future__ import annotations

import math

#: Multiples of f_B's first value above which the run has gone the wrong way, and steps for which that has to last.
LOST, LASTING = 1.5, 15
#: What a step adds to the moving average of f_B, and to its level and spread after updates.
SHARE, SLOW = 0.1, 1 / 30
#: Spreads above the level at which an update is refused, and what is tolerated in any case.
ALARM, SLACK = 4.0, 0.05
#: Refusals on end after which an update passes: f_B does not come back.
PATIENCE = 4
#: f_B at a diverged model.
DIVERGED = 1e6


class Watchdog:
    """Judges an update by its trial on f_B, and the run by a moving average of f_B at the start of steps."""

    def __init__(self):
        self.first: float | None = None  # f_B before the first step
        self.usual = 0.0  # the average
        self.since = 0  # steps, or since the run was reversed
        self.level = self.spread = 0.0  # of f_B after updates
        self.judged = self.refusals = 0

    def note(self, loss: float) -> None:
        """Take in f_B at the start of a step."""
        loss = min(loss, DIVERGED) if math.isfinite(loss) else DIVERGED
        if self.first is None:
            self.first = self.usual = loss
        self.usual += SHARE * (loss - self.usual)
        self.since += 1

    def lost(self) -> bool:
        """Whether f_B has long stood above its first value: the wrong workers have been trusted."""
        return self.since > LASTING and self.usual > LOST * self.first

    def begin_anew(self) -> None:
        """The run was reversed."""
        self.usual, self.since = self.first, 0

    def admits(self, loss: float, trial: float) -> bool:
        """Whether an update may pass, by f_B before it, and as it would be after it."""
        if self.judged == 0 and math.isfinite(loss):
            self.level, self.spread = loss, 0.1 * abs(loss)
        limit = self.level + ALARM * self.spread + SLACK
        jumps = not trial <= max(limit, loss)
        if jumps:
            self.refusals += 1
            if self.refusals < PATIENCE or not math.isfinite(trial):
                return False
        self.refusals = 0
        self.judged += 1
        share = max(SLOW, 1 / (self.judged + 1))
        deviation = min(abs(trial - self.level), 2 * self.spread + 0.1 * SLACK)  # a jump must not make jumps usual
        self.level += share * (min(trial, limit) - self.level)
        self.spread += share * (deviation - self.spread)
        return True
