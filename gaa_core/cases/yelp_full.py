"""Yelp review-full: one to five stars from n-grams. Whole reviews by `fetch` only; there is no stand-in."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from gaa_core.cases import networks as models
from gaa_core.cases.base import CaseData, CaseStudy, Settings
from gaa_core.cases.text import Labelled, build, drop_words
from gaa_core.datasets import locate, reviews, stamp
from gaa_core.errors import DataError
from gaa_core.partition import sample

CLASSES = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
FOLDER = "yelp_review_full_csv"


def load() -> CaseData:
    """10,000 + 2,500 of the 650,000 + 50,000 reviews, from GAA_DATA, else from the cache. Read once a process."""
    source = locate(FOLDER)
    if source is None:
        raise DataError(f"{FOLDER} is in neither GAA_DATA nor the cache: run `python -m gaa_core fetch yelp_full`.")
    return _load(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _load(folder: Path, name: str, _stamp) -> CaseData:
    parts = []
    for file, size in (("train.csv", 10_000), ("test.csv", 2_500)):
        labelled = Labelled(*reviews.reviews(folder / file, stars=5))
        parts.append(labelled.take(sample(torch.tensor(labelled.labels), size)))
    train, test = parts
    source = f"Yelp review full, {len(train.labels):,} + {len(test.labels):,} reviews of it ({name})"
    return build(train, test, CLASSES, source)


YelpFull = CaseStudy(
    name="yelp_full",
    title="Yelp, five stars",
    load=load,
    model=lambda data: models.linear(data.train.inputs.shape[1], len(data.classes)),
    settings=Settings(lr=0.1, batch_size=32, steps=600, n=10, qv_size=10),
    shift=drop_words,
    shift_title="a third of the words left out",
)
