"""`fetch`: downloads the official files into the cache, checks them, and installs each data set whole or not at all."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from gaa_core import files
from gaa_core.datasets.official import DEFAULT, OFFICIAL, DataSet, Download
from gaa_core.datasets.sources import cache_folder
from gaa_core.errors import DataError, UnknownName

RECORD = "checksums.json"  # checksums of first downloads, where the publisher states none
RETRIES = 3  # of a download that breaks off, with a pause of some seconds between them
CHUNK = 2**16  # bytes read at a time
LARGEST = 1_000 * 2**20  # bytes of the members taken out of one archive
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, RuntimeError)


def fetch(
    names: Iterable[str] = (),
    *,
    cache: Path | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    official: Mapping[str, DataSet] = OFFICIAL,
) -> None:
    """Installs these data sets (none named: the four cases) in the cache. What is there already stays as it is.

    Unless every file of a data set has come with the right checksum and content, nothing of it is installed. The next
    call downloads what is missing.
    """
    names = list(names) or list(DEFAULT)
    for name in names:
        if name not in official:
            raise UnknownName("data set", name, official)
    cache = Path(cache) if cache is not None else cache_folder()
    if cache is None:
        raise DataError("No home folder is known: set GAA_CACHE to the folder that downloads are to go to.")
    for name in names:
        target = cache / official[name].unit
        if target.exists():
            print(f"{name}: already in {target}")
            continue
        try:
            _install(official[name], cache, progress, timeout)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"{cache} cannot be written: {reason}. GAA_CACHE can name another folder.") from error
        print(f"{name}: installed in {target}")


def _install(unit: DataSet, cache: Path, progress: bool, timeout: float) -> None:
    """Downloads, checks and unpacks beside the cache's data, and moves the whole into its place in one step."""
    downloads = cache / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    paths = [_download(each, cache, progress, timeout) for each in unit.downloads]
    with tempfile.TemporaryDirectory(prefix="staging-", dir=downloads, ignore_cleanup_errors=True) as folder:
        staging = Path(folder) / "unit"
        staging.mkdir()
        source = staging / Path(unit.unit).name if unit.one_file else staging
        try:
            for each, path in zip(unit.downloads, paths, strict=True):
                _unpack(each, path, staging)
            unit.check(source)
        except (DataError, *BROKEN) as error:
            for path in paths:
                path.unlink()
            urls, reason = ", ".join(each.url for each in unit.downloads), str(error).rstrip(".")
            raise DataError(f"{urls}: the download is discarded, for it is not what was expected: {reason}.") from error
        _remember(unit, paths, cache)
        (cache / unit.unit).parent.mkdir(parents=True, exist_ok=True)
        source.replace(cache / unit.unit)
    for path in paths:
        path.unlink()


def _download(each: Download, cache: Path, progress: bool, timeout: float) -> Path:
    """The downloaded file, which has the published checksum, or that of the first download."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    known = each.checksum or _record(cache).get(each.url)
    name = pooch.utils.unique_file_name(each.url)
    shelf = pooch.create(
        cache / "downloads", "", registry={name: known}, urls={name: each.url}, retry_if_failed=RETRIES
    )
    receive = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK, timeout=timeout)
    try:
        return Path(shelf.fetch(name, downloader=receive))
    except RequestException as error:
        reason = f"{each.url} could not be downloaded: {error}"
        raise DataError(f"{reason}; run fetch again, or put the files into the folder that GAA_DATA names.") from error
    except ValueError as error:
        whose = "published" if each.checksum else f"recorded in {cache / RECORD}"
        raise DataError(f"{each.url}: expected {known} ({whose}); found another file, which is discarded.") from error


def _unpack(each: Download, archive: Path, folder: Path) -> None:
    """Writes the wanted members under names of our own, so that none can leave the folder."""
    left, missing = LARGEST, set(each.members.values())
    for member, size, stream in _READERS[each.packing](archive):
        path = PurePosixPath(member.replace("\\", "/"))
        ending = next((end for end in each.members if f"/{path}".endswith(end)), None)
        if ending is None or "__MACOSX" in path.parts or path.name.startswith("._"):
            continue
        target, left = each.members[ending], left - size
        if target not in missing:
            raise DataError(f"{archive} should have one member for {target}; found '{member}' as well")
        if left < 0:
            raise DataError(f"{archive} should have at most {LARGEST:,} unpacked bytes; found more")
        missing.remove(target)
        with stream() as source, (folder / target).open("wb") as out:
            shutil.copyfileobj(source, out)
    if missing:
        raise DataError(f"{archive} should have {', '.join(sorted(missing))} in it; found no such member")


def _plain(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    yield "", path.stat().st_size, lambda: path.open("rb")


def _tar(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():  # no link, no device
                yield member.name, member.size, lambda member=member: tar.extractfile(member)


def _zip(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if not member.is_dir():  # no more than `file_size` bytes of it are ever read
                yield member.filename, member.file_size, lambda member=member: packed.open(member)


_READERS = {"": _plain, "tar": _tar, "zip": _zip}


def _record(cache: Path) -> dict[str, str]:
    path = cache / RECORD
    return files.read_json(path) if path.is_file() else {}


def _remember(unit: DataSet, paths: Iterable[Path], cache: Path) -> None:
    """Records the checksums of downloads for which none is published."""
    import pooch

    new = {
        each.url: f"sha256:{pooch.file_hash(path)}"
        for each, path in zip(unit.downloads, paths, strict=True)
        if not each.checksum
    }
    if new:
        files.write_json(cache / RECORD, _record(cache) | new)
