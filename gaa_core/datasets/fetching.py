"""`fetch`: downloads the official files into the cache, checks them, and installs each data set whole or not at all."""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from gaa_core import files
from gaa_core.datasets.official import DEFAULT, OFFICIAL, DataSet, Download
from gaa_core.datasets.sources import cache_folder
from gaa_core.errors import DataError, one_of

RECORD = "checksums.json"  # checksums of first downloads, where the publisher states none
RETRIES = 3  # of a download that breaks off, with a pause of some seconds between them
CHUNK = 2**16  # bytes read at a time
BROKEN = (shutil.ReadError, tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, RuntimeError)


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
        one_of("data set", name, official)
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
    import pooch

    downloads = cache / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    paths = {each.url: _download(each, cache, progress, timeout) for each in unit.downloads}
    with tempfile.TemporaryDirectory(prefix="staging-", dir=downloads, ignore_cleanup_errors=True) as folder:
        staging = Path(folder) / "unit"
        staging.mkdir()
        source = staging / Path(unit.unit).name if unit.one_file else staging
        try:
            for each in unit.downloads:
                _unpack(each, paths[each.url], staging)
            unit.check(source)
        except (DataError, *BROKEN) as error:
            for path in paths.values():
                path.unlink()
            reason = f"the download is discarded, for it is not what was expected: {str(error).rstrip('.')}."
            raise DataError(f"{', '.join(paths)}: {reason}") from error
        new = {each.url: f"sha256:{pooch.file_hash(paths[each.url])}" for each in unit.downloads if not each.checksum}
        if new:
            files.write_json(cache / RECORD, _record(cache) | new)
        (cache / unit.unit).parent.mkdir(parents=True, exist_ok=True)
        source.replace(cache / unit.unit)
    for path in paths.values():
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
    """Puts the wanted files into `folder`. What the archive holds beside them, or would put elsewhere, is left."""
    options = {"filter": "data"} if each.packing == "gztar" else {}
    with tempfile.TemporaryDirectory(dir=folder.parent) as all_of_it:
        if each.packing:
            shutil.unpack_archive(archive, all_of_it, each.packing, **options)
        else:
            shutil.copy(archive, all_of_it)
        for name, pattern in each.files.items():
            found = [path for path in Path(all_of_it).rglob(pattern) if path.is_file() and not path.is_symlink()]
            found = [path for path in found if "__MACOSX" not in path.parts]
            if len(found) != 1:
                raise DataError(f"expected one file {pattern} in it; found {len(found)}")
            found[0].replace(folder / name)


def _record(cache: Path) -> dict[str, str]:
    """Address -> checksum of the first download."""
    path = cache / RECORD
    return files.read_json(path) if path.is_file() else {}
