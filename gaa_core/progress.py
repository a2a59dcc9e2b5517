"""Progress of long work: a bar in a terminal and in JupyterLab, plain lines in batch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm

#: Set in the environment of batch runs (papermill), where a bar would fill the stored notebook with control characters.
BATCH = "GAA_BATCH"


def track(items: Iterable, total: int, what: str) -> Iterator:
    """Yield the items and show how many of `total` have come."""
    if not os.environ.get(BATCH) and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield from tqdm(items, total=total, desc=what, leave=False)
        return
    marks = {round(total * tenth / 4) for tenth in range(1, 5)}
    for count, item in enumerate(items, start=1):
        yield item
        if count in marks:
            print(f"{what}: {count} of {total}", flush=True)
