"""Files of labelled reviews: UCI's tab-separated sentences and the csv files of the Yelp review sets."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from gaa_core.errors import DataError

_LONGEST = 1_000_000  # characters of one review


def sentences(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and their labels (1 praise, 0 blame) of a UCI file: sentence, tab, label, newline.

    Lines end at the newline only: the IMDb file has U+0085 within sentences, where str.splitlines would cut.
    A sentence that comes again with the same label is left out, lest it be trained on and tested on.
    """
    rows: dict[tuple[str, int], None] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        sentence, _, label = line.rstrip("\r").rpartition("\t")
        if label.strip() not in ("0", "1") or not sentence.strip():
            raise DataError(f"{path}, line {number}: expected a sentence, a tab and 0 or 1; found '{line[-40:]}'.")
        rows[sentence.strip(), int(label)] = None
    if not rows:
        raise DataError(f"{path} is empty: expected a sentence, a tab and 0 or 1 on every line.")
    return [sentence for sentence, _ in rows], [label for _, label in rows]


def reviews(path: Path, stars: int) -> tuple[list[str], list[int]]:
    """Reviews and their labels from 0 of a csv file of "label","text" with labels from 1 to `stars`."""
    csv.field_size_limit(_LONGEST)
    texts, labels = [], []
    for number, row in _rows(path):
        if len(row) != 2 or row[0] not in {str(label) for label in range(1, stars + 1)}:
            found = f"{len(row)} fields, the first '{row[0][:20] if row else ''}'"
            raise DataError(f"{path}, line {number}: expected a label from 1 to {stars} and a text; found {found}.")
        texts.append(row[1].replace("\\n", "\n").replace('\\"', '"'))
        labels.append(int(row[0]) - 1)
    if not texts:
        raise DataError(f"{path} is empty: expected a label from 1 to {stars} and a text on every line.")
    return texts, labels


def _rows(path: Path) -> Iterator[tuple[int, Sequence[str]]]:
    if not path.is_file():
        raise DataError(f"{path} is missing: expected a csv file of labels and reviews.")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except (UnicodeDecodeError, csv.Error) as error:
                where = f"{path}, after line {reader.line_num}"
                raise DataError(f"{where}: expected UTF-8 text in csv; found: {error}.") from error
            yield reader.line_num, row


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path} is missing: expected a file of labelled sentences.")
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        found = f"byte {content[error.start]:#04x}"
        raise DataError(f"{path}, line {line}: expected UTF-8 text; found {found}, which is not.") from error
