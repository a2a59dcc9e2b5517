"""`fetch` against a server on this machine that breaks off, stalls, lies, redirects and serves the wrong file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gaa_core.datasets import download as downloads
from gaa_core.datasets import fetching
from gaa_core.datasets.official import DEFAULT, OFFICIAL, DataSet, Download
from gaa_core.errors import DataError, UnknownName

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """What a path does is its first word; the server's `log` has every request's range."""

    def do_GET(self):
        start = int(self.headers["Range"][6:-1]) if "Range" in self.headers else 0
        self.server.log.append(start)
        getattr(self, self.path.strip("/").split("/")[0])(self.server.body, start)

    def _head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in {"ETag": '"1"', **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _rest(self, body: bytes, start: int, stop: int | None = None) -> None:
        headers = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self._head(206 if start else 200, len(body) - start, **headers)
        self.wfile.write(body[start:stop])

    def whole(self, body, start):
        self._rest(body, start)

    def breaks(self, body, start):  # after 40,000 bytes at a time, so three requests are needed
        self._rest(body, start, start + 40_000)

    def deaf(self, body, start):  # to ranges, and breaks off the first time
        self._head(200, len(body))
        self.wfile.write(body[: 40_000 if len(self.server.log) == 1 else None])

    def changes(self, body, start):  # between the first answer and the second
        if len(self.server.log) == 1:
            self._head(200, len(body), ETag='"0"')
            self.wfile.write(b"\0" * 1_000)
        elif self.headers["If-Range"] == '"0"':
            self.whole(body, 0)

    def stalls(self, body, start):
        self._head(200, len(body))
        self.wfile.write(body[:1_000])
        self.wfile.flush()
        self.server.over.wait(10)

    def longer(self, body, start):  # says more than it has
        self._head(200, len(body) + 7)
        self.wfile.write(body)

    def shorter(self, body, start):  # says less than it has
        self._head(200, len(body) - 7)
        self.wfile.write(body)

    def silent(self, body, start):  # on the length
        self._head(200, None)
        self.wfile.write(body)

    def redirects(self, body, start):
        self._head(302, 0, Location="/whole/file.gz")

    def escapes(self, body, start):
        self._head(302, 0, Location="file:///etc/hostname")

    def wrong(self, body, start):
        self.whole(b"<html>Please log in</html>", 0)

    def huge(self, body, start):
        self._head(200, 10**15)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.log, server.over = gzip.compress(CONTENT, 0, mtime=0), [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def one_file(server, behaviour: str, **changes) -> dict[str, DataSet]:
    url = f"http://127.0.0.1:{server.server_port}/{behaviour}/file.gz"
    checksum = "sha256:" + hashlib.sha256(server.body).hexdigest()
    options = {"packing": "gzip", "checksum": checksum, "member_md5": {"file": MD5}} | changes
    return {"toy": DataSet("toy/raw", (Download(url, {"file": "file"}, **options),))}


def get(server, behaviour, cache, *, timeout=5.0, **changes):
    fetching.fetch(
        ["toy"], cache=cache, progress=False, timeout=timeout, official=one_file(server, behaviour, **changes)
    )


def installed(cache) -> list[str]:
    """Everything in the cache but what is kept for resuming."""
    files = [path.relative_to(cache) for path in cache.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] != "downloads")


@pytest.mark.parametrize("behaviour", ["whole", "redirects", "silent", "breaks", "deaf", "changes"])
def test_a_download_is_installed_whole(server, tmp_path, behaviour):
    get(server, behaviour, tmp_path)
    assert installed(tmp_path) == ["toy/raw/file"]
    assert (tmp_path / "toy/raw/file").read_bytes() == CONTENT
    assert not list((tmp_path / "downloads").iterdir())


def test_a_broken_download_asks_for_the_rest_only(server, tmp_path):
    get(server, "breaks", tmp_path)
    assert server.log == [0, 40_000, 80_000]


def test_what_is_there_is_not_downloaded_again(server, tmp_path, capsys):
    get(server, "whole", tmp_path)
    get(server, "whole", tmp_path)
    assert server.log == [0]
    assert "already in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "answered 501"),
        ("stalls", "could not be downloaded whole"),
        ("longer", f"{len(gzip.compress(CONTENT, 0)):,} bytes have come and are kept"),
        ("shorter", "expected sha256"),
        ("wrong", "expected sha256"),
        ("huge", "announces 1,000,000,000,000,000 bytes"),
        ("escapes", "answered 302"),
    ],
)
def test_a_bad_download_installs_nothing_and_says_why(server, tmp_path, monkeypatch, behaviour, message):
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    monkeypatch.setattr(Handler, "missing", lambda self, *_: self.send_error(501), raising=False)
    with pytest.raises(DataError, match=message) as error:
        get(server, behaviour, tmp_path, timeout=0.3)
    assert f"/{behaviour}/file.gz" in str(error.value)
    assert installed(tmp_path) == []
    assert not list((tmp_path / "downloads").glob("staging-*"))


def test_no_such_address(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "gone", lambda self, *_: self.send_error(404), raising=False)
    with pytest.raises(DataError, match="answered 404 Not Found"):
        get(server, "gone", tmp_path)


def test_no_network(server, tmp_path):
    nobody = one_file(server, "whole")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="put the files into the folder that GAA_DATA names"):
        fetching.fetch(["toy"], cache=tmp_path, progress=False, official=nobody)
    assert installed(tmp_path) == []


def test_after_a_wrong_file_the_next_call_starts_anew(server, tmp_path):
    right = server.body
    server.body = b"x" * 500
    official = one_file(server, "whole", checksum="sha256:" + hashlib.sha256(right).hexdigest())
    with pytest.raises(DataError, match="discarded"):
        fetching.fetch(["toy"], cache=tmp_path, progress=False, official=official)
    server.body = right
    fetching.fetch(["toy"], cache=tmp_path, progress=False, official=official)
    assert server.log == [0, 0]
    assert installed(tmp_path) == ["toy/raw/file"]


def test_the_disk_is_full(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"too full: .* needs .* more bytes; found 10 free"):
        get(server, "whole", tmp_path)


def test_the_disk_fills_up_meanwhile(server, tmp_path):
    (tmp_path / "downloads").mkdir()
    url = one_file(server, "silent")["toy"].downloads[0].url
    part = tmp_path / "downloads" / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.part"
    part.symlink_to("/dev/full")
    with pytest.raises(DataError, match="the disk is full"):
        get(server, "silent", tmp_path)
    assert installed(tmp_path) == []


def test_more_than_allowed_without_announcing_it(server, tmp_path):
    with pytest.raises(DataError, match="sent more than 1,000 bytes"):
        get(server, "silent", tmp_path, largest=1_000)


def test_an_unknown_checksum_is_recorded_and_then_held_to(server, tmp_path):
    unknown = {"checksum": "", "member_md5": {}}
    get(server, "whole", tmp_path, **unknown)
    record = json.loads((tmp_path / "checksums.json").read_text())
    assert list(record.values()) == ["sha256:" + hashlib.sha256(server.body).hexdigest()]
    (tmp_path / "toy/raw/file").unlink()
    (tmp_path / "toy/raw").rmdir()
    server.body = gzip.compress(CONTENT[1:])
    with pytest.raises(DataError, match=r"recorded in .*checksums\.json"):
        get(server, "whole", tmp_path, **unknown)
    assert installed(tmp_path) == ["checksums.json"]


def test_content_that_fails_its_check_is_not_installed(server, tmp_path):
    def check(_folder):
        raise DataError("expected 3 rows; found 2.")

    url = f"http://127.0.0.1:{server.server_port}/whole/file.gz"
    official = {"toy": DataSet("toy", (Download(url, {"file": "file"}, "gzip"),), check=check)}
    with pytest.raises(DataError, match=r"found 2\. Nothing is installed"):
        fetching.fetch(["toy"], cache=tmp_path, progress=False, official=official)
    assert installed(tmp_path) == []


def test_a_second_file_that_fails_leaves_nothing_of_the_first(server, tmp_path):
    good = one_file(server, "whole")["toy"].downloads[0]
    bad = one_file(server, "wrong")["toy"].downloads[0]
    with pytest.raises(DataError):
        fetching.fetch(["toy"], cache=tmp_path, progress=False, official={"toy": DataSet("toy", (good, bad))})
    assert installed(tmp_path) == []


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_one_file_of_an_archive(server, tmp_path):
    server.body = _zip(
        **{"folder/claims_2008.csv": b"a,b\n", "__MACOSX/folder/._claims_2008.csv": b"?", "read.me": b""}
    )
    url = f"http://127.0.0.1:{server.server_port}/whole/claims.zip"
    unit = DataSet("cms/claims.csv", (Download(url, {".csv": "claims.csv"}, "zip"),), one_file=True)
    fetching.fetch(["toy"], cache=tmp_path, progress=False, official={"toy": unit})
    assert installed(tmp_path) == ["checksums.json", "cms/claims.csv"]
    assert (tmp_path / "cms/claims.csv").read_bytes() == b"a,b\n"


def _tar(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, "/etc/passwd", 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "packing", "message"),
    [
        (_tar("../file"), "tar", "would leave its folder"),
        (_tar("/srv/file"), "tar", "would leave its folder"),
        (_tar("a/../../file"), "tar", "would leave its folder"),
        (_tar("a/file", tarfile.SYMTYPE), "tar", "found a link or a device"),
        (_tar("a/file", tarfile.LNKTYPE), "tar", "found a link or a device"),
        (_tar("a/other"), "tar", "expected file in it; found no such member"),
        (_tar("a/file")[:-20], "tar", "truncated or not a tar archive"),
        (_zip(**{"../file": b""}), "zip", "would leave its folder"),
        (_zip(**{"..\\file": b""}), "zip", "would leave its folder"),
        (_zip(**{"C:\\file": b""}), "zip", "would leave its folder"),
        (_zip(**{"a/file": b"", "b/file": b""}), "zip", "expected one member for file"),
        (_zip(**{"a/file": b"0" * 5_000_000}), "zip", "unpacks to more than its limit"),
        (b"<html>", "zip", "truncated or not a zip archive"),
    ],
)
def test_archives_cannot_write_outside_their_folder_nor_without_end(server, tmp_path, body, packing, message):
    server.body = body
    url = f"http://127.0.0.1:{server.server_port}/whole/archive"
    unit = DataSet("toy", (Download(url, {"/file": "file"}, packing, largest_unpacked=1_000_000),))
    with pytest.raises(DataError, match=message):
        fetching.fetch(["toy"], cache=tmp_path / "cache", progress=False, official={"toy": unit})
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert installed(tmp_path / "cache") == []


def test_a_download_in_two_parts_over_two_calls(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(DataError, match="40,000 bytes have come and are kept"):
        get(server, "breaks", tmp_path)
    with pytest.raises(DataError, match="80,000 bytes have come and are kept"):
        get(server, "breaks", tmp_path)
    get(server, "breaks", tmp_path)
    assert (tmp_path / "toy/raw/file").read_bytes() == CONTENT


def test_an_unknown_name_is_refused_before_anything_is_downloaded(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        fetching.fetch(["mnits"], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_default_names_are_official():
    assert set(DEFAULT) <= set(OFFICIAL)
    assert all(each.url.startswith("https://") for unit in OFFICIAL.values() for each in unit.downloads)
