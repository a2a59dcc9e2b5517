"""The watchdog: what is usual for f_B, which updates it refuses, when a run is lost, and the states to go back to."""

from __future__ import annotations

import copy
import math

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs
from gaa_core.aggregators.gaa_plus.momentum import Momentum

#: Steps over which f_B's usual level and spread are taken.
HORIZON = 30
#: Spreads above the level at which an update is refused, at first and at most; and what is tolerated in any case.
ALARM, MOST, SLACK = 4.0, 40.0, 0.05
#: Each rollback raises the tolerance, which falls back at every accepted step.
RAISED, FALLS = 1.5, 0.99
#: Refusals on end after which no worker that is trusted now is worth it.
PATIENCE = 4
#: Steps between two states that are kept, and spreads above the level at which none is.
EVERY, KEPT = 10, 1.5
#: Multiples of f_B's first value above which the run has gone the wrong way, and steps for which that has to last.
LOST, LASTING = 1.5, 15
#: f_B at a diverged model.
DIVERGED = 1e6
#: What a rollback takes from the log-odds of the momentum's sign.
DOUBT = 2.5


class Watchdog:
    """Judges an update by its trial, and the run by a moving average of f_B."""

    def __init__(self):
        self.level = self.spread = 0.0
        self.tolerance = ALARM
        self.judged = self.refusals = self.since_kept = 0
        self.first: float | None = None  # f_B before the first step
        self.usual = 0.0  # a moving average of f_B at the start of steps
        self.since = 0  # steps, or since the run was reversed

    def note(self, loss: float) -> None:
        """Take in f_B at the start of a step."""
        loss = min(loss, DIVERGED) if math.isfinite(loss) else DIVERGED
        if self.first is None:
            self.first = self.usual = loss
        self.usual += 0.1 * (loss - self.usual)
        self.since += 1

    def lost(self) -> bool:
        """Whether f_B has long stood above its first value: the wrong workers have been trusted."""
        return self.since > LASTING and self.usual > LOST * self.first

    def begin_anew(self) -> None:
        """The run was reversed."""
        self.usual, self.since = self.first, 0

    def wants_to_keep(self, loss: float) -> bool:
        """Whether the state at this f_B is worth keeping: now and then, at a usual f_B, never worse than the start."""
        if self.judged == 0:
            return math.isfinite(loss)
        self.since_kept += 1
        usual = loss <= min(self.level + KEPT * self.spread, self.first) and self.refusals == 0
        if usual and self.since_kept >= EVERY:
            self.since_kept = 0
            return True
        return False

    def judge(self, loss: float, trial: float) -> str:
        """ "accept", "refuse" or "roll back", by f_B before an update, and as it would be after it."""
        if self.judged == 0 and math.isfinite(loss):
            self.level, self.spread = loss, 0.1 * abs(loss)
        limit = self.level + self.tolerance * self.spread + SLACK
        if not math.isfinite(trial) or (trial > limit and trial > loss):
            self.refusals += 1
            if self.refusals < PATIENCE:
                return "refuse"
            self.refusals = 0
            self.tolerance = min(RAISED * self.tolerance, MOST)
            return "roll back"
        self.refusals = 0
        self.judged += 1
        self.tolerance = max(ALARM, FALLS * self.tolerance)
        share = max(1 / HORIZON, 1 / (self.judged + 1))
        deviation = min(abs(trial - self.level), 2 * self.spread + 0.1 * SLACK)  # a jump must not make jumps usual
        self.level += share * (min(trial, limit) - self.level)
        self.spread += share * (deviation - self.spread)
        return "accept"


class Kept:
    """The momentum and the laws that go with the parameters which the server keeps: two such states at most."""

    def __init__(self):
        self.states: list[tuple[Momentum, Beliefs]] = []  # the older one first

    def keep(self, server: Server, momentum: Momentum, beliefs: Beliefs) -> None:
        """Have the server keep theta, and keep what goes with it."""
        server.keep()
        self.states = [*self.states[-1:], copy.deepcopy((momentum, beliefs))]

    def roll_back(self, server: Server, momentum: Momentum, beliefs: Beliefs) -> None:
        """Have the server go back to the older state, if there is any; what is known now stays."""
        if self.states:
            server.rollback()
            self.states = [copy.deepcopy((momentum, beliefs)) for _ in self.states]

    def restore(self, standing: float) -> tuple[Momentum, Beliefs]:
        """What goes with the older state, to which the server went back; the sign of the momentum is in doubt."""
        momentum, beliefs = copy.deepcopy(self.states[0])
        momentum.standing = min(standing, momentum.standing) - DOUBT
        return momentum, beliefs
