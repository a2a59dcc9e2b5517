"""Run the notebooks of notebooks/figures.yml, and build the figures, the claims table and the gallery.

Running again is resuming: a notebook whose file, parameters, code, data and versions are as they were, and whose
figures are still there unchanged, is not run again. One that was killed left no record, so it is run again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gaa_core import __version__, datasets, gallery, report
from gaa_core.errors import DataError, GaaError, UnknownName
from gaa_core.plan import PROFILES, Notebook, choose, notebook_parameters, read_plan

#: Set while notebooks run as a batch (see `sweep.track`); the name is here to spare the import of torch.
BATCH = "GAA_BATCH"

#: The machinery, whose changes alter no figure.
_NOT_IN_DIGEST = {"__main__.py", "reproduce.py", "forecast.py", "plan.py", "readme.py", "gallery.py"}


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: "done", "reused", "failed" or (in a dry run) "due"."""

    name: str
    status: str
    minutes: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Folders:
    """Where things are read and written. All absolute, since a notebook runs in the folder of the notebooks."""

    notebooks: Path
    figures: Path
    results: Path  # of this program: executed notebooks and records of a profile
    experiments: Path  # of the notebooks: cached runs, shared by all profiles


def project_root() -> Path:
    """The clone: the current folder, else the one that this package was installed from."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (folder / "notebooks" / "figures.yml").is_file():
            return folder
    raise GaaError("notebooks/figures.yml was not found here: run this in a clone of the repository.")


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
    always = {
        "profile": profile,
        "figures_dir": os.path.relpath(folders.figures, folders.notebooks),
    }
    wished = {"results_dir": os.path.relpath(folders.experiments, folders.notebooks), "jobs": jobs, "seeds": seeds}
    chosen = [(item, item.resolve(profile, always, wished)) for item in plan]
    for source in ("GAA_DATA", "GAA_CACHE"):  # a relative path would mean another folder in the kernel
        if os.environ.get(source):
            os.environ[source] = str(Path(os.environ[source]).expanduser().resolve())
    os.environ[BATCH] = "1"  # kernels inherit it: plain lines instead of bars in executed notebooks
    if dry_run:
        return _preview(chosen, folders, force, say)
    with _alone(folders.results):
        outcomes = []
        for number, (item, parameters) in enumerate(chosen, start=1):
            say(f"[{number}/{len(chosen)}] {item.name}: {item.title}")
            outcomes.append(_bring_up_to_date(item, parameters, folders, force))
            say(f"[{number}/{len(chosen)}] {item.name}: {_sentence(outcomes[-1])}")
            _write_manifest(folders, profile, item, parameters, outcomes[-1])
            report.write_claims(folders.figures)
            gallery.gallery(folders.figures)
            if profile == "paper" and figures is None:  # the entry page is tracked with the paper profile's figures
                gallery.entry(folders.figures.parent)
    return outcomes


def _preview(chosen: list[tuple], folders: Folders, force: bool, say: Callable[[str], None]) -> list[Outcome]:
    """Say for each notebook which runs it would ask for, how many are there already, and how long the others take."""
    from gaa_core import forecast  # loads torch and the cases

    times, seen, outcomes = forecast.StepTimes(folders.experiments / "step_times.json"), set(), []
    for item, parameters in chosen:
        if not force and _is_fresh(item, digest(item, parameters), folders):
            outcomes.append(Outcome(item.name, "reused"))
            say(f"{item.name}: is up to date")
            continue
        say(f"{item.name}: would run with {parameters}")
        try:
            lines, minutes = forecast.tell(item, parameters, times, seen)
            outcomes.append(Outcome(item.name, "due", minutes))
        except GaaError as error:  # a grid that depends on results, or a run that cannot be
            lines = [str(error)]
            outcomes.append(Outcome(item.name, "due", message=str(error)))
        for line in lines:
            say(f"  {line}")
    total = sum(outcome.minutes for outcome in outcomes)
    say(f"All runs to do: about {total:.1f} min, to which each notebook adds the time of its other cells.")
    return outcomes


def _sentence(outcome: Outcome) -> str:
    if outcome.status == "reused":
        return "is up to date"
    return f"{outcome.status} after {outcome.minutes:.1f} min" + (f": {outcome.message}" if outcome.message else "")


def _bring_up_to_date(item: Notebook, parameters: dict, folders: Folders, force: bool) -> Outcome:
    """Run one notebook unless it is up to date. A failure is an Outcome, so that the others get their turn."""
    wanted = digest(item, parameters)
    if not force and _is_fresh(item, wanted, folders):
        return Outcome(item.name, "reused")
    record, claims = _record_path(item, folders), folders.figures / "claims" / f"{item.label}.json"
    record.unlink(missing_ok=True)
    claims.unlink(missing_ok=True)  # numbers of an earlier configuration must not stand beside a failure
    before = _figure_times(item, folders)
    start = time.monotonic()
    message = execute(item, parameters, folders)
    minutes = (time.monotonic() - start) / 60
    if message:
        return Outcome(item.name, "failed", minutes, message)
    for stale in [path for path, written in _figure_times(item, folders).items() if before.get(path) == written]:
        stale.unlink()
        stale.with_suffix(".json").unlink()
    missing = [name for name in _expected(item) if not (folders.figures / name).is_file()]
    if missing:
        return Outcome(item.name, "failed", minutes, f"it did not write {', '.join(missing)} to {folders.figures}")
    outputs = {name: _file_digest(folders.figures / name) for name in _written(item, folders)}
    report.write_json(record, {"digest": wanted, "outputs": outputs, "minutes": round(minutes, 2)})
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
    try:
        # Sockets as files in a folder of our own: the port that papermill picks may be taken before its kernel has it.
        with tempfile.TemporaryDirectory(prefix="gaa-") as sockets:
            connection = {"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}
            papermill.execute_notebook(
                item.path,
                pending,
                parameters,
                cwd=item.path.parent,
                progress_bar=sys.stderr.isatty(),
                start_timeout=180,  # a cold disk and busy cores
                config=Config({"KernelManager": connection}),
                timeout=None if item.cell_minutes is None else round(60 * item.cell_minutes),
            )
    except (
        Exception
    ) as error:  # a cell that raised or timed out, a kernel that died or never answered: all the same here
        if pending.exists():
            pending.replace(failed)
        return f"{_reason(error)} (see {failed})"
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
    parts = {
        "notebook": _file_digest(item.path),
        "parameters": sorted(
            (name, repr(value)) for name, value in parameters.items() if name not in ("jobs", "results_dir")
        ),
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
    files = [(os.path.relpath(name, folder), size, changed) for name, size, changed in datasets.stamp(folder)]
    return [file for file in files if Path(file[0]).parts[0] != "engine"]  # written by runs, and no data: see engines


def _is_fresh(item: Notebook, wanted: str, folders: Folders) -> bool:
    try:
        record = report.read_json(_record_path(item, folders))
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
        if sidecar.is_file() and report.read_json(sidecar).get("notebook") == item.label:
            found[picture] = picture.stat().st_mtime_ns
    return found


def _write_manifest(folders: Folders, profile: str, item: Notebook, parameters: dict, outcome: Outcome) -> None:
    """Enter one notebook into MANIFEST.json; the entries of the others stay."""
    path = folders.figures / "MANIFEST.json"
    manifest = report.read_json(path) if path.is_file() else {}
    entries = manifest.get("notebooks", {})
    if outcome.status == "reused" and item.name in entries:
        return
    names = _written(item, folders) if outcome.status != "failed" else []
    contents = [report.read_json(folders.figures / name) for name in names if name.endswith(".json")]
    described = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    minutes = (
        report.read_json(_record_path(item, folders))["minutes"] if outcome.status == "reused" else outcome.minutes
    )
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
    report.write_json(path, {"profile": profile, "notebooks": dict(sorted(entries.items()))})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice at once on the same folder. The lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GaaError(
                f"Another reproduce is at work in {folder}: wait for it, or give another --results."
            ) from None
        yield


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
