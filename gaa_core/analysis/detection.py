"""Who is Byzantine? Workers ranked by suspicion at every step, from the credits or by the baseline GeoMed+."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn import metrics

from gaa_core.errors import GaaError, one_of
from gaa_core.trace import Trace

METHODS = ("credits", "GeoMed+")

#: What is detected: the workers that attack at a step, or the compromised set, which is fixed for a run.
WHO = ("attacking", "compromised")

#: A worker counts as found once it is flagged this many steps on end.
PATIENCE = 20


@dataclass(frozen=True, eq=False)
class Detection:
    """Suspicion, who is flagged, and the truth: each [steps, n], a greater score being more suspicious."""

    by: str
    scores: np.ndarray
    flagged: np.ndarray
    byzantine: np.ndarray

    @property
    def auc(self) -> np.ndarray:
        """Area under the ROC curve of each step [steps]; NaN where all workers behave alike."""
        bad, good = self.byzantine[:, :, None], ~self.byzantine[:, None, :]
        pairs = bad & good  # [steps, n, n]: a Byzantine worker and a benign one
        more, less = self.scores[:, :, None], self.scores[:, None, :]
        won = ((more > less) + 0.5 * (more == less)) * pairs
        with np.errstate(invalid="ignore"):
            return won.sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))

    @property
    def delays(self) -> np.ndarray:
        """Steps from a worker's first attack until it is flagged for good [n]; NaN for benign and unfound workers.

        For good means for PATIENCE steps on end (half a run, where that is less).
        """
        steps, n = self.flagged.shape
        patience = min(PATIENCE, max(1, steps // 2))
        lasting = sliding_window_view(self.flagged, patience, axis=0).all(axis=2)  # [steps - patience + 1, n]
        delays = np.full(n, np.nan)
        for worker in np.flatnonzero(self.byzantine.any(axis=0)):
            onset = int(self.byzantine[:, worker].argmax())
            found = np.flatnonzero(lasting[onset:, worker])
            if len(found):
                delays[worker] = found[0]
        return delays

    def summary(self) -> dict:
        """The figures of one run as a flat row.

        `auc_end` is the AUC of the last step, `auc_steps` the mean over all steps; `precision` and `recall` are over
        the last tenth of the run; `found` is the share of attackers ever found, `delay` that of the last one found.
        """
        steps = len(self.flagged)
        last = slice(steps - max(1, steps // 10), None)
        flagged, byzantine = self.flagged[last].ravel(), self.byzantine[last].ravel()
        ever, delays = self.byzantine.any(axis=0), self.delays
        found = np.isfinite(delays[ever])
        finite = self.auc[np.isfinite(self.auc)]
        return {
            "by": self.by,
            "auc_end": float(self.auc[-1]),
            "auc_steps": float(finite.mean()) if len(finite) else np.nan,
            "precision": float(metrics.precision_score(byzantine, flagged, zero_division=np.nan)),
            "recall": float(metrics.recall_score(byzantine, flagged, zero_division=np.nan)),
            "found": float(found.mean()) if ever.any() else np.nan,
            "delay": float(delays[ever][found].max()) if found.any() else np.nan,
        }


def detect(
    trace: Trace,
    *,
    by: str = "credits",
    window: int = 1,
    below: float | None = None,
    who: str = "attacking",
) -> Detection:
    """Rank the workers of a run by suspicion, with scores averaged over the last `window` steps.

    By "credits": the less credit, the more suspicious. By "GeoMed+": the sooner removed; it reads the distances that
    `run(..., record_distances=True)` keeps. Flagged are as many as are Byzantine at that step, which no defence can
    know and which makes precision and recall one number. With `below` those are flagged whose credit is under that
    share of 1/n, without a number to look for.
    The truth is the workers that attack at the step, or with `who="compromised"` those that ever do.
    Of equal scores the greater worker number is flagged: never to the attackers' cost, who have the smallest.
    """
    one_of("set of workers to detect", who, WHO)
    one_of("way to detect", by, METHODS)
    steps, n = trace.byzantine.shape
    if not 1 <= window <= steps:
        raise GaaError(f"detect needs a window between 1 and the run's {steps} steps; found {window}.")
    if below is not None and by != "credits":
        raise GaaError("detect takes `below` for credits only.")
    scores = _average(_suspicion(trace, by), window)
    ever = np.broadcast_to(trace.byzantine.any(axis=0), (steps, n))
    truth = ever if who == "compromised" else trace.byzantine
    if below is not None:
        return Detection(by, scores, -scores < below / n, truth)
    order = n - 1 - np.argsort(-scores[:, ::-1], axis=1, kind="stable")  # [steps, n], most suspicious first
    flagged = np.zeros_like(trace.byzantine)
    np.put_along_axis(flagged, order, np.arange(n) < truth.sum(axis=1)[:, None], axis=1)
    return Detection(by, scores, flagged, truth)


def geo_med_plus_order(distances: np.ndarray) -> np.ndarray:  # [steps, n, n] -> [steps, n]
    """When GeoMed+ removes each worker, most suspicious first: n - 1 for the first removed, 0 for who is left.

    Again and again the worker with the greatest summed distance to those that remain is removed, so that one pass
    answers for every number m of removals. The last two are equally far from each other: what counts between them is
    their distance to all workers. Source: reconstruction (the paper's baseline for detection).
    """
    steps, n, _ = distances.shape
    distances = np.minimum(distances.astype(np.float64), 1e100)  # infinite ones too may be added up and compared
    totals = distances.sum(axis=2)
    remains = np.ones((steps, n), dtype=bool)
    order = np.zeros((steps, n))
    rows = np.arange(steps)
    for left in range(n - 1, 0, -1):
        sums = np.where(remains[:, None, :], distances, 0.0).sum(axis=2) if left > 1 else totals
        worst = np.where(remains, sums, -1.0).argmax(axis=1)
        order[rows, worst] = left
        remains[rows, worst] = False
    return order


def detection_table(table: pd.DataFrame, traces: Iterable[Trace], **options) -> pd.DataFrame:
    """A row per run: the columns of a sweep's `table` that say what it is, and the summary of `detect`.

    `traces` are the runs of the table's rows in their order, as `sweep.traces()` gives them.
    """
    names = [name for name in ("case", "rule", "attack_name", "schedule", "ratio", "seed") if name in table]
    rows = table[names].to_dict("records")
    return pd.DataFrame(
        [{**row, **detect(trace, **options).summary()} for row, trace in zip(rows, traces, strict=True)]
    )


def roc(detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray, float]:
    """(false positive rates, true positive rates, area) over all steps and workers of some runs together."""
    truth = np.concatenate([each.byzantine.ravel() for each in detections])
    scores = np.concatenate([each.scores.ravel() for each in detections])
    if truth.all() or not truth.any():
        raise GaaError("roc needs Byzantine and benign workers; found one kind only.")
    false, true, _ = metrics.roc_curve(truth, scores)
    return false, true, float(metrics.auc(false, true))


def _suspicion(trace: Trace, by: str) -> np.ndarray:  # [steps, n]
    if by == "GeoMed+":
        if "distances" not in trace.extras:
            raise GaaError("GeoMed+ needs the distances between submissions: use run(..., record_distances=True).")
        return geo_med_plus_order(trace.extras["distances"])
    if not trace.has_credits:
        raise GaaError(f"{trace.rule} gives no credits, so that no worker can be detected by them.")
    return -np.nan_to_num(trace.credits.astype(np.float64))  # a diverged model leaves no worker with credit


def _average(scores: np.ndarray, window: int) -> np.ndarray:
    """Means over the last `window` steps, over fewer at the start."""
    return pd.DataFrame(scores).rolling(window, min_periods=1).mean().to_numpy() if window > 1 else scores
