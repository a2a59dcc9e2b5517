"""`fetch`: downloads the official files into the cache, checks them, and installs each data set whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from gaa_core.datasets.archives import unpack
from gaa_core.datasets.download import disk_error, download
from gaa_core.datasets.official import DEFAULT, OFFICIAL, DataSet, Download
from gaa_core.datasets.sources import cache_folder
from gaa_core.errors import DataError, UnknownName

RECORD = "checksums.json"  # checksums of first downloads, where the publisher states none


def fetch(
    names: Iterable[str] = (),
    *,
    cache: Path | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    official: Mapping[str, DataSet] = OFFICIAL,
) -> None:
    """Installs these data sets (none named: the four cases) in the cache. What is there already stays as it is.

    A download that breaks off is kept and resumed by the next call. Unless every file of a data set has come, has
    the right checksum and content, nothing of it is installed.
    """
    names = list(names) or list(DEFAULT)
    for name in names:
        if name not in official:
            raise UnknownName("data set", name, official)
    cache = Path(cache) if cache is not None else cache_folder()
    for name in names:
        unit = official[name]
        target = cache / unit.unit
        if target.exists():
            print(f"{name}: already in {target}")
            continue
        _install(unit, cache, progress, timeout)
        print(f"{name}: installed in {target}")


def _install(unit: DataSet, cache: Path, progress: bool, timeout: float) -> None:
    """Downloads, checks and unpacks beside the cache's data, and moves the whole into its place in one step."""
    downloads = cache / "downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=downloads))
    except OSError as error:
        raise disk_error(error, downloads) from error
    try:
        parts = []
        for each in unit.downloads:
            part = downloads / f"{hashlib.sha256(each.url.encode()).hexdigest()[:12]}.part"
            parts.append(part)
            download(each.url, part, largest=each.largest, timeout=timeout, progress=progress)
            _verify(each, part, cache)
            _unpack(each, part, staging)
        source = staging / Path(unit.unit).name if unit.one_file else staging
        if unit.check is not None:
            _checked(unit, source)
        for each, part in zip(unit.downloads, parts, strict=True):
            _remember(each, part, cache)
        (cache / unit.unit).parent.mkdir(parents=True, exist_ok=True)
        staging.chmod(0o755)  # mkdtemp keeps its folders from all others
        os.replace(source, cache / unit.unit)  # noqa: PTH105
    except OSError as error:
        raise disk_error(error, downloads) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for part in parts:
        _forget(part)


def _verify(each: Download, part: Path, cache: Path) -> None:
    """Compares with the published checksum, or with the one recorded at the first download."""
    expected, whose = each.checksum, "published"
    if not expected:
        expected, whose = _record(cache).get(each.url, ""), f"recorded in {cache / RECORD}"
    if not expected:
        return
    algorithm, _, wanted = expected.partition(":")
    found = _digest(part, algorithm)
    if found != wanted:
        _forget(part)
        raise DataError(
            f"{each.url}: expected {algorithm} {wanted} ({whose}); found {found}. The download is discarded."
        )


def _unpack(each: Download, part: Path, staging: Path) -> None:
    try:
        unpack(part, each.packing, each.members, staging, largest=each.largest_unpacked)
        for name, wanted in each.member_md5.items():
            found = _digest(staging / name, "md5")
            if found != wanted:
                raise DataError(f"{each.url}: expected md5 {wanted} of {name} (published); found {found}.")
    except DataError as error:
        _forget(part)
        raise DataError(f"{each.url}: {error} The download is discarded.") from error


def _checked(unit: DataSet, source: Path) -> None:
    try:
        unit.check(source)
    except DataError as error:
        raise DataError(f"{', '.join(each.url for each in unit.downloads)}: {error} Nothing is installed.") from error


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _record(cache: Path) -> dict[str, str]:
    path = cache / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def _remember(each: Download, part: Path, cache: Path) -> None:
    if each.checksum or each.member_md5:
        return
    record = {**_record(cache), each.url: f"sha256:{_digest(part, 'sha256')}"}
    written = cache / (RECORD + ".pending")
    written.write_text(json.dumps(record, indent=2))
    written.replace(cache / RECORD)


def _forget(part: Path) -> None:
    for path in (part, part.with_name(part.name + ".version")):
        path.unlink(missing_ok=True)
