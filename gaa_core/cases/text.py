"""Sentences as numbers: what the text cases share. The n-grams are learned from the training sentences alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from gaa_core.cases.base import CaseData, Split
from gaa_core.datasets import fingerprint
from gaa_core.errors import DataError

FEATURES = 5_000  # at most this many n-grams, the most frequent ones
SCALE = 10.0  # length of an input, so that step sizes near those of the other cases suit: pixels have length 28


@dataclass(frozen=True)
class Labelled:
    """Sentences with the numbers of their classes."""

    sentences: Sequence[str]
    labels: Sequence[int]

    def take(self, index: Tensor) -> Labelled:
        chosen = index.tolist()
        return Labelled([self.sentences[place] for place in chosen], [self.labels[place] for place in chosen])


def build(train: Labelled, test: Labelled, classes: tuple[str, ...], source: str) -> CaseData:
    """The data of a text case: TF-IDF weights of words and pairs of words, with the sentences as `raw`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not len(classes) == len(set(train.labels)) == len(set(test.labels)):
        raise DataError(f"{source}: expected sentences of every class to train and to test on; found too few.")
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2),  # pairs see "not good"
        token_pattern=r"(?u)\b\w+\b|!",
        sublinear_tf=True,
        max_features=FEATURES,
    )
    try:
        vectoriser.fit(train.sentences)
    except ValueError as error:
        raise DataError(f"{source}: expected sentences of words to train on; found: {error}.") from error

    def encode(sentences: Sequence[str]) -> Tensor:  # m sentences -> [m, features]
        return torch.from_numpy(vectoriser.transform(sentences).toarray()).float() * SCALE

    splits = [Split(encode(each.sentences), torch.tensor(each.labels), list(each.sentences)) for each in (train, test)]
    digest = fingerprint(*(tensor.numpy().tobytes() for split in splits for tensor in (split.inputs, split.targets)))
    return CaseData(*splits, classes, source, digest, encode=encode)


def encoded(data: CaseData, domain: Labelled) -> Split:
    """Sentences of another domain in the n-grams of this case; words that training never saw are not seen."""
    return Split(data.encode(domain.sentences), torch.tensor(domain.labels), list(domain.sentences))


def drop_words(data: CaseData, samples: Split, generator: Generator, share: float = 0.3) -> Split:
    """The same sentences without `share` of their words, each word drawn by itself; one word at least stays."""
    shortened = []
    for sentence in samples.raw:
        words = sentence.split()
        draws = torch.rand(len(words), generator=generator)
        kept = [word for word, draw in zip(words, draws.tolist(), strict=True) if draw >= share]
        shortened.append(" ".join(kept or words[:1]))
    return replace(samples, inputs=data.encode(shortened), raw=shortened)
