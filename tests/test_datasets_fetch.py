"""`fetch` against one server on this machine that breaks off, lies, redirects and serves the wrong file."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest

from gaa_core.datasets import fetching, sources
from gaa_core.datasets.official import DEFAULT, OFFICIAL, DataSet, Download
from gaa_core.errors import DataError, UnknownName

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


class Handler(BaseHTTPRequestHandler):
    """What a path does is its first word; the server's `log` has every request."""

    def do_GET(self):
        self.server.log.append(self.path)
        behaviour, body = self.path.strip("/").split("/")[0], self.server.body
        if behaviour == "missing":
            return self.send_error(404)
        self.send_response(302 if behaviour in ("redirects", "escapes") else 200)
        self.send_header("Content-Length", str(len(body)))
        if behaviour in ("redirects", "escapes"):
            self.send_header("Location", "/whole/file" if behaviour == "redirects" else "file:///etc/hostname")
        self.end_headers()
        if behaviour == "stalls":
            self.server.over.wait(10)
        breaks = behaviour == "broken" or (behaviour == "breaks" and len(self.server.log) < 3)
        return self.wfile.write(body[:40_000] if breaks else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(pooch.core.time, "sleep", lambda _: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.log, server.over = CONTENT, [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def get(server, behaviour: str, cache, *, checksum=None, unit="toy/raw", timeout=5.0, **changes) -> None:
    """Fetches one file; `changes` are those of its download or of its data set."""
    checksum = "sha256:" + hashlib.sha256(CONTENT).hexdigest() if checksum is None else checksum
    options = {name: changes.pop(name) for name in ("check", "one_file") if name in changes}
    url = f"http://127.0.0.1:{server.server_port}/{behaviour}/file"
    download = Download(url, **{"files": {"file": "*"}, "checksum": checksum, **changes})
    official = {"toy": DataSet(unit, (download,), **options)}
    fetching.fetch(["toy"], cache=cache, progress=False, timeout=timeout, official=official)


def installed(cache) -> list[str]:
    """Everything in the cache but downloads that wait for the next call."""
    files = [path.relative_to(cache) for path in cache.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] != "downloads")


@pytest.mark.parametrize(("behaviour", "requests"), [("whole", 1), ("redirects", 2), ("breaks", 3)])
def test_a_download_is_installed_whole_and_once(server, tmp_path, capsys, behaviour, requests):
    server.body = b"<html>Please log in</html>"
    if behaviour == "whole":
        with pytest.raises(DataError, match=r"expected sha256:.* \(published\); found another file, which is"):
            get(server, behaviour, tmp_path)
    server.body, server.log[:] = CONTENT, []
    get(server, behaviour, tmp_path)
    assert installed(tmp_path) == ["toy/raw/file"]
    assert (tmp_path / "toy/raw/file").read_bytes() == CONTENT
    assert not list((tmp_path / "downloads").iterdir())
    get(server, behaviour, tmp_path)
    assert len(server.log) == requests
    assert "already in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "could not be downloaded: 404 .*; run fetch again, or put the files into the folder"),
        ("stalls", "could not be downloaded"),
        ("broken", "could not be downloaded"),
        ("escapes", "could not be downloaded"),
    ],
)
def test_a_download_that_fails_installs_nothing_and_says_why(server, tmp_path, behaviour, message):
    with pytest.raises(DataError, match=f"/{behaviour}/file {message}"):
        get(server, behaviour, tmp_path, timeout=0.3)
    assert [path.name for path in tmp_path.rglob("*")] == ["downloads"]


def test_a_file_that_has_come_is_not_downloaded_again_when_another_fails(server, tmp_path):
    url = f"http://127.0.0.1:{server.server_port}"
    pair = (Download(f"{url}/whole/one", {"one": "*"}), Download(f"{url}/missing/two", {"two": "*"}))
    for _ in range(2):
        with pytest.raises(DataError, match="/missing/two could not"):
            fetching.fetch(["toy"], cache=tmp_path, progress=False, official={"toy": DataSet("toy", pair)})
    assert server.log.count("/whole/one") == 1
    assert installed(tmp_path) == []


