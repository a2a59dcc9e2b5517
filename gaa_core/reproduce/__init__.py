"""Run the notebooks of notebooks/figures.yml, and build the figures, the claims table and the gallery.

Running again is resuming: a notebook whose file, parameters, code, data and versions are as they were, and whose
figures are still there unchanged, is not run again. One that was killed left no record, so it is run again.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import filelock
import psutil

from gaa_core import gallery, report
from gaa_core.errors import GaaError, one_of
from gaa_core.files import read_json, write_json
from gaa_core.reproduce.plan import PROFILES, Notebook, choose, read_plan
from gaa_core.reproduce.progress import Bar
from gaa_core.reproduce.records import (
    MANIFEST,
    UNKNOWN_MINUTES,
    Folders,
    Outcome,
    digest,
    expected_files,
    figure_times,
    file_digest,
    is_fresh,
    record_path,
    told_minutes,
    write_manifest,
    written_files,
)

#: Where figures of a profile are tracked, when not under its name: what is built is not what is tracked.
COMMITTED = {"quick": "sketch"}

#: Processor cores that are used unless a user says how many.
JOBS = 2

#: Set while notebooks run as a batch (see `sweep.track`); named here as well, since the sweep would import torch.
BATCH = "GAA_BATCH"


def project_root() -> Path:
    """The clone, or a folder with copied notebooks: the current folder, else the one this package is in."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "notebooks" / "figures.yml").is_file():
            return folder
    raise GaaError("notebooks/figures.yml was not found: run this in a clone, or first run 'notebooks DIR'.")


