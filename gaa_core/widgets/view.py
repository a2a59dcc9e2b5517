"""A saved run, read step by step: what the explorer shows, without widgets and without drawing."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaa_core.analysis import detect
from gaa_core.errors import DataError, GaaError
from gaa_core.trace import RECORD, Trace

#: Thresholds of the precision and recall curves, in shares of 1/n; the slider stops at the same.
THRESHOLDS = np.round(np.arange(0.05, 2.001, 0.05), 2)


@dataclass(frozen=True)
class Run:
    """One run to choose: its title, and where it is."""

    title: str
    folder: Path | None = None
    trace: Trace | None = None

    def open(self) -> TraceView:
        """The run, ready to be read; the distances of a saved one are left on the disk for now."""
        return TraceView(self.trace or Trace.load(self.folder, without=("distances",)), self.folder)


def runs(source: Trace | Iterable[Trace] | str | Path) -> list[Run]:
    """The runs of a source: a trace, several, a run's folder or a folder of such folders. None at all raises."""
    if isinstance(source, Trace):
        return [Run(_title(source.settings), trace=source)]
    if isinstance(source, str | Path):
        folder = Path(source)
        records = [folder / RECORD] if (folder / RECORD).is_file() else sorted(folder.glob(f"*/{RECORD}"))
        if not records:
            raise DataError(f"{folder} holds no finished run: neither it nor a folder in it has a {RECORD}.")
        return [Run(_title(_settings(path.parent)), folder=path.parent) for path in records]
    found = [Run(_title(trace.settings), trace=trace) for trace in source]
    if not found:
        raise GaaError("TraceExplorer needs a trace, traces or a folder of results; found an empty list.")
    return found


def _title(settings: dict) -> str:
    names = ("title", "rule", "attack", "roles", "seed")
    return ", ".join(f"{'seed ' if name == 'seed' else ''}{settings[name]}" for name in names if name in settings)


def _settings(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{folder} holds a damaged run ({error}). Delete it and run it again.") from error


@dataclass(frozen=True, eq=False)
class Plane:
    """Submissions of one step in the plane of their two leading principal components."""

    points: np.ndarray  # [n, 2] about their centre; NaN for submissions that are not finite
    shares: tuple[float, float]  # of the variance, along each of the two


@dataclass(frozen=True)
class Judgement:
    """How right it is to flag who is below a threshold, over all workers of some steps; NaN where nothing to judge."""

    precision: float
    recall: float


class TraceView:
    """A trace with what is looked up again and again: means for the heat map, sorted credits, distances when read."""

    def __init__(self, trace: Trace, folder: Path | None = None):
        self.trace, self.folder = trace, folder
        self.steps, self.n = trace.byzantine.shape
        self.title = _title(trace.settings)
        self._distances = trace.extras.get("distances")
        self.is_reading = False  # distances are on their way from the disk

    def read_distances(self, done: Callable[[], None] | None = None) -> threading.Thread | None:
        """Read the distances of a saved run in a thread, and call `done`; None where there is nothing to wait for."""
        if self._distances is not None or self.folder is None:
            return None

        def work() -> None:
            try:
                with np.load(self.folder / "credits.npz", allow_pickle=False) as arrays:
                    self._distances = arrays["distances"] if "distances" in arrays.files else None
            finally:
                self.is_reading = False
            if done is not None:
                done()

        self.is_reading = True
        thread = threading.Thread(target=work, name="gaa-distances", daemon=True)
        thread.start()
        return thread

    @property
    def has_distances(self) -> bool:
        """Whether the plane of submissions can be drawn."""
        return self._distances is not None

    def heat(self, spans: int = 400) -> tuple[np.ndarray, np.ndarray]:
        """(credits, shares of Byzantine steps), each [n, <= spans]: means over equal spans of steps."""
        edges = np.unique(np.linspace(0, self.steps, min(spans, self.steps) + 1).astype(int))
        pairs = list(itertools.pairwise(edges))
        credits = np.stack([self.trace.credits[a:b].mean(axis=0) for a, b in pairs], axis=1)
        return credits, np.stack([self.trace.byzantine[a:b].mean(axis=0) for a, b in pairs], axis=1)

    def plane(self, step: int, like: np.ndarray | None = None) -> Plane | None:
        """The submissions of a step; None where no distances were kept.

        Classical scaling: the doubly centred squared distances are the Gram matrix of the centred submissions, whose
        leading eigenvectors are their principal components. Signs are free, and chosen to agree with the points `like`.
        """
        if self._distances is None:
            return None
        distances = self._distances[step].astype(np.float64)  # [n, n]
        kept = np.isfinite(distances).sum(axis=1) > 1  # a submission that is not finite is near to itself only
        points = np.full((self.n, 2), np.nan)
        if kept.sum() < 2:
            return Plane(points, (np.nan, np.nan))
        squares = distances[np.ix_(kept, kept)] ** 2
        gram = -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean())
        values, vectors = np.linalg.eigh(gram)
        values, vectors = values[::-1][:2].clip(min=0.0), vectors[:, ::-1][:, :2]
        axes = vectors * np.sqrt(values)
        points[kept, : axes.shape[1]] = axes
        total = max(float(np.trace(gram)), np.finfo(float).tiny)
        return Plane(points * _signs(points, like), tuple((values / total).tolist()))

    def flagged(self, below: float, step: int) -> np.ndarray:
        """Who has less credit than `below`/n at a step, bool [n]; nobody where the rule gives none."""
        if not self.trace.has_credits:
            return np.zeros(self.n, bool)
        return np.nan_to_num(self.trace.credits[step]) < below / self.n

    def judge(self, below: float, step: int | None = None) -> Judgement:
        """Precision and recall of flagging credits under `below`/n: over the whole run, or at one step."""
        if not self.trace.has_credits:
            return Judgement(np.nan, np.nan)
        if step is None:
            detection = detect(self.trace, below=below)
            flagged, byzantine = detection.flagged, detection.byzantine
        else:
            flagged, byzantine = self.flagged(below, step), self.trace.byzantine[step]
        return _judgement((flagged & byzantine).sum(), flagged.sum(), byzantine.sum())

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall over the whole run at each of THRESHOLDS."""
        credits = np.nan_to_num(self.trace.credits.astype(np.float64))
        byzantine = self.trace.byzantine
        bad, everybody = np.sort(credits[byzantine]), np.sort(credits, axis=None)
        right, flagged = (np.searchsorted(values, THRESHOLDS / self.n, side="left") for values in (bad, everybody))
        judged = [_judgement(r, f, byzantine.sum()) for r, f in zip(right, flagged, strict=True)]
        return np.array([each.precision for each in judged]), np.array([each.recall for each in judged])


def _judgement(right: int, flagged: int, byzantine: int) -> Judgement:
    return Judgement(
        float(right / flagged) if flagged else float("nan"), float(right / byzantine) if byzantine else float("nan")
    )


def _signs(points: np.ndarray, like: np.ndarray | None) -> np.ndarray:  # [n, 2] -> [2]
    """Which way round each axis is drawn: as in `like`, else so that the farthest point is on the positive side."""
    filled = np.nan_to_num(points)
    farthest = filled[np.abs(filled).argmax(axis=0), [0, 1]]
    agreement = farthest if like is None else (filled * np.nan_to_num(like)).sum(axis=0)
    return np.where(agreement < 0, -1.0, 1.0)
