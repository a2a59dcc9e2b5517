"""Run the notebooks of notebooks/figures.yml, and build the figures, the claims table and the gallery.

Running again is resuming: a notebook whose file, parameters, code, data and versions are as they were, and whose
figures are still there unchanged, is not run again. One that was killed left no record, so it is run again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gaa_core import __version__, datasets, gallery, report
from gaa_core.errors import DataError, GaaError, UnknownName
from gaa_core.files import read_json, write_json
from gaa_core.plan import PROFILES, Notebook, choose, notebook_parameters, read_plan

#: Set while notebooks run as a batch (see `sweep.track`); named here as well, since the sweep would import torch.
BATCH = "GAA_BATCH"

#: The machinery and the checks of lessons, whose changes alter no figure.
_NOT_IN_DIGEST = {"__main__.py", "reproduce.py", "plan.py", "gallery.py"}

#: Minutes that a notebook is taken to need as long as no manifest says how many it took.
UNKNOWN_MINUTES = 3.0

#: Seconds between two lines about progress where no terminal shows a bar, and between two updates where one does.
LINE_EVERY, BAR_EVERY = 20.0, 1.0

#: What figures folders hold of ours, besides pictures; another folder with files in it is refused.
MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: "done", "reused", "failed" or (in a dry run) "due"."""

    name: str
    status: str
    minutes: float = 0.0
    message: str = ""

    def __str__(self) -> str:
        took = "is up to date" if self.status == "reused" else f"{self.status} after {self.minutes:.1f} min"
        return took + (f": {self.message}" if self.message else "")


@dataclass(frozen=True)
class Folders:
    """Where things are read and written. All absolute, since a notebook runs in the folder of the notebooks."""

    notebooks: Path
    figures: Path
    results: Path  # of this program: executed notebooks and records of a profile
    experiments: Path  # of the notebooks: cached runs, shared by all profiles


def project_root() -> Path:
    """The clone, or a folder with copied notebooks: the current folder, else the one this package is in."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (folder / "notebooks" / "figures.yml").is_file():
            return folder
    raise GaaError("notebooks/figures.yml was not found: run this in a clone, or first run 'notebooks DIR'.")


def notebooks_folder() -> Path:
    """The notebooks of the clone, else those that were installed with the package."""
    package = Path(__file__).resolve().parent
    found = next((each for each in (package.parent / "notebooks", package / "notebooks") if each.is_dir()), None)
    if found is None:
        raise GaaError("This installation has no notebooks: clone the repository.")
    return found


def reproduce(
    profile: str = "quick",
    *,
    only: list[str] | None = None,
    jobs: int | None = None,
    seeds: int | None = None,
    figures: Path | None = None,
    results: Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Bring the figures of a profile up to date; one Outcome a notebook. `force` runs what is up to date as well."""
    if profile not in PROFILES:
        raise UnknownName("profile", profile, PROFILES)
    root = project_root()
    results = (results or root / "results").resolve()
    target = (figures or root / "figures" / profile).resolve()
    folders = Folders(root / "notebooks", target, results / "notebooks" / profile, results)
    plan = choose(read_plan(folders.notebooks), only or [])
    if not plan:
        raise GaaError("notebooks/figures.yml lists no notebook: there is nothing to reproduce.")
    always = {"profile": profile, "figures_dir": os.path.relpath(folders.figures, folders.notebooks)}
    wished = {"results_dir": os.path.relpath(folders.experiments, folders.notebooks), "jobs": jobs, "seeds": seeds}
    chosen = [(item, item.resolve(profile, always, wished)) for item in plan]
    _check_own(target)
    for source in ("GAA_DATA", "GAA_CACHE"):  # a relative path would mean another folder in the kernel
        if os.environ.get(source):
            os.environ[source] = str(Path(os.environ[source]).expanduser().resolve())
    due = [item.name for item, parameters in chosen if force or not _is_fresh(item, digest(item, parameters), folders)]
    minutes = {item.name: _told_minutes(item, folders, root / "figures" / profile) for item, _ in chosen}
    if dry_run:
        return _preview(chosen, due, minutes, say)
    os.environ[BATCH] = "1"  # kernels inherit it: plain lines instead of bars in executed notebooks
    if not (target / MANIFEST).is_file():  # from now on the folder is ours, even if this is interrupted
        write_json(target / MANIFEST, {"profile": profile, "notebooks": {}})
    with _alone(folders.results), _Bar({name: minutes[name] for name in due}, say) as bar:
        return [_one(item, parameters, folders, item.name in due, bar) for item, parameters in chosen]


