"""Where data is looked for: the folder named by GAA_DATA, the cache that `fetch` fills, what is packaged.

All three are laid out as the publishers do (`MNIST/raw/...`, `cifar-10-batches-py/...`). Nothing is downloaded here.
"""

import hashlib
import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaa_core.errors import DataError

PACKAGED = Path(__file__).with_name("packaged")
NEAR = 2  # folder levels above and below GAA_DATA in which misplaced files are looked for


@dataclass(frozen=True)
class Source:
    """A folder or file that holds a case's data, and the name under which captions mention it."""

    folder: Path
    name: str  # "GAA_DATA", "cache" or "packaged"


def data_folder() -> Path | None:
    """The folder named by GAA_DATA, or None when the variable is unset or empty."""
    name = os.environ.get("GAA_DATA", "")
    if not name:
        return None
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 (a user without an account raises there, not here)
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):  # noqa: PTH112 (False where forbidden)
        raise DataError(f"GAA_DATA should name an existing, readable folder; found '{name}'.")
    return folder


def cache_folder() -> Path | None:
    """The folder that `fetch` fills: GAA_CACHE, else ~/.cache/gaa_core. It need not exist; None without a home."""
    folder = Path(os.path.expanduser(os.environ.get("GAA_CACHE") or "~/.cache/gaa_core"))  # noqa: PTH111
    return None if folder.parts[:1] == ("~",) else folder


def locate(*names: str, signs: Sequence[str] = ()) -> Source | None:
    """The first of these files or folders in GAA_DATA, else in the cache, else packaged; None where there is none.

    When GAA_DATA lacks them all, files nearby that match `signs` (globs) are named in a warning: they are misplaced.
    """
    data, cache = data_folder(), cache_folder()
    if cache is None:
        warnings.warn("No home folder is known, so no cache is read; GAA_CACHE can name one.", stacklevel=2)
    places = ((data, "GAA_DATA"), (cache, "cache"), (PACKAGED, "packaged"))
    sources = (Source(folder / name, place) for folder, place in places if folder is not None for name in names)
    found = next((source for source in sources if os.path.exists(source.folder)), None)  # noqa: PTH110
    if data is not None and (found is None or found.name != "GAA_DATA"):
        misplaced = next(_nearby(data, names, signs), None)
        if misplaced is not None:
            used = "the cache" if found is not None and found.name == "cache" else "packaged data"
            told = f"GAA_DATA ({data}) has no {' or '.join(names)}; found {misplaced}."
            warnings.warn(f"{told} Used instead: {used}.", stacklevel=2)
    for file in [] if found is None else [found.folder, *found.folder.glob("*")]:
        if not os.access(file, os.R_OK):
            raise DataError(f"{file} cannot be read: expected permission to.")
    return found


def _nearby(data: Path, names: Sequence[str], signs: Sequence[str]) -> Iterator[Path]:
    """Where the files may be instead: GAA_DATA one or two levels too deep, too high, or beside their place."""
    for name, above in itertools.product(names, data.absolute().parents[:NEAR]):
        place = above / name
        if place.exists() and (place.is_relative_to(data.absolute()) or data.absolute().is_relative_to(place)):
            yield place
    for depth, sign in itertools.product(range(NEAR + 1), [*names, *signs]):
        yield from sorted(data.glob("*/" * depth + sign))


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files (or of one file): a cheap sign that the data on disk has changed."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def fingerprint(*parts: bytes | str) -> str:
    """A short digest of the data itself, or of digests of its files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]
