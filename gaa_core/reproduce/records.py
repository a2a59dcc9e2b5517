"""What a batch remembers of a notebook: what decided its outputs, what it wrote, and the manifest."""

import hashlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from gaa_core import __version__, datasets
from gaa_core.errors import DataError
from gaa_core.files import read_json, write_json
from gaa_core.reproduce.plan import Notebook, notebook_parameters

#: The machinery, whose changes alter no figure.
_NOT_IN_DIGEST = {"__main__.py", "commands", "reproduce", "gallery.py"}

#: Minutes that a notebook is taken to need as long as no manifest says how many it took.
UNKNOWN_MINUTES = 3.0

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


def told_minutes(item: Notebook, folders: Folders, committed: Path) -> float:
    """How long a notebook took when it last ran: here, else where the figures of the repository were built."""
    for path in (record_path(item, folders), folders.figures / MANIFEST, committed / MANIFEST):
        if path.is_file():
            known = read_json(path)
            minutes = known.get("minutes") or known.get("notebooks", {}).get(item.name, {}).get("minutes")
            if minutes:
                return float(minutes)
    return UNKNOWN_MINUTES


def digest(item: Notebook, parameters: dict) -> str:
    """A digest of all that decides what a notebook writes: file, parameters, code, data, versions. Not of `jobs`."""
    given = sorted((name, repr(value)) for name, value in parameters.items() if name not in ("jobs", "results_dir"))
    parts = {
        "notebook": file_digest(item.path),
        "parameters": given,
        "code": code(),
        "data": [_data_stamp(folder) for folder in (datasets.data_folder(), datasets.cache_folder())],
        "versions": versions(),
    }
    return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()


def code() -> str:
    """A digest of this package's sources, but for the machinery."""
    package = Path(__file__).parents[1]
    sources = sorted([*package.rglob("*.py"), *package.rglob("*.yml")])
    told = [
        (str(path.relative_to(package)), file_digest(path)) for path in sources if not _NOT_IN_DIGEST & {*path.parts}
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """The versions that numbers depend on, without importing anything."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), "gaa_core": __version__, **packages}


def _data_stamp(folder: Path | None) -> list[tuple[str, int, int]]:
    if folder is None or not folder.is_dir():
        return []
    return [(os.path.relpath(name, folder), size, changed) for name, size, changed in datasets.stamp(folder)]


def is_fresh(item: Notebook, wanted: str, folders: Folders) -> bool:
    try:
        record = read_json(record_path(item, folders))
    except (FileNotFoundError, DataError):
        return False
    outputs = record["outputs"]
    if record["digest"] != wanted or not set(expected_files(item)) <= set(outputs):
        return False
    paths = {folders.figures / name: expected for name, expected in outputs.items()}
    return all(path.is_file() and file_digest(path) == expected for path, expected in paths.items())


def record_path(item: Notebook, folders: Folders) -> Path:
    return folders.results / f"{item.name}.json"


def expected_files(item: Notebook) -> list[str]:
    """What a run must write, relative to the figures folder."""
    pictures = [f"{name}{suffix}" for name in item.figures for suffix in (".png", ".json")]
    return pictures + ([f"claims/{item.label}.json"] if item.claims else [])


def written_files(item: Notebook, folders: Folders) -> list[str]:
    """All that belongs to a notebook in the figures folder: what it must write, and what says that it came from it."""
    own = [path.name for picture in figure_times(item, folders) for path in (picture, picture.with_suffix(".json"))]
    return sorted({*expected_files(item), *own})


def figure_times(item: Notebook, folders: Folders) -> dict[Path, int]:
    """The figures whose descriptions name this notebook -> when they were written."""
    found = {}
    for picture in sorted(folders.figures.glob("[!.]*.png")):
        sidecar = picture.with_suffix(".json")
        described = read_json(sidecar) if sidecar.is_file() else {}
        if described.get("notebook") == item.label and described.get("figure") == picture.name:
            found[picture] = picture.stat().st_mtime_ns
    return found


def write_manifest(folders: Folders, profile: str, item: Notebook, parameters: dict, outcome: Outcome) -> None:
    """Enter one notebook into MANIFEST.json; the entries of the others stay."""
    path = folders.figures / MANIFEST
    known = read_json(path) if path.is_file() else {}
    entries = known.get("notebooks", {})
    if outcome.status == "reused" and item.name in entries:
        return
    names = written_files(item, folders) if outcome.status != "failed" else []
    contents = [read_json(folders.figures / name) for name in names if name.endswith(".json")]
    described = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    minutes = read_json(record_path(item, folders))["minutes"] if outcome.status == "reused" else outcome.minutes
    config = notebook_parameters(item.path) | parameters
    entries[item.name] = {
        "title": item.title,
        "status": "failed" if outcome.status == "failed" else "done",
        "minutes": round(minutes, 2),
        "parameters": {name: value for name, value in config.items() if not name.endswith("_dir")},
        "data_sources": sorted({part["data_source"] for part in described} - {""}),
        "files": names,
        "code": code(),
        "versions": versions(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    write_json(path, known | {"profile": profile, "notebooks": dict(sorted(entries.items()))})


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
