"""On which side does a worker stand? From the distances between submissions, and from whom the agent came to trust.

Submissions fall into two camps wherever some are the opposite of others. Distances tell the camps and not which is the
benign one; the credits at the end of the run tell that. Ours.
"""

import numpy as np
import pandas as pd

from gaa_core.errors import GaaError
from gaa_core.trace import Trace

#: A worker stands apart when it is more than this from the trusted along the line between the camps (whose spread over
#: the workers is 1), at steps at which that line holds more than this share of all squared distances.
APART, SHARE = 1.0, 0.25


def sides(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """(how far each worker stands from those trusted in the last third of the run [steps, n], share [steps]).

    Along the main axis of each step's submissions; `share` is the part of their squared distances that lies on it:
    about 1 / (n - 1) where there are no camps, 1 where there is nothing else.
    """
    if "distances" not in trace.extras:
        raise GaaError("Sides need the distances between submissions: use run(..., record_distances=True).")
    squares = np.minimum(np.nan_to_num(trace.extras["distances"].astype(np.float64), posinf=1e30), 1e30) ** 2
    squares /= squares.mean(axis=(1, 2), keepdims=True) + 1e-300
    n = squares.shape[1]
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ squares @ centre)  # Gram matrices about the mean, [steps, n, n]
    share = values[:, -1] / np.maximum(values.clip(min=0).sum(axis=1), 1e-12)
    credits = np.nan_to_num(trace.credits[-max(1, len(trace.credits) // 3) :].astype(np.float64))
    trust = credits.mean(axis=0) + 1e-9
    axis = vectors[:, :, -1] * np.sqrt(n)  # [steps, n], of unit spread
    return np.abs(axis - (axis @ (trust / trust.sum()))[:, None]), share


def side_features(trace: Trace, parts: list[slice]) -> pd.DataFrame:
    """Where a worker stood in each part of the run, and how often it changed sides: a row per worker [n, features]."""
    away, share = sides(trace)
    steps, n = away.shape
    none = 2 / (n - 1) if n > 3 else 0.5  # a share that says nothing
    weighted = away * np.clip((share - none) / (1 - none), 0, 1)[:, None]
    apart = ((away > APART) & (share > SHARE)[:, None]).astype(float)
    own = {"apart": apart.mean(axis=0), "distance": weighted.mean(axis=0)}
    own |= {f"apart {part}": apart[span].mean(axis=0) for part, span in enumerate(parts)}
    own |= {f"distance {part}": weighted[span].mean(axis=0) for part, span in enumerate(parts)}
    for lag in (1, 2, 5, 10):
        own[f"same side after {lag}"] = (apart[lag:] == apart[:-lag]).mean(axis=0) if steps > lag else np.ones(n)
    whole = {f"run: {name}": own[name].mean() for name in ("apart", "same side after 1", "same side after 5")}
    whole |= {f"run: share {part}": share[span].mean() for part, span in enumerate(parts)}
    whole |= {"run: spread of share": share.std()}
    return pd.DataFrame({**own, **{name: np.full(n, value) for name, value in whole.items()}})
