"""Yelp: praise or blame from n-grams by softmax regression. Without a download: composed sentences, a stand-in."""

from __future__ import annotations

import functools
from itertools import chain
from pathlib import Path

import torch

from gaa_core.cases import networks as models
from gaa_core.cases.base import CaseData, CaseStudy, Settings, Split
from gaa_core.cases.text import Labelled, build, drop_words, encoded
from gaa_core.datasets import composed, locate, reviews, stamp
from gaa_core.partition import sample, stratified

CLASSES = ("negative", "positive")
POLARITY = "yelp_review_polarity_csv"  # whole reviews, by fetch
SENTENCES = "yelp/yelp_labelled.txt"  # the thousand sentences of UCI
DOMAINS = ("amazon_cells_labelled.txt", "imdb_labelled.txt")  # beside them: products and films
TRAIN, TEST = 10_000, 2_500  # whole reviews used, of 560,000 + 38,000: dense inputs must fit in memory


def load() -> CaseData:
    """Yelp reviews or sentences from GAA_DATA, else from the cache, else the composed stand-in. Read once a process."""
    source = locate(POLARITY, SENTENCES)
    if source is None:
        return _composed()
    read = _polarity if source.folder.name == POLARITY else _sentences
    return read(source.folder, source.name, stamp(source.folder))


@functools.lru_cache(maxsize=1)
def _sentences(path: Path, name: str, _stamp) -> CaseData:
    labelled = Labelled(*reviews.sentences(path))
    train, test = stratified(torch.tensor(labelled.labels), test_share=0.2)
    source = f"Yelp sentences (UCI), {len(train):,} + {len(test):,} ({name})"
    return build(labelled.take(train), labelled.take(test), CLASSES, source)


@functools.lru_cache(maxsize=1)
def _polarity(folder: Path, name: str, _stamp) -> CaseData:
    parts = []
    for file, size in (("train.csv", TRAIN), ("test.csv", TEST)):
        labelled = Labelled(*reviews.reviews(folder / file, stars=2))
        parts.append(labelled.take(sample(torch.tensor(labelled.labels), size)))
    train, test = parts
    source = f"Yelp review polarity, {len(train.labels):,} + {len(test.labels):,} reviews of it ({name})"
    return build(train, test, CLASSES, source)


@functools.cache
def _composed() -> CaseData:
    labelled = Labelled(*composed.sentences(composed.RESTAURANTS, 4_000, seed=0))
    train, test = stratified(torch.tensor(labelled.labels), test_share=0.2)
    source = "composed stand-in for Yelp (3,200 + 800 sentences from a grammar); no real reviews"
    return build(labelled.take(train), labelled.take(test), CLASSES, source, stand_in=True)


def similar(data: CaseData) -> Split:
    """Amazon and IMDb sentences where the case has real ones, composed product reviews where it has not."""
    source = None if data.stand_in else locate("yelp/" + DOMAINS[0])
    if source is None:
        return encoded(data, Labelled(*composed.sentences(composed.PRODUCTS, 1_000, seed=0)))
    files = [reviews.sentences(source.folder.parent / file) for file in DOMAINS]
    return encoded(data, Labelled(*(list(chain(*column)) for column in zip(*files, strict=True))))


Yelp = CaseStudy(
    name="yelp",
    title="Yelp",
    load=load,
    model=lambda data: models.linear(data.train.inputs.shape[1], len(data.classes)),
    settings=Settings(lr=0.1, batch_size=32, steps=600, n=10, qv_size=10),
    similar=similar,
    similar_title="Amazon and IMDb sentences (stand-in: composed product reviews)",
    shift=drop_words,
    shift_title="a third of the words left out",
)
# Word vectors instead: replace(Yelp, model=lambda data: models.EmbeddingBag(data.train.inputs.shape[1], 32, 2))
