"""What all tests share: no network, no display, no leftovers of the person who runs them."""

import importlib.util
import ipaddress
import json
import os
import shutil
import socket
import sys
import warnings
from pathlib import Path

import hypothesis
import matplotlib.pyplot
import pytest

matplotlib.use("Agg")

# Slow and busy machines must not fail a property; CI draws the same examples every time.
# GAA_FUZZ_EXAMPLES=10000 searches for hours.
hypothesis.settings.register_profile(
    "gaa",
    max_examples=int(os.environ.get("GAA_FUZZ_EXAMPLES", "60")),
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
)
hypothesis.settings.load_profile("gaa")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Downloads of earlier days must not decide whether a test passes: data is that of GAA_DATA, or packaged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Connections leave this machine for no test."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise RuntimeError(f"A test tried to reach {address[0]}: tests use no network.")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the clone."""
    return Path(__file__).resolve().parents[1]


PARAMETERS = """\
profile = "quick"  # smoke, quick or paper
figures_dir = "../figures/quick"  # where figures go
results_dir = "../results"  # where experiments are kept
jobs = 2  # processes
seeds = 3  # repetitions
scale = 1.0  # of the attack
"""


class Project:
    """A small clone: a folder with notebooks/figures.yml and notebooks that a test makes up."""

    parameters = PARAMETERS

    def __init__(self, folder: Path):
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir()
        self.plan("notebooks: []")

    def plan(self, text: str) -> None:
        (self.notebooks / "figures.yml").write_text(text)

    def notebook(self, name: str, code: str, parameters: str = PARAMETERS) -> Path:
        cells = [_cell("markdown", f"# {name}"), _cell("code", parameters, tags=["parameters"])]
        cells += [_cell("markdown", "What to look for."), _cell("code", code), _cell("markdown", "What was seen.")]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        path = self.notebooks / f"{name}.ipynb"
        path.write_text(json.dumps(content, indent=1))
        return path


def _cell(kind: str, source: str, tags: list[str] | None = None) -> dict:
    cell = {"cell_type": kind, "metadata": {"tags": tags} if tags else {}, "source": source.splitlines(keepends=True)}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


@pytest.fixture(scope="module")  # its event loop must not run when other files need theirs
def browser():
    """Chromium, Debian's or GAA_CHROMIUM; without one tests are skipped, or fail if GAA_REQUIRE_BROWSER is set."""
    chromium = os.environ.get("GAA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    missing = "" if Path(chromium).is_file() else f"there is no browser at {chromium}"
    if importlib.util.find_spec("playwright") is None:
        missing = "playwright is not installed: pip install -e '.[browser]'"
    if missing:
        (pytest.fail if os.environ.get("GAA_REQUIRE_BROWSER") else pytest.skip)(missing)
    from playwright.sync_api import sync_playwright

    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    args = [f"--{flag}" for flag in [*flags.split(), "disable-component-update", "disable-sync"]]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=args)
        yield started
        started.close()


@pytest.fixture
def look():
    """A function that keeps a screenshot, where GAA_SCREENSHOTS names a folder."""

    def keep(page, name: str) -> None:
        if os.environ.get("GAA_SCREENSHOTS"):
            page.screenshot(path=Path(os.environ["GAA_SCREENSHOTS"]) / f"{name}.png", full_page=True)

    return keep


@pytest.fixture
def run_notebook(tmp_path, monkeypatch):
    """A function that runs the cells of a notebook one by one in this process, which spares the start of a kernel."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("GAA_BATCH", "1")
    monkeypatch.setattr("sys.path", list(sys.path))

    def run(path: Path, **parameters) -> None:
        monkeypatch.chdir(tmp_path)  # not the notebook's folder
        shell = InteractiveShell.instance()
        for kind in (DeprecationWarning, PendingDeprecationWarning):  # as in a kernel; pytest restores its own filters
            warnings.simplefilter("ignore", kind)
        try:
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell["cell_type"] != "code":
                    continue
                shell.run_cell("".join(cell["source"])).raise_error()
                matplotlib.pyplot.close("all")  # as the backend of notebooks does
                if "parameters" in cell["metadata"].get("tags", []):
                    assert parameters.keys() <= shell.user_ns.keys()
                    shell.user_ns.update(parameters)
        finally:
            shell.history_manager.end_session()
            InteractiveShell.clear_instance()

    return run


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    """An empty project, which is also the current folder."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)