def _preview(chosen: list[tuple], due: list[str], minutes: dict[str, float], say: Callable) -> list[Outcome]:
    for item, parameters in chosen:
        took = f"{minutes[item.name]:.1f} min in its last run" if minutes[item.name] != UNKNOWN_MINUTES else "no record"
        say(f"{item.name}: " + (f"would run ({took}) with {parameters}" if item.name in due else "is up to date"))
    say(f"All that is due: about {sum(minutes[name] for name in due):.0f} min.")
    return [Outcome(item.name, "due" if item.name in due else "reused") for item, _ in chosen]


def _one(item: Notebook, parameters: dict, folders: Folders, due: bool, bar: _Bar) -> Outcome:
    """Bring one notebook up to date, and all that is made of it."""
    before = _figure_times(item, folders)
    bar.begin(item.name)
    outcome = _run(item, parameters, folders) if due else Outcome(item.name, "reused")
    bar.end(item.name, f"{item.name}: {outcome}")
    written = [path for path, at in _figure_times(item, folders).items() if before.get(path) != at]
    if written and not bar.shown:
        bar.shown = True
        bar.say(f"The first figure: {written[0]}")
    _write_manifest(folders, parameters["profile"], item, parameters, outcome)
    gallery.draw_claims(report.write_claims(folders.figures), folders.figures)
    gallery.gallery(folders.figures)
    if folders.figures == project_root() / "figures" / "paper":  # the entry page is tracked with these figures
        gallery.entry(folders.figures.parent)
    return outcome


class _Bar:
    """One bar for the whole, in minutes; where no terminal shows it, a line now and then, with the time left."""

    def __init__(self, minutes: dict[str, float], say: Callable[[str], None]):
        self.minutes, self.write, self.shown = minutes, say, False
        self.done, self.current, self.since = 0.0, "", time.monotonic()
        self.terminal, self.stopped = sys.stderr.isatty(), threading.Event()
        self.bar = tqdm(
            total=sum(minutes.values()),
            disable=not self.terminal,
            bar_format="{l_bar}{bar}| {postfix}",
            leave=False,
        )
        self.watch = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> _Bar:
        self.watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.watch.join()
        self.bar.close()

    def say(self, line: str) -> None:
        self.bar.clear()
        self.write(line)

    def begin(self, name: str) -> None:
        self.current, self.since = name, time.monotonic()

    def end(self, name: str, line: str) -> None:
        self.done, self.current = self.done + self.minutes.get(name, 0.0), ""
        self.say(line)

    def state(self) -> tuple[float, str]:
        """Minutes done, as the last run counted them, and a sentence."""
        expected = self.minutes.get(self.current, 0.0)
        done = self.done + min((time.monotonic() - self.since) / 60, 0.95 * expected) * bool(self.current)
        left = sum(self.minutes.values()) - done
        return done, f"{self.current}: about {max(1, round(left))} min left" if self.current else ""

    def _tell(self) -> None:
        while not self.stopped.wait(BAR_EVERY if self.terminal else LINE_EVERY):
            done, sentence = self.state()
            if self.terminal:
                self.bar.n = done
                self.bar.set_postfix_str(sentence)
            elif sentence:
                self.write(f"{100 * done / max(sum(self.minutes.values()), 1e-9):3.0f} %, {sentence}")


