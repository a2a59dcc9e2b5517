"""Yelp: which file is read, that the test text teaches nothing, and what is packaged."""

import pytest
import torch

from gaa_core.cases import Yelp, YelpFull, yelp
from gaa_core.cases.text import SCALE, Labelled, build, drop_words, encoded
from gaa_core.errors import DataError

TRAIN = Labelled(["good soup", "bad soup", "not good", "not bad at all"] * 5, [1, 0, 0, 1] * 5)
TEST = Labelled(["good tea", "bad tea"], [1, 0])


def write_sentences(folder, name: str, word: str) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f"{'good' if label else 'bad'} {word} {number}\t{label}" for number in range(20) for label in (0, 1)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_reviews(folder, stars: int) -> None:
    folder.mkdir()
    for name, count in (("train.csv", 30), ("test.csv", 10)):
        lines = [f'"{number % stars + 1}","review {number} of stars {number % stars}"' for number in range(count)]
        (folder / name).write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    write_sentences(tmp_path / "yelp", "yelp_labelled.txt", "soup")
    return tmp_path


def test_sentences_are_split_in_balance_and_kept(files):
    data = Yelp.load()
    assert data.source == "Yelp sentences (UCI), 32 + 8 (GAA_DATA)"
    assert data.test.targets.bincount().tolist() == [4, 4]
    assert (data.train.inputs.dtype, data.train.targets.dtype) == (torch.float32, torch.int64)
    for sentence, label in zip(data.train.raw, data.train.targets.tolist(), strict=True):
        assert sentence.startswith({"positive": "good", "negative": "bad"}[yelp.CLASSES[label]])


def test_similar_sentences_are_of_amazon_and_imdb(files):
    write_sentences(files / "yelp", "amazon_cells_labelled.txt", "phone")
    write_sentences(files / "yelp", "imdb_labelled.txt", "film")
    similar = Yelp.similar(Yelp.load())
    assert len(similar) == 80
    assert similar.inputs.shape[1] == Yelp.load().train.inputs.shape[1]
    assert {sentence.split()[1] for sentence in similar.raw} == {"phone", "film"}


def test_whole_reviews_come_before_sentences(files):
    write_reviews(files / yelp.POLARITY, stars=2)
    data = Yelp.load()
    assert data.source == "Yelp review polarity, 30 + 10 reviews of it (GAA_DATA)"
    assert data.test.raw[0] == "review 0 of stars 0"
    with pytest.raises(DataError, match="python -m gaa_core fetch yelp_full"):
        YelpFull.load()
    write_reviews(files / yelp.FULL, stars=5)
    data = YelpFull.load()
    assert data.classes[4] == "5 stars"
    assert data.train.targets.bincount().tolist() == [6] * 5


def test_the_test_text_teaches_nothing():
    data = build(TRAIN, TEST, ("negative", "positive"), "toy")
    other = build(TRAIN, Labelled(["excellent tea", "awful tea"], [1, 0]), ("negative", "positive"), "toy")
    assert torch.equal(data.train.inputs, other.train.inputs)
    assert torch.equal(data.encode(["tea"]), torch.zeros(1, data.train.inputs.shape[1]))
    assert data.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("text", "message"), [("good", "of every class to train and to test on"), ("?", "of words to")]
)
def test_too_few_sentences_or_words_are_refused(files, text, message):
    rows = range(2 if text == "good" else 40)
    lines = [f"{text * (row + 1)}\t{row % 2}" for row in rows]
    (files / "yelp" / "yelp_labelled.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        Yelp.load()


def test_inputs_have_one_length_and_pairs_of_words_count():
    data = build(TRAIN, TEST, ("negative", "positive"), "toy")
    assert torch.allclose(data.train.inputs.norm(dim=1), torch.tensor(SCALE))
    assert not torch.equal(data.encode(["good not"]), data.encode(["not good"]))


def test_dropped_words_leave_at_least_one():
    data = build(TRAIN, TEST, ("negative", "positive"), "toy")
    samples = encoded(data, Labelled(["not bad at all"] * 200, [1] * 200))
    shorter = drop_words(data, samples, torch.Generator().manual_seed(0))
    lengths = torch.tensor([len(sentence.split()) for sentence in shorter.raw], dtype=torch.float32)
    assert lengths.min() >= 1
    assert lengths.mean() == pytest.approx(0.7 * 4, abs=0.25)
    assert torch.equal(shorter.inputs, data.encode(shorter.raw))
    assert torch.equal(shorter.targets, samples.targets)


def test_the_packaged_sentences_are_real(packaged):
    data = packaged(Yelp)
    assert data.source == "Yelp sentences (UCI), 797 + 199 (packaged)"  # of 1,000, four come twice
    assert not data.stand_in
    assert "Crust is not good." in {*data.train.raw, *data.test.raw}
    assert len(Yelp.similar(data)) == 1_987
