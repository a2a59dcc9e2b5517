"""Takes chosen members out of an archive. Members are written under names of our own, so none can leave its folder."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from gaa_core.errors import DataError

_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
BLOCK = 1 << 20


def unpack(archive: Path, packing: str, members: Mapping[str, str], folder: Path, *, largest: int) -> None:
    """Writes the members whose names end as given into `folder`; each must be there exactly once."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    left = largest
    try:
        for name, stream in _READERS[packing](archive, members):
            target = _target(name, members)
            if target in found:
                raise DataError(f"{archive}: expected one member for {target}; found {found[target]} and {name}.")
            found[target] = name
            left -= _copy(stream, folder / target, left, archive)
    except _BROKEN as error:
        raise DataError(
            f"{archive} is truncated or not a {packing} archive: {error or type(error).__name__}."
        ) from error
    missing = sorted(set(members.values()) - set(found))
    if missing:
        raise DataError(f"{archive}: expected {', '.join(missing)} in it; found no such member.")


def _target(name: str, members: Mapping[str, str]) -> str:
    return next(target for end, target in members.items() if ("/" + name).endswith(end))


def _wanted(name: str, members: Mapping[str, str], archive: Path) -> bool:
    """Whether a member is to be taken. One that would leave the folder speaks against the whole archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DataError(f"{archive}: member '{name}' would leave its folder: expected plain names only.")
    hidden = "__MACOSX" in path.parts or path.name.startswith("._")
    return not hidden and any(("/" + name).endswith(end) for end in members)


def _tar(archive: Path, members: Mapping[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if not _wanted(member.name, members, archive):
                continue
            if not member.isfile():
                raise DataError(f"{archive}: member '{member.name}' should be a plain file; found a link or a device.")
            yield member.name, tar.extractfile(member)


def _zip(archive: Path, members: Mapping[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if _wanted(member.filename, members, archive) and not member.is_dir():
                with packed.open(member) as stream:
                    yield member.filename, stream


def _gzip(archive: Path, members: Mapping[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
    """A single file, which takes the only name that is asked for."""
    (name,) = members
    with gzip.open(archive) as stream:
        yield name, stream


_READERS = {"tar": _tar, "zip": _zip, "gzip": _gzip}


def _copy(stream: IO[bytes], path: Path, limit: int, archive: Path) -> int:
    """Bytes written; more than `limit` raises, whatever the archive says of its sizes."""
    written = 0
    with path.open("wb") as out:
        while block := stream.read(BLOCK):
            written += len(block)
            if written > limit:
                raise DataError(f"{archive} unpacks to more than its limit: expected at most {limit:,} more bytes.")
            out.write(block)
    return written