def _told_minutes(item: Notebook, folders: Folders, committed: Path) -> float:
    """How long a notebook took when it last ran: here, else where the figures of the repository were built."""
    for path in (_record_path(item, folders), folders.figures / MANIFEST, committed / MANIFEST):
        if path.is_file():
            known = read_json(path)
            minutes = known.get("minutes") or known.get("notebooks", {}).get(item.name, {}).get("minutes")
            if minutes:
                return float(minutes)
    return UNKNOWN_MINUTES


def _check_own(folder: Path) -> None:
    """Refuse a folder for figures that holds files of somebody else: pages and tables would be overwritten."""
    if not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir():
        raise GaaError(f"{folder} is a file: figures need a folder.")
    strangers = sorted(path.name for path in folder.rglob("*") if path.is_file())
    if strangers:
        raise GaaError(f"{folder} holds '{strangers[0]}' and no {MANIFEST} of ours: name a new folder for the figures.")


def _run(item: Notebook, parameters: dict, folders: Folders) -> Outcome:
    """Run one notebook. A failure is an Outcome, so that the others get their turn."""
    record, claims = _record_path(item, folders), folders.figures / "claims" / f"{item.label}.json"
    record.unlink(missing_ok=True)
    claims.unlink(missing_ok=True)  # numbers of an earlier configuration must not stand beside a failure
    wanted, before, start = digest(item, parameters), _figure_times(item, folders), time.monotonic()
    message = execute(item, parameters, folders)
    minutes = (time.monotonic() - start) / 60
    if message:
        return Outcome(item.name, "failed", minutes, message)
    for stale in [path for path, written in _figure_times(item, folders).items() if before.get(path) == written]:
        for suffix in (".png", ".pdf", ".json"):
            stale.with_suffix(suffix).unlink(missing_ok=True)
    missing = [name for name in _expected(item) if not (folders.figures / name).is_file()]
    if missing:
        return Outcome(item.name, "failed", minutes, f"it did not write {', '.join(missing)} to {folders.figures}")
    gallery.readable_notebook(folders.results / f"{item.name}.ipynb", folders.figures / "notebooks", item.title)
    outputs = {name: _file_digest(folders.figures / name) for name in _written(item, folders)}
    write_json(record, {"digest": wanted, "outputs": outputs, "minutes": round(minutes, 2)})
    return Outcome(item.name, "done", minutes)