def notebooks_folder() -> Path:
    """The notebooks of the clone, else those that were installed with the package."""
    package = Path(__file__).resolve().parents[1]
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
    rules: list[str] | None = None,
    figures: Path | None = None,
    results: Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Bring the figures of a profile up to date; one Outcome a notebook. `force` runs what is up to date as well.

    `jobs` notebooks run at a time, with one process each; in the paper profile one with `jobs` processes, since its
    notebooks differ in length by hours. `rules` are refused by notebooks that have no such parameter, and for a folder
    whose figures show others.
    """
    one_of("profile", profile, PROFILES)
    root = project_root()
    results = (results or root / "results").resolve()
    target = (figures or root / "figures" / profile).resolve()
    folders = Folders(root / "notebooks", target, results / "notebooks" / profile, results)
    plan = choose(read_plan(folders.notebooks), only or [])
    if not plan:
        raise GaaError("notebooks/figures.yml lists no notebook: there is nothing to reproduce.")
    always = {"profile": profile, "figures_dir": os.path.relpath(folders.figures, folders.notebooks)}
    always |= {"rules": rules} if rules else {}
    jobs = jobs or JOBS
    lanes = 1 if profile == "paper" or len(plan) == 1 else jobs
    wished = {"results_dir": os.path.relpath(folders.experiments, folders.notebooks), "seeds": seeds}
    wished["jobs"] = max(1, jobs // lanes)
    chosen = [(item, item.resolve(profile, always, wished)) for item in plan]
    _check_own(target)
    _check_rules(target, rules)
    for source in ("GAA_DATA", "GAA_CACHE"):  # a relative path would mean another folder in the kernel
        if os.environ.get(source):
            os.environ[source] = str(Path(os.environ[source]).expanduser().resolve())
    due = [item.name for item, parameters in chosen if force or not is_fresh(item, digest(item, parameters), folders)]
    minutes = {
        item.name: told_minutes(item, folders, root / "figures" / COMMITTED.get(profile, profile)) for item, _ in chosen
    }
    if dry_run:
        return _preview(chosen, due, minutes, say)
    os.environ[BATCH] = "1"  # kernels inherit it: no bars in executed notebooks
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # and this: threads of kernels side by side wait for one another
    if not (target / MANIFEST).is_file():  # from now on the folder is ours, even if this is interrupted
        write_json(target / MANIFEST, {"profile": profile} | ({"rules": rules} if rules else {}) | {"notebooks": {}})
    with _alone(folders.results), Bar({name: minutes[name] for name in due}, lanes, say) as bar:
        return _side_by_side(chosen, folders, due, lanes, bar)


def _preview(chosen: list[tuple], due: list[str], minutes: dict[str, float], say: Callable) -> list[Outcome]:
    for item, parameters in chosen:
        took = f"{minutes[item.name]:.1f} min in its last run" if minutes[item.name] != UNKNOWN_MINUTES else "no record"
        say(f"{item.name}: " + (f"would run ({took}) with {parameters}" if item.name in due else "is up to date"))
    say(f"All that is due: about {sum(minutes[name] for name in due):.0f} min.")
    return [Outcome(item.name, "due" if item.name in due else "reused") for item, _ in chosen]


def _side_by_side(chosen: list[tuple], folders: Folders, due: list[str], lanes: int, bar: Bar) -> list[Outcome]:
    """Bring notebooks up to date, `lanes` at a time, and all that is made of them. Interrupted, no kernel goes on.

    After the first, so that there is a figure soon, the longest come first, so that all lanes end together.
    """
    outcomes: dict[str, Outcome] = {}
    first, *others = chosen
    if lanes > 1:
        others.sort(key=lambda each: -bar.minutes.get(each[0].name, 0.0))
    strangers = psutil.Process().children()  # of a program that calls this
    with ThreadPoolExecutor(lanes) as pool:
        begun = {pool.submit(_one, *each, folders, each[0].name in due, bar): each for each in (first, *others)}
        try:
            for ended in as_completed(begun):
                (item, parameters), outcome = begun[ended], ended.result()
                outcomes[item.name] = outcome
                write_manifest(folders, parameters["profile"], item, parameters, outcome)
                if outcome.status != "reused" or len(outcomes) == len(chosen):
                    _write_pages(folders)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in psutil.Process().children():
                if process not in strangers:
                    process.kill()
            raise
    return [outcomes[item.name] for item, _ in chosen]


def _one(item: Notebook, parameters: dict, folders: Folders, due: bool, bar: Bar) -> Outcome:
    """Bring one notebook up to date."""
    before = figure_times(item, folders)
    bar.begin(item.name)
    outcome = _run(item, parameters, folders) if due else Outcome(item.name, "reused")
    bar.end(item.name, f"{item.name}: {outcome}")
    bar.first([path for path, at in figure_times(item, folders).items() if before.get(path) != at])
    return outcome


def _write_pages(folders: Folders) -> None:
    """Bring the claims table and the gallery up to date."""
    gallery.draw_claims(report.write_claims(folders.figures), folders.figures)
    gallery.claims_page(folders.figures / "claims.md", folders.figures)
    gallery.gallery(folders.figures)
    if folders.figures == project_root() / "figures" / "paper":  # the entry page is tracked with these figures
        gallery.entry(folders.figures.parent)


def _check_own(folder: Path) -> None:
    """Refuse a folder for figures that holds files of somebody else: pages and tables would be overwritten.

    Those in the project's own figures/ are ours: a notebook that was run by hand may have written there before.
    """
    own = folder.parent == project_root() / "figures"
    if own or not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir():
        raise GaaError(f"{folder} is a file: figures need a folder.")
    strangers = sorted(path.name for path in folder.rglob("*") if path.is_file())
    if strangers:
        raise GaaError(f"{folder} holds '{strangers[0]}' and no {MANIFEST} of ours: name a new folder for the figures.")


def _check_rules(folder: Path, rules: list[str] | None) -> None:
    """Refuse to put figures of some rules beside those of others."""
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {"rules": rules}
    found, wanted = (" ".join(each or []) or "of the profile" for each in (manifest.get("rules"), rules))
    if found != wanted:
        raise GaaError(f"{folder} shows the rules {found}, and these are the rules {wanted}: name other --figures.")


def _run(item: Notebook, parameters: dict, folders: Folders) -> Outcome:
    """Run one notebook. A failure is an Outcome, so that the others get their turn."""
    record, claims = record_path(item, folders), folders.figures / "claims" / f"{item.label}.json"
    record.unlink(missing_ok=True)
    claims.unlink(missing_ok=True)  # numbers of an earlier configuration must not stand beside a failure
    wanted, before, start = digest(item, parameters), figure_times(item, folders), time.monotonic()
    message = execute(item, parameters, folders)
    minutes = (time.monotonic() - start) / 60
    if message:
        return Outcome(item.name, "failed", minutes, message)
    for stale in [path for path, written in figure_times(item, folders).items() if before.get(path) == written]:
        for suffix in (".png", ".pdf", ".json"):
            stale.with_suffix(suffix).unlink(missing_ok=True)
    missing = [name for name in expected_files(item) if not (folders.figures / name).is_file()]
    if missing:
        return Outcome(item.name, "failed", minutes, f"it did not write {', '.join(missing)} to {folders.figures}")
    gallery.readable_notebook(folders.results / f"{item.name}.ipynb", folders.figures / "notebooks", item.title)
    outputs = {name: file_digest(folders.figures / name) for name in written_files(item, folders)}
    write_json(record, {"digest": wanted, "outputs": outputs, "minutes": round(minutes, 2)})
    return Outcome(item.name, "done", minutes)


def execute(item: Notebook, parameters: dict, folders: Folders) -> str:
    """Run a notebook by papermill into `<results>/<name>.ipynb`; why it failed, or "" when it did not.

    Until it ends it is called `<name>.pending.ipynb`, and after a failure `<name>.failed.ipynb`, with the traceback.
    """
    import papermill  # slow to import
    from jupyter_core.utils import ensure_event_loop
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
        ensure_event_loop().close()  # that of this thread, which papermill leaves open
    pending.replace(done)
    return ""


def _reason(error: Exception) -> str:
    if hasattr(error, "ename"):  # papermill's and nbclient's errors of a cell
        return f"{error.ename}: {error.evalue}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice at once on the same folder. The lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise GaaError(f"Another reproduce is at work in {folder}: wait for it, or name other --results.") from None