def test_an_unknown_checksum_is_recorded_and_then_held_to(server, tmp_path):
    get(server, "whole", tmp_path, checksum="")
    record = json.loads((tmp_path / "checksums.json").read_text())
    assert list(record.values()) == ["sha256:" + hashlib.sha256(CONTENT).hexdigest()]
    (tmp_path / "toy/raw/file").unlink()
    (tmp_path / "toy/raw").rmdir()
    server.body = CONTENT[1:]
    with pytest.raises(DataError, match=r"recorded in .*checksums\.json"):
        get(server, "whole", tmp_path, checksum="")
    assert installed(tmp_path) == ["checksums.json"]


def test_content_that_fails_its_check_is_discarded(server, tmp_path):
    def check(_folder):
        raise DataError("expected 3 rows; found 2.")

    with pytest.raises(DataError, match=r"discarded, .*found 2\."):
        get(server, "whole", tmp_path, checksum="", check=check)
    assert installed(tmp_path) == []
    assert not list((tmp_path / "downloads").iterdir())


def test_a_wrong_name_and_a_cache_that_cannot_be_written_are_refused(server, tmp_path, monkeypatch):
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        fetching.fetch(["mnits"], cache=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: Not a directory\. GAA_CACHE can name another"):
        get(server, "whole", tmp_path / "file")
    monkeypatch.setattr(fetching, "cache_folder", lambda: None)
    with pytest.raises(DataError, match="No home folder is known: set GAA_CACHE"):
        get(server, "whole", None)


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, "/etc/passwd", 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


def test_one_file_of_an_archive(server, tmp_path):
    server.body = _zip(**{"folder/2008.csv": b"a,b\n", "__MACOSX/folder/._2008.csv": b"?", "read.me": b""})
    options = {"files": {"claims.csv": "*.csv"}, "packing": "zip", "one_file": True, "unit": "cms/claims.csv"}
    get(server, "whole", tmp_path, checksum="", **options)
    assert (tmp_path / "cms/claims.csv").read_bytes() == b"a,b\n"


@pytest.mark.parametrize(
    ("body", "packing", "message"),
    [
        (_tar("../file"), "gztar", "would be extracted to .*, which is outside"),
        (_tar("a/../../file"), "gztar", "would be extracted to .*, which is outside"),
        (_tar("a/file", tarfile.SYMTYPE), "gztar", "link"),
        (_tar("a/file", tarfile.LNKTYPE), "gztar", "link"),
        (_tar("a/other"), "gztar", "expected one file file in it; found 0"),
        (_tar("a/file")[:-20], "gztar", "not what was expected: Compressed file ended"),
        (_zip(**{"../file": b"evil"}), "zip", "expected one file file in it; found 0"),
        (_zip(**{"/srv/file": b"evil"}), "zip", "expected one file file in it; found 0"),
        (_zip(**{"a/file": b"", "b/file": b""}), "zip", "expected one file file in it; found 2"),
        (b"<html>", "zip", "is not a zip file"),
    ],
    ids=range(10),  # the bytes hold the time of the day
)
def test_archives_that_are_broken_or_leave_their_folder_are_discarded(server, tmp_path, body, packing, message):
    server.body = body
    with pytest.raises(DataError, match=message):
        get(server, "whole", tmp_path / "cache", checksum="", files={"file": "file"}, packing=packing)
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "downloads"]


def test_official_addresses_are_safe_and_what_is_packaged_is_small_and_says_its_licence():
    assert set(DEFAULT) <= set(OFFICIAL)
    assert all(each.url.startswith("https://") for unit in OFFICIAL.values() for each in unit.downloads)
    files = [path for path in sources.PACKAGED.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 100_000
    assert "CC BY 4.0" in (sources.PACKAGED / "yelp/LICENSE.txt").read_text()
