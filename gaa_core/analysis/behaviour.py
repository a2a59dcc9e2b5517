"""How do they behave? Static, pretense, randomized, resampled or benign: told from credits, rewards and distances."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.ensemble import ExtraTreesClassifier

from gaa_core.analysis.sides import side_features
from gaa_core.analysis.turning import WINDOW, log_credits, movements, robust_deviation
from gaa_core.errors import GaaError
from gaa_core.trace import Trace

BEHAVIOURS = ("benign", "static", "pretense", "randomized", "resampled")

#: Levels and rewards are read in this many parts of a run, movements of the credits in shorter spans.
PARTS, SPANS = 6, 15


@dataclass(frozen=True, eq=False)
class BehaviourReport:
    """What a classifier said of runs that it had not seen: `workers` has a row per worker, `true` and `predicted`."""

    workers: pd.DataFrame
    importances: pd.Series

    @property
    def accuracy(self) -> float:
        """Share of the held-out workers whose behaviour was told."""
        return float((self.workers["true"] == self.workers["predicted"]).mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the behaviours of the share that was told, so that the many benign do not count for more."""
        return float(np.diag(self.confusion(normalize="true")).sum() / self.workers["true"].nunique())

    def confusion(self, normalize: str | None = None) -> pd.DataFrame:
        """Workers by true behaviour (rows) and predicted one (columns); `normalize="true"` for shares of a row."""
        counts = metrics.confusion_matrix(
            self.workers["true"], self.workers["predicted"], labels=BEHAVIOURS, normalize=normalize
        )
        return pd.DataFrame(counts, index=BEHAVIOURS, columns=BEHAVIOURS)


def true_behaviour(trace: Trace) -> np.ndarray:
    """The behaviour of each worker [n], from the run's role schedule: of a schedule's workers, those it manipulates.

    Under resampled roles every worker can be Byzantine, so that there all are resampled.
    """
    kind = trace.settings["roles"].split("(")[0]
    if kind not in BEHAVIOURS:
        raise GaaError(f"The behaviour of {trace.settings['roles']} has no name; expected one of {BEHAVIOURS[1:]}.")
    manipulated = trace.byzantine.any(axis=0) | (kind == "resampled")
    return np.where(manipulated, kind, "benign")


