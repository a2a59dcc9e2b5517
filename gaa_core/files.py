"""Files that are whole or absent: written beside their place, then exchanged."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gaa_core.errors import DataError


@contextlib.contextmanager
def draft(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces it when the block ends without an error, and is removed if not.

    Missing parent folders are made. Readers see the old file or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".pending{path.suffix}", dir=path.parent)
    os.close(handle)
    pending = Path(name)
    try:
        yield pending
        with pending.open("rb") as file:
            os.fsync(file.fileno())
        pending.chmod(0o644)
        pending.replace(path)
    finally:
        pending.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> Path:
    """Write text (UTF-8) or bytes in one exchange; returns the path."""
    with draft(path) as pending:
        pending.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Write JSON that other tools can read; a NaN is refused, since JSON has none."""
    return write(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> object:
    """The value of a JSON file. A damaged one raises DataError with its name."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and run what wrote it again.") from error


def from_notebooks(folder: str | Path, within: str = "") -> Path:
    """The absolute path of a folder that a notebook names from its own place, wherever its kernel was started.

    `within` is the notebook's folder below notebooks/. Without a clone the folder is made below the current one.
    """
    here, clone = Path.cwd(), Path(__file__).resolve().parents[1]
    if any((place / "figures.yml").is_file() for place in (here, here.parent)):
        return (here / folder).resolve()
    homes = [place / "notebooks" for place in (here, *here.parents, clone)]
    home = next((each for each in homes if (each / "figures.yml").is_file()), None)
    inside = Path(*(part for part in Path(folder).parts if part != ".."))
    return (here / inside if home is None else home / within / folder).resolve()
