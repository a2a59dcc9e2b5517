"""Files of labelled reviews: UCI's tab-separated sentences and the csv files of the Yelp review sets."""

from collections.abc import Iterable
from pathlib import Path

from gaa_core.datasets import delimited
from gaa_core.errors import DataError


def sentences(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and their labels (1 praise, 0 blame) of a UCI file: sentence, tab, label, newline.

    Lines end at the newline only: the IMDb file has U+0085 within sentences, where str.splitlines would cut.
    A sentence that comes again with the same label is left out, so that none is both trained on and tested on.
    """
    rows: dict[tuple[str, int], None] = {}
    for number, line in enumerate(delimited.text(path, "labelled sentences").split("\n"), start=1):
        if not line.strip():
            continue
        sentence, _, label = line.rstrip("\r").rpartition("\t")
        if label.strip() not in ("0", "1") or not sentence.strip():
            raise DataError(f"{path}, line {number}: expected a sentence, a tab and 0 or 1; found '{line[-40:]}'.")
        rows[sentence.strip(), int(label)] = None
    return _of_every_class(path, rows, range(2), "a sentence, a tab and 0 or 1")


def reviews(path: Path, stars: int) -> tuple[list[str], list[int]]:
    """Reviews and their labels from 0 of a csv file of "label","text" with labels from 1 to `stars`."""
    expected = f"a label from 1 to {stars} and a text"
    known = {str(label): label - 1 for label in range(1, stars + 1)}
    found: list[tuple[str, int]] = []
    for line, row in delimited.rows(path, f"csv of {expected}"):
        row = delimited.without_empty_end(row, least=2)
        if len(row) != 2 or row[0] not in known:
            what = f"{len(row)} fields, the first '{row[0][:20]}'"
            raise DataError(f"{path}, line {line}: expected {expected}; found {what}.")
        found.append((row[1].replace("\\n", "\n").replace('\\"', '"'), known[row[0]]))
    return _of_every_class(path, found, range(stars), expected)


def _of_every_class(
    path: Path, rows: Iterable[tuple[str, int]], classes: Iterable[int], expected: str
) -> tuple[list[str], list[int]]:
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    if not texts:
        raise DataError(f"{path} is empty: expected {expected} on every line.")
    if missing := sorted(set(classes) - set(labels)):
        raise DataError(f"{path}: expected every class; found none of number {missing[0]}, counted from 0.")
    return texts, labels