def worker_features(trace: Trace, *, distances: bool = False) -> pd.DataFrame:
    """What is read off a run, a row per worker [n, features]: its own credits first, then those of all and the rewards.

    With `distances` also where it stood among the submissions, step by step (see `sides`), of a run that kept them.

    Columns that describe the run are equal for all its workers; they tell which game is played, the worker's own tell
    on which side. No column knows the true roles, the training loss or the test set.
    """
    logs, credits = log_credits(trace), np.nan_to_num(trace.credits.astype(np.float64))
    steps, n = logs.shape
    own = {f"level {part}": logs[span].mean(axis=0) for part, span in enumerate(_parts(steps))}
    drift = _drift(logs)  # [SPANS, n]
    own |= {
        "mean drift": drift.mean(axis=0),
        "spread of drift": drift.std(axis=0),
        "least drift": drift.min(axis=0),
        "greatest drift": drift.max(axis=0),
        "share of falls": (drift < 0).mean(axis=0),
    }
    ranks = logs.argsort(axis=1).argsort(axis=1) / max(1, n - 1)
    third = max(1, steps // 3)
    own |= {"rank, first third": ranks[:third].mean(axis=0), "rank, last third": ranks[-third:].mean(axis=0)}
    own |= {"least credit": credits.min(axis=0), "greatest credit": credits.max(axis=0)}
    moves = np.abs(np.diff(logs, axis=0))
    own |= {"mean jump": moves.mean(axis=0), "median jump": np.median(moves, axis=0)}
    whole = {"spread at the end": logs[-third:].mean(axis=0).std(), **_rewards(trace), **_alarms(trace)}
    level = logs.mean(axis=0)
    losers = level <= max(0.0, level.min())  # at least one
    whole |= {f"drift of the losers {part}": value for part, value in enumerate(drift[:, losers].mean(axis=1))}
    whole |= {"losers": losers.mean()}
    table = pd.DataFrame({**own, **{f"run: {name}": np.full(n, value) for name, value in whole.items()}})
    if distances:
        table = pd.concat([table, side_features(trace, _parts(steps))], axis=1)
    return table.replace([np.inf, -np.inf], np.nan).fillna(0.0).clip(-1e6, 1e6)


def classify_behaviour(
    train: Sequence[Trace], held_out: Sequence[Trace], *, distances: bool = False, seed: int = 0
) -> BehaviourReport:
    """Train on the workers of some runs, tell the behaviour of those of others; the runs must differ in their seeds.

    From credits and rewards alone, or with `distances` from what was submitted as well. Extremely randomized trees on
    `worker_features`, behaviours weighted equally. Ours: the paper shows that patterns can be seen, and names no
    classifier.
    """
    shared = {each.settings["seed"] for each in train} & {each.settings["seed"] for each in held_out}
    if shared:
        raise GaaError(f"Held-out runs must have seeds of their own; found {sorted(shared)} in both.")
    if not train or not held_out:
        raise GaaError(f"classify_behaviour needs runs on both sides; found {len(train)} and {len(held_out)}.")
    known, unknown = _labelled(train, distances), _labelled(held_out, distances)
    names = [name for name in known if name not in ("true", "seed", "run", "worker")]
    trees = ExtraTreesClassifier(300, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    trees.fit(known[names].to_numpy(), known["true"])
    workers = unknown[["seed", "run", "worker", "true"]].assign(predicted=trees.predict(unknown[names].to_numpy()))
    importances = pd.Series(trees.feature_importances_, index=names).sort_values(ascending=False)
    return BehaviourReport(workers, importances)


def _labelled(traces: Iterable[Trace], distances: bool) -> pd.DataFrame:
    tables = []
    for number, trace in enumerate(traces):
        features = worker_features(trace, distances=distances)
        who = {"seed": trace.settings["seed"], "run": number, "worker": range(len(features))}
        tables.append(features.assign(**who, true=true_behaviour(trace)))
    return pd.concat(tables, ignore_index=True)


def _drift(logs: np.ndarray) -> np.ndarray:
    """How far each log credit moves a step, in SPANS spans of the run: [SPANS, n]."""
    edges = np.linspace(0, len(logs) - 1, SPANS + 1).astype(int)
    return np.diff(logs[edges], axis=0) / np.maximum(1, np.diff(edges))[:, None]


def _rewards(trace: Trace) -> dict[str, float]:
    """Rewards as shares of f_B: their mean, spread and sign in each part of the run, and how long they remember."""
    loss, reward = (np.nan_to_num(trace.steps[name].to_numpy()) for name in ("qv_loss", "reward"))
    reward = np.clip(reward / np.maximum(loss, 1e-6), -1.0, 1.0)
    found = {}
    for part, span in enumerate(_parts(len(reward))):
        found[f"reward {part}"] = reward[span].mean()
        found[f"spread of reward {part}"] = reward[span].std()
        found[f"losses {part}"] = (reward[span] < 0).mean()
    centred = reward - reward.mean()
    for lag in (1, 2, 5, 10, 20):
        ahead, behind = centred[lag:], centred[:-lag]
        found[f"reward after {lag}"] = (ahead * behind).mean() / (centred.var() + 1e-12) if len(ahead) else 0.0
    return found


def _alarms(trace: Trace) -> dict[str, float]:
    """The greatest movement of credits and of f_B after the burn-in, in robust deviations, as logarithms."""
    found = {}
    for name, values in zip(("credits moved", "loss rose"), movements(trace), strict=True):
        later = values[max(WINDOW, len(values) // PARTS) :]
        score = (later.max() - np.median(later)) / robust_deviation(later) if len(later) else 0.0
        found[name] = float(np.log1p(max(0.0, score)))
    return found


def _parts(steps: int) -> list[slice]:
    """The run in PARTS parts, none of them empty."""
    edges = np.linspace(0, steps, PARTS + 1).astype(int)
    return [slice(a, max(b, a + 1)) for a, b in itertools.pairwise(edges)]
