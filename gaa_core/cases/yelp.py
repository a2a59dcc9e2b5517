"""Yelp: praise or blame from n-grams by softmax regression. Packaged: the thousand sentences of UCI.

YelpFull is one to five stars from whole reviews, which come by `fetch` alone.
"""

import functools
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

from gaa_core.cases import networks
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split
from gaa_core.cases.text import Labelled, build, drop_words, encoded
from gaa_core.datasets import locate, reviews, stamp
from gaa_core.errors import DataError
from gaa_core.partition import sample, stratified

CLASSES = ("negative", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
POLARITY, FULL = "yelp_review_polarity_csv", "yelp_review_full_csv"  # whole reviews, by fetch
SENTENCES = "yelp/yelp_labelled.txt"  # the thousand sentences of UCI
DOMAINS = ("yelp/amazon_cells_labelled.txt", "yelp/imdb_labelled.txt")  # products and films
SIGNS = ("yelp", "yelp_labelled*", "yelp_review_polarity*", "*labelled*sentences*")  # misplaced files and archives
TRAIN, TEST = 10_000, 2_500  # whole reviews used, of 560,000 + 38,000: dense inputs must fit in memory


def load() -> CaseData:
    """Yelp reviews or sentences from GAA_DATA, else from the cache, else as packaged. Read once a process."""
    source = locate(POLARITY, SENTENCES, signs=SIGNS)
    if source.folder.name == POLARITY:
        return _reviews(source.folder, source.name, CLASSES, "Yelp review polarity", stamp(source.folder))
    return _sentences(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _sentences(path: Path, name: str, _stamp) -> CaseData:
    labelled = Labelled(*reviews.sentences(path))
    train, test = stratified(torch.tensor(labelled.labels), test_share=0.2)
    source = f"Yelp sentences (UCI), {len(train):,} + {len(test):,} ({name})"
    return build(labelled.take(train), labelled.take(test), CLASSES, source)


@functools.lru_cache(maxsize=1)
def _reviews(folder: Path, name: str, classes: tuple[str, ...], title: str, _stamp) -> CaseData:
    parts = []
    for file, size in (("train.csv", TRAIN), ("test.csv", TEST)):
        labelled = Labelled(*reviews.reviews(folder / file, stars=len(classes)))
        parts.append(labelled.take(sample(torch.tensor(labelled.labels), size)))
    train, test = parts
    source = f"{title}, {len(train.labels):,} + {len(test.labels):,} reviews of it ({name})"
    return build(train, test, classes, source)


def similar(data: CaseData) -> Split:
    """Amazon and IMDb sentences, each file from where it is found first."""
    files = [reviews.sentences(locate(file).folder) for file in DOMAINS]
    return encoded(data, Labelled(*(list(chain(*column)) for column in zip(*files, strict=True))))


def load_full() -> CaseData:
    """10,000 + 2,500 of the 650,000 + 50,000 reviews, from GAA_DATA, else from the cache. Read once a process."""
    source = locate(FULL, signs=("yelp_review_full*",))
    if source is None:
        raise DataError(f"{FULL} is in neither GAA_DATA nor the cache: run `python -m gaa_core fetch yelp_full`.")
    return _reviews(source.folder, source.name, STARS, "Yelp review full", stamp(source.folder))


Yelp = CaseStudy(
    name="yelp",
    title="Yelp",
    load=load,
    model=lambda data: networks.linear(data.train.inputs.shape[1], len(data.classes)),
    settings=Settings(lr=0.1, batch_size=32, steps=600, n=10, qv_size=10),
    similar=similar,
    similar_title="Amazon and IMDb sentences",
    shift=drop_words,
    shift_title="a third of the words left out",
)
YelpFull = replace(Yelp, name="yelp_full", title="Yelp, five stars", load=load_full, similar=None, similar_title="")
