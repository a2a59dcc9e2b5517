"""One address into one file: resumed where it broke off, never longer than allowed, with errors a person can act on."""

from __future__ import annotations

import errno
import http.client
import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

from gaa_core.errors import DataError

ATTEMPTS = 4  # per call; a later call resumes from what has come
BLOCK = 256 * 1024  # bytes


class _Broken(Exception):
    """The connection ended early; what has come is kept and the rest can be asked for."""


def download(url: str, part: Path, *, largest: int, timeout: float = 30.0, progress: bool = True) -> None:
    """Fills `part` with what the address holds. On failure `part` keeps what has come, and the next call resumes."""
    part.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return _attempt(url, part, largest, timeout, progress)
        except _Broken as error:
            reason = str(error)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # nothing after what we have: it was whole, or it is another file now
                if _total(error.headers.get("Content-Range", "")) == _size(part):
                    return None
                _discard(part)
                reason = "the part that had come does not fit"
                continue
            raise DataError(f"{url} answered {error.code} {error.reason}: expected the file there.") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        except OSError as error:
            raise disk_error(error, part) from error
    raise DataError(
        f"{url} could not be downloaded whole: {reason}. {_size(part):,} bytes have come and are kept; "
        "run fetch again to resume, or put the files into the folder that GAA_DATA names."
    )


def _attempt(url: str, part: Path, largest: int, timeout: float, progress: bool) -> None:
    start = _size(part)
    with urllib.request.urlopen(_request(url, part, start), timeout=timeout) as response:
        if start and _first(response) != start:
            start = 0  # the server sends all of it, from the beginning
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        _must_fit(url, total, start, largest, part)
        _note(part).write_text(json.dumps(_version(response)))
        with part.open("ab" if start else "wb") as stream:
            _receive(url, response, stream, start, total, largest, progress)
    if total is not None and _size(part) < total:
        raise _Broken(f"the server sent {_size(part):,} of {total:,} bytes")


def _receive(url, response, stream, start: int, total: int | None, largest: int, progress: bool) -> None:
    name = url.rsplit("/", 1)[-1]
    with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=not progress) as bar:
        done = start
        while True:
            try:
                block = response.read(BLOCK)
            except (OSError, http.client.HTTPException) as error:
                partial = error.partial if isinstance(error, http.client.IncompleteRead) else b""
                stream.write(partial)
                raise _Broken(f"the connection broke: {str(error) or type(error).__name__}") from error
            if not block:
                return
            done += len(block)
            if done > largest:
                raise DataError(f"{url} sent more than {largest:,} bytes: expected at most that many.")
            stream.write(block)
            bar.update(len(block))


def _request(url: str, part: Path, start: int) -> urllib.request.Request:
    """Asks for the rest of what has come, but only if it still is the same file."""
    headers = {"User-Agent": "gaa_core", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if _note(part).is_file() and (version := json.loads(_note(part).read_text())):
            headers["If-Range"] = version
    return urllib.request.Request(url, headers=headers)


def _version(response) -> str:
    """A strong ETag or a date, by which the server can tell whether its file has changed."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _must_fit(url: str, total: int | None, start: int, largest: int, part: Path) -> None:
    if total is None:
        return
    if total > largest:
        raise DataError(f"{url} announces {total:,} bytes: expected at most {largest:,}.")
    free = shutil.disk_usage(part.parent).free
    if total - start > free:
        raise DataError(f"{part.parent} is too full: {url} needs {total - start:,} more bytes; found {free:,} free.")


def disk_error(error: OSError, part: Path) -> DataError:
    """The error to raise where a file could not be written."""
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
    return DataError(f"{part} could not be written: {what}. GAA_CACHE can name another folder.")


def _first(response) -> int:
    """The position of an answer's first byte within the file, -1 when it does not say (and sends all of it)."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else -1


def _total(content_range: str) -> int:
    match = re.search(r"/(\d+)$", content_range)
    return int(match.group(1)) if match else -1


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
