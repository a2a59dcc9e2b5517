"""When does a pretender turn? An alarm on the rewards and on the credits, and who lost credit after it."""

import numpy as np
import pandas as pd

from gaa_core.errors import GaaError
from gaa_core.trace import Trace

#: Credits are compared by their logarithms; what is smaller than this counts as this.
FLOOR = 1e-6

#: An alarm is a movement this many robust deviations above the usual one, of the credits and of f_B. Ours.
CREDIT_ALARM, LOSS_ALARM = 8.0, 6.0

#: Steps within which credits and f_B are looked at.
WINDOW = 5


def log_credits(trace: Trace) -> np.ndarray:  # [steps, n]
    """Logarithms of the credits about their mean over the workers: 0 is an equal share, at every step.

    The policy is linear before its softmax, so that it is these that move evenly.
    """
    if not trace.has_credits:
        raise GaaError(f"{trace.rule} gives no credits to read.")
    logs = np.log(np.maximum(np.nan_to_num(trace.credits.astype(np.float64)), FLOOR))
    return logs - logs.mean(axis=1, keepdims=True)


def movements(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """How far credits moved (median over workers) and how far log f_B rose within WINDOW steps: two [steps]."""
    logs, loss = log_credits(trace), _log_loss(trace)
    steps = len(loss)
    moved, rose = np.zeros(steps), np.zeros(steps)
    moved[WINDOW:] = np.median(np.abs(logs[WINDOW:] - logs[:-WINDOW]), axis=1)
    rose[WINDOW:] = loss[WINDOW:] - loss[:-WINDOW]
    return moved, rose


def turning_points(trace: Trace) -> pd.DataFrame:
    """A row per worker: `step` at which workers turned, and whose credit fell after it (`change`, `fell`).

    The run's alarm is the first step at which, after a burn-in of a sixth of the run, the credits move or f_B rises
    within WINDOW steps far beyond what has been usual (`alarm`); `step` is where f_B was lowest before it. `change`
    is the difference of mean log credit between the last sixth of the run and the time before the turn. Without an
    alarm there are NaNs: no worker turned, or no turn mattered. The rule and its thresholds are ours.
    """
    logs, loss = log_credits(trace), _log_loss(trace)
    steps, n = logs.shape
    moved, rose = movements(trace)
    alarm = np.nanmin([_first_alarm(moved, CREDIT_ALARM), _first_alarm(rose, LOSS_ALARM), np.inf])
    if not np.isfinite(alarm):
        return pd.DataFrame({"worker": range(n), "step": np.nan, "alarm": np.nan, "change": np.nan, "fell": False})
    before = int(alarm) - int(loss[int(alarm) :: -1].argmin())  # the latest of the lowest
    earlier = logs[max(0, before - steps // 6) : before + 1].mean(axis=0)
    change = logs[-max(1, steps // 6) :].mean(axis=0) - earlier
    return pd.DataFrame(
        {"worker": range(n), "step": float(before + 1), "alarm": alarm, "change": change, "fell": change < 0}
    )


def _first_alarm(values: np.ndarray, threshold: float) -> float:
    """The first step whose value lies `threshold` robust deviations above the median of the past; NaN if none."""
    burn_in = max(3 * WINDOW, len(values) // 6)
    for step in range(burn_in, len(values)):
        past = values[WINDOW : step - WINDOW]  # the movement under test must not be part of what is usual
        if len(past) and (values[step] - np.median(past)) > threshold * robust_deviation(past):
            return float(step)
    return np.nan


def robust_deviation(values: np.ndarray) -> float:
    """Standard deviation from the median absolute deviation, as if values were normal; never quite 0."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) + 1e-9


def _log_loss(trace: Trace) -> np.ndarray:
    """log f_B, with a diverged model's loss as a very great one."""
    loss = np.nan_to_num(trace.steps["qv_loss"].to_numpy(), nan=1e9, posinf=1e9)
    return np.log(np.clip(loss, FLOOR, 1e9))
