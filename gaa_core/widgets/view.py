"""A saved run, read step by step: what the explorer shows, without widgets and without drawing."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gaa_core import files
from gaa_core.errors import DataError, GaaError
from gaa_core.trace import RECORD, Trace

#: Thresholds of the precision and recall curves, in shares of 1/n; the slider stops at the same.
THRESHOLDS = np.round(np.arange(0.05, 2.001, 0.05), 2)


def runs(source: Trace | Iterable[Trace] | str | Path) -> list[tuple[str, Trace | Path]]:
    """(title, trace or folder) of a trace, several, a run's folder or a folder of such folders. None at all raises."""
    if isinstance(source, str | Path):
        folder = Path(source)
        found = (
            [folder] if (folder / RECORD).is_file() else [path.parent for path in sorted(folder.glob(f"*/{RECORD}"))]
        )
        if not found:
            raise DataError(f"{folder} holds no finished run: neither it nor a folder in it has a {RECORD}.")
        try:
            return [(title(files.read_json(path / "config.json")), path) for path in found]
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} holds a damaged run ({error}). Delete it and run it again.") from error
    found = [source] if isinstance(source, Trace) else list(source) if isinstance(source, Iterable) else []
    if not found or not all(isinstance(each, Trace) for each in found):
        raise GaaError(f"TraceExplorer needs a trace, traces or a folder of results; found {source!r}.")
    return [(title(trace.settings), trace) for trace in found]


def title(settings: dict) -> str:
    """A run in one line: case, rule, attack, roles and seed."""
    names = ("title", "rule", "attack", "roles", "seed")
    return ", ".join(f"{'seed ' if name == 'seed' else ''}{settings[name]}" for name in names if name in settings)


def plane(distances: np.ndarray, like: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Submissions from their distances [n, n], in the plane of their two leading principal components.

    Points [n, 2] about their centre, NaN for submissions that are not finite, and shares of the variance [2]. Classical
    scaling: the doubly centred squared distances are the Gram matrix of the centred submissions, whose leading
    eigenvectors are their principal components. Signs are free, and chosen to agree with the points `like`.
    """
    distances = distances.astype(np.float64)
    kept = np.isfinite(distances).sum(axis=1) > 1  # a submission that is not finite has a distance to itself only
    points = np.full((len(distances), 2), np.nan)
    if kept.sum() < 2:
        return points, np.full(2, np.nan)
    squares = distances[np.ix_(kept, kept)] ** 2
    gram = -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean())
    values, vectors = np.linalg.eigh(gram)
    values = values[::-1][:2].clip(min=0.0)
    points[kept] = vectors[:, ::-1][:, :2] * np.sqrt(values)
    filled = np.nan_to_num(points)
    farthest = filled[
        np.abs(filled).argmax(axis=0), [0, 1]
    ]  # on the positive side, where there is nothing to agree with
    agreement = farthest if like is None else (filled * np.nan_to_num(like)).sum(axis=0)
    return points * np.where(agreement < 0, -1.0, 1.0), values / max(float(np.trace(gram)), np.finfo(float).tiny)


def flagged(trace: Trace, below: float, step: int | slice = slice(None)) -> np.ndarray:
    """Workers with less credit than `below`/n, bool like `trace.byzantine[step]`; none where there are no credits."""
    n = trace.byzantine.shape[1]
    return np.nan_to_num(trace.credits[step], nan=0.0 if trace.has_credits else np.inf) < below / n


def judge(trace: Trace, below: float, step: int | slice = slice(None)) -> tuple[float, float]:
    """(precision, recall) of flagging credits under `below`/n at a step or over the run; NaN where nothing to judge."""
    found, byzantine = flagged(trace, below, step), trace.byzantine[step]
    right = float((found & byzantine).sum())
    return tuple(right / count if trace.has_credits and count else np.nan for count in (found.sum(), byzantine.sum()))
