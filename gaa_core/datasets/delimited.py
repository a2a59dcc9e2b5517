"""Text files as rows with their line numbers. Byte order marks, empty lines and carriage returns are no error."""

import csv
from collections.abc import Iterator
from pathlib import Path

from gaa_core.errors import DataError

_LONGEST = 1_000_000  # characters of one field


def text(path: Path, expected: str) -> str:
    """The whole file; a missing one, or a byte that is not UTF-8, raises with its line."""
    if not path.is_file():
        raise DataError(f"{path} is missing: expected {expected}.")
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: expected UTF-8 text; found byte {content[error.start]:#04x}.") from error


def rows(path: Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The number of its first line and the stripped fields of every row of a csv file that is not empty."""
    if not path.is_file():
        raise DataError(f"{path} is missing: expected {expected}.")
    csv.field_size_limit(_LONGEST)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError:
                text(path, expected)  # raises with the line
                raise
            except csv.Error as error:
                raise DataError(f"{path}, line {line}: expected csv; found: {error}.") from error
            fields = [field.strip() for field in row]
            if any(fields):
                yield line, fields


def without_empty_end(fields: list[str], least: int) -> list[str]:
    """The fields without the empty ones that commas at a line's end make, down to `least` of them."""
    while len(fields) > least and not fields[-1]:
        fields = fields[:-1]
    return fields