def execute(item: Notebook, parameters: dict, folders: Folders) -> str:
    """Run a notebook by papermill into `<results>/<name>.ipynb`; why it failed, or "" when it did not.

    Until it ends it is called `<name>.pending.ipynb`, and after a failure `<name>.failed.ipynb`, with the traceback.
    """
    import papermill  # slow to import
    from traitlets.config import Config

    done, pending, failed = (folders.results / f"{item.name}{suffix}.ipynb" for suffix in ("", ".pending", ".failed"))
    done.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    # Sockets as files in a folder of our own: the port that papermill picks may be taken before its kernel has it.
    sockets = tempfile.mkdtemp(prefix="gaa-")
    try:
        papermill.execute_notebook(
            item.path,
            pending,
            parameters,
            kernel_name="python3",  # this Python, whatever kernel the notebook was last saved with
            cwd=item.path.parent,
            progress_bar=False,
            start_timeout=180,  # a cold disk and busy cores
            config=Config({"KernelManager": {"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}}),
            timeout=None if item.cell_minutes is None else round(60 * item.cell_minutes),
        )
    except Exception as error:  # a cell that raised or timed out, a kernel that died: all the same here
        if pending.exists():
            pending.replace(failed)
        return f"{_reason(error)} (see {failed})"
    finally:
        shutil.rmtree(sockets, ignore_errors=True)  # made above
    pending.replace(done)
    return ""


def _reason(error: Exception) -> str:
    if hasattr(error, "ename"):  # papermill's and nbclient's errors of a cell
        return f"{error.ename}: {error.evalue}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def digest(item: Notebook, parameters: dict) -> str:
    """A digest of all that decides what a notebook writes: file, parameters, code, data, versions. Not of `jobs`."""
    package = Path(__file__).parent
    sources = [path for path in sorted(package.rglob("*.py")) if path.name not in _NOT_IN_DIGEST]
    given = sorted((name, repr(value)) for name, value in parameters.items() if name not in ("jobs", "results_dir"))
    parts = {
        "notebook": _file_digest(item.path),
        "parameters": given,
        "code": [(str(path.relative_to(package)), _file_digest(path)) for path in sources],
        "data": [_data_stamp(folder) for folder in (datasets.data_folder(), datasets.cache_folder())],
        "versions": versions(),
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions that numbers depend on, without importing anything."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), "gaa_core": __version__, **packages}


def _data_stamp(folder: Path | None) -> list[tuple[str, int, int]]:
    if folder is None or not folder.is_dir():
        return []
    return [(os.path.relpath(name, folder), size, changed) for name, size, changed in datasets.stamp(folder)]


def _is_fresh(item: Notebook, wanted: str, folders: Folders) -> bool:
    try:
        record = read_json(_record_path(item, folders))
    except (FileNotFoundError, DataError):
        return False
    outputs = record["outputs"]
    if record["digest"] != wanted or not set(_expected(item)) <= set(outputs):
        return False
    paths = {folders.figures / name: expected for name, expected in outputs.items()}
    return all(path.is_file() and _file_digest(path) == expected for path, expected in paths.items())


def _record_path(item: Notebook, folders: Folders) -> Path:
    return folders.results / f"{item.name}.json"


def _expected(item: Notebook) -> list[str]:
    """What a run must write, relative to the figures folder."""
    pictures = [f"{name}{suffix}" for name in item.figures for suffix in (".png", ".json")]
    return pictures + ([f"claims/{item.label}.json"] if item.claims else [])


def _written(item: Notebook, folders: Folders) -> list[str]:
    """All that belongs to a notebook in the figures folder: what it must write, and what says that it came from it."""
    own = [path.name for picture in _figure_times(item, folders) for path in (picture, picture.with_suffix(".json"))]
    return sorted({*_expected(item), *own})


def _figure_times(item: Notebook, folders: Folders) -> dict[Path, int]:
    """The figures whose descriptions name this notebook -> when they were written."""
    found = {}
    for picture in sorted(folders.figures.glob("[!.]*.png")):
        sidecar = picture.with_suffix(".json")
        described = read_json(sidecar) if sidecar.is_file() else {}
        if described.get("notebook") == item.label and described.get("figure") == picture.name:
            found[picture] = picture.stat().st_mtime_ns
    return found


def _write_manifest(folders: Folders, profile: str, item: Notebook, parameters: dict, outcome: Outcome) -> None:
    """Enter one notebook into MANIFEST.json; the entries of the others stay."""
    path = folders.figures / MANIFEST
    entries = read_json(path).get("notebooks", {}) if path.is_file() else {}
    if outcome.status == "reused" and item.name in entries:
        return
    names = _written(item, folders) if outcome.status != "failed" else []
    contents = [read_json(folders.figures / name) for name in names if name.endswith(".json")]
    described = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    minutes = read_json(_record_path(item, folders))["minutes"] if outcome.status == "reused" else outcome.minutes
    config = notebook_parameters(item.path) | parameters
    entries[item.name] = {
        "title": item.title,
        "status": "failed" if outcome.status == "failed" else "done",
        "minutes": round(minutes, 2),
        "parameters": {name: value for name, value in config.items() if not name.endswith("_dir")},
        "data_sources": sorted({part["data_source"] for part in described} - {""}),
        "files": names,
        "versions": versions(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    write_json(path, {"profile": profile, "notebooks": dict(sorted(entries.items()))})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice at once on the same folder. The lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GaaError(f"Another reproduce is at work in {folder}: wait for it, or name other --results.") from None
        yield


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
