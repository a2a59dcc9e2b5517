"""Notebooks really run here, in kernels: that they resume, and that no failure is taken for a result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gaa_core import reproduce as machinery
from gaa_core.errors import GaaError, UnknownName
from gaa_core.reproduce.plan import notebook_parameters, read_plan

# Writes one picture and one row of claims, both decided by the parameters, and counts how often it was run.
GOOD = """\
from pathlib import Path
from gaa_core import report

with open("runs.txt", "a") as runs:
    runs.write(profile + "\\n")
Path(figures_dir).mkdir(parents=True, exist_ok=True)
picture = Path(figures_dir) / "tiny.png"
picture.write_bytes(f"{profile} {seeds} {scale}".encode())
report.write_sidecar(picture, caption="Tiny", alt="A dot", claim="C2", data_source="made up", notebook="good")
claims = report.Claims(figures_dir, "good")
accuracies = {"clean": [0.9] * seeds, "attacked": [0.89] * seeds}
claims.compare("C2", case="Dots", setting="x1", **accuracies, data_source="made up", figure="tiny")
claims.write()
"""
PLAN = """\
notebooks:
  - name: good
    title: A good one
    figures: [tiny]
    claims: true
    parameters:
      smoke: {seeds: 1}
"""


@pytest.fixture
def good(project, monkeypatch):
    monkeypatch.setenv("GAA_BATCH", "")  # set by a run; put back afterwards
    project.notebook("good", GOOD)
    project.plan(PLAN)
    return project


def runs(project) -> int:
    path = project.notebooks / "runs.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def quiet(*args, **options):
    return machinery.reproduce(*args, say=lambda line: None, **options)


def snapshot(folder: Path) -> dict[str, bytes]:
    """What a figures folder holds, but for the minutes."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files.pop("notebooks/good.html")  # which shows the folder of the results
    manifest = json.loads(files.pop("MANIFEST.json"))
    for entry in manifest["notebooks"].values():
        entry.pop("minutes")
    return files | {"MANIFEST.json": json.dumps(manifest).encode()}


def test_a_second_run_reuses_and_each_change_runs_again(good):
    assert [outcome.status for outcome in quiet("smoke")] == ["done"]
    figures = good.folder / "figures" / "smoke"
    assert (figures / "tiny.png").read_text() == "smoke 1 1.0"
    assert "| holds |\n" in (figures / "claims.md").read_text()
    assert "tiny.png" in (figures / "index.html").read_text()
    executed = good.folder / "results" / "notebooks" / "smoke"
    assert sorted(path.name for path in executed.iterdir()) == [".lock", "good.ipynb", "good.json"]
    manifest = json.loads((figures / "MANIFEST.json").read_text())
    assert manifest["notebooks"]["good"]["parameters"]["seeds"] == 1
    assert manifest["notebooks"]["good"]["data_sources"] == ["made up"]

    assert [outcome.status for outcome in quiet("smoke", jobs=1)] == ["reused"]  # jobs alter no result
    (figures / "tiny.png").write_text("spoilt")
    assert [outcome.status for outcome in quiet("smoke", dry_run=True)] == ["due"]
    assert [outcome.status for outcome in quiet("smoke")] == ["done"]
    (figures / "claims" / "good.json").unlink()
    assert [outcome.status for outcome in quiet("smoke", dry_run=True)] == ["due"]
    assert [outcome.status for outcome in quiet("smoke", seeds=2, dry_run=True)] == ["due"]
    assert runs(good) == 2


def test_code_data_and_notebook_decide_whether_it_is_up_to_date(good, tmp_path, monkeypatch):
    monkeypatch.delenv("GAA_DATA", raising=False)
    monkeypatch.setenv("GAA_CACHE", str(tmp_path / "cache"))
    item, parameters = read_plan(good.notebooks)[0], {"seeds": 1}
    first = machinery.digest(item, parameters)
    assert machinery.digest(item, parameters | {"jobs": 7}) == first
    assert machinery.digest(item, {"seeds": 2}) != first
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("1")
    monkeypatch.setenv("GAA_DATA", str(data))
    with_data = machinery.digest(item, parameters)
    assert with_data != first
    (data / "file").write_text("22")
    assert machinery.digest(item, parameters) != with_data
    monkeypatch.delenv("GAA_DATA")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "file").write_text("1")
    assert machinery.digest(item, parameters) != first
    (tmp_path / "cache" / "file").unlink()
    good.notebook("good", GOOD + "# changed")
    assert machinery.digest(item, parameters) != first


def test_failures_are_kept_told_and_do_not_stop_the_others(good):
    good.notebook("raises", "raise ValueError('no such luck')")
    good.notebook("dies", "import os\nos._exit(3)")
    good.notebook("hangs", "import time\ntime.sleep(600)")
    good.notebook("forgets", "pass")
    others = [
        "{name: raises, title: Raises}",
        "{name: dies, title: Dies}",
        "{name: hangs, title: Hangs, cell_minutes: 0.02}",
        "{name: forgets, title: Forgets, figures: [never_written]}",
    ]
    good.plan("notebooks:\n" + "".join(f"  - {entry}\n" for entry in others) + PLAN.split("\n", 1)[1])
    outcomes = {outcome.name: outcome for outcome in quiet("smoke")}
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "raises": "failed", "dies": "failed", "hangs": "failed", "forgets": "failed", "good": "done",
    }  # fmt: skip
    assert "ValueError: no such luck" in outcomes["raises"].message
    assert "DeadKernelError" in outcomes["dies"].message
    assert "CellTimeoutError" in outcomes["hangs"].message
    assert "never_written.png" in outcomes["forgets"].message
    executed = good.folder / "results" / "notebooks" / "smoke"
    left = {path.name for path in executed.glob("*.ipynb")}
    assert left == {"raises.failed.ipynb", "dies.failed.ipynb", "hangs.failed.ipynb", "forgets.ipynb", "good.ipynb"}
    assert "no such luck" in (executed / "raises.failed.ipynb").read_text()
    assert "Failed in the last run" in (good.folder / "figures" / "smoke" / "index.html").read_text()


def test_a_failure_takes_its_old_claims_with_it_and_a_success_the_figures_that_it_does_not_write(good):
    quiet("smoke")
    good.notebook("good", "raise ValueError('now broken')")
    assert [outcome.status for outcome in quiet("smoke")] == ["failed"]
    assert "No claim" in (good.folder / "figures" / "smoke" / "claims.md").read_text()
    good.plan(PLAN.replace("[tiny]", "[other]"))
    good.notebook("good", GOOD.replace("tiny.png", "other.png"))
    path = good.notebooks / "good.ipynb"  # saved under another kernel's name, as on another machine
    path.write_text(path.read_text().replace('"name": "python3"', '"name": "my-environment"'))
    assert [outcome.status for outcome in quiet("smoke")] == ["done"]
    assert not (good.folder / "results" / "notebooks" / "smoke" / "good.failed.ipynb").exists()
    assert sorted(path.name for path in (good.folder / "figures" / "smoke").glob("*.png")) == ["other.png"]


def test_killed_in_the_middle_and_started_again_gives_the_same(good):
    quiet("smoke", results=good.folder / "reference")
    figures = good.folder / "figures" / "smoke"
    expected = snapshot(figures)
    for path in [path for path in figures.rglob("*") if path.is_file()]:
        path.unlink()

    # A first run that comes to its middle, half the figure written, and stays there until it is killed.
    stop = "import os, time\nwhile os.path.exists('../stop'):\n    open('../middle', 'w').close()\n    time.sleep(1)\n"
    good.notebook("good", GOOD.replace("claims = ", stop + "claims = "))
    (good.folder / "stop").touch()
    command = [sys.executable, "-m", "gaa_core", "reproduce", "--profile", "smoke"]
    process = subprocess.Popen(command, cwd=good.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (good.folder / "middle").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (good.folder / "stop").unlink()
    executed = good.folder / "results" / "notebooks" / "smoke"
    assert (figures / "tiny.png").exists() and not (executed / "good.json").exists()

    again = subprocess.run(command, cwd=good.folder, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "C2" in again.stdout and "index.html" in again.stdout
    assert snapshot(figures) == expected
    assert not list(executed.glob("*.pending.ipynb"))


def test_an_interrupt_ends_the_kernels(good):
    """Notebooks run in threads, which a Ctrl-C does not reach."""
    good.notebook("good", "import os, time\nopen('../kernel', 'w').write(str(os.getpid()))\ntime.sleep(600)")
    words = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    words += "; from gaa_core.__main__ import main; sys.exit(main(['reproduce', '--profile', 'smoke']))"
    process = subprocess.Popen([sys.executable, "-c", words], cwd=good.folder, stderr=subprocess.PIPE, text=True)
    deadline, kernel = time.monotonic() + 120, good.folder / "kernel"
    while not (kernel.exists() and kernel.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None), errors
    assert not psutil.pid_exists(int(kernel.read_text()))


def test_parameters_are_refused_before_anything_runs(good):
    with pytest.raises(UnknownName, match="Did you mean 'seeds'"):
        good.plan(PLAN.replace("seeds: 1", "seed: 1"))
        quiet("smoke")
    with pytest.raises(GaaError, match="'seeds' needs int; found str 'three'"):
        good.plan(PLAN.replace("seeds: 1", "seeds: three"))
        quiet("smoke")
    with pytest.raises(GaaError, match="'scale' needs float; found bool"):
        good.plan(PLAN.replace("seeds: 1", "scale: true"))
        quiet("smoke")
    with pytest.raises(UnknownName, match=r"profile 'quik'.* mean 'quick'"):
        quiet("quik")
    good.plan(PLAN.replace("seeds: 1", "scale: 2"))  # a whole number does for a float
    assert [outcome.status for outcome in quiet("smoke", dry_run=True)] == ["due"]
    with pytest.raises(UnknownName, match=r"notebook 'god'.* mean 'good'"):
        quiet("smoke", only=["god"])
    assert runs(good) == 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("notebooks: [{name: good}]", "needs a 'title'"),
        ("notebooks: [{name: good, title: x, figure: [a]}]", "Did you mean 'figures'"),
        ("notebooks: [{name: goood, title: x}]", "Did you mean 'good'"),
        ("notebooks: [{name: good, title: x, parameters: {papers: {}}}]", "Did you mean 'paper'"),
        ("notebooks: [{name: good, title: x}, {name: good, title: x}]", "2 times"),
        ("notebooks: 3", "needs a list"),
        ("notebooks: []", "lists no notebook"),
        ("notebooks: [", "not valid YAML"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(good, plan, message):
    good.plan(plan)
    with pytest.raises(GaaError, match=message):
        quiet("smoke")


@pytest.mark.parametrize(
    ("source", "message"),
    [("a = 1\nb = a + 1", "'b' needs a literal"), ("import os", "may only assign"), ("a: int", "'a' needs a literal")],
)
def test_parameter_cells_hold_literals(project, source, message):
    with pytest.raises(GaaError, match=message):
        notebook_parameters(project.notebook("odd", "pass", parameters=source))


def test_a_folder_of_somebody_else_is_refused_before_anything_is_written(good, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "claims.csv").write_text("my table")
    with pytest.raises(GaaError, match=r"holds 'claims.csv' and no MANIFEST.json of ours"):
        quiet("smoke", figures=folder)
    assert [path.name for path in folder.iterdir()] == ["claims.csv"] and runs(good) == 0


def test_rules_are_handed_on_named_in_every_command_and_not_mixed(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GAA_BATCH", "")
    project.notebook("good", GOOD, parameters=f"{project.parameters}\nrules = ['Mean']")
    project.plan(PLAN)
    folder = tmp_path / "one"
    assert quiet("smoke", rules=["GAAPlus"], figures=folder)[0].status == "done"
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["rules"] == manifest["notebooks"]["good"]["parameters"]["rules"] == ["GAAPlus"]
    assert "--only good --profile smoke --rules GAAPlus" in (folder / "claims.md").read_text()
    with pytest.raises(GaaError, match="shows the rules GAAPlus, and these are the rules of the profile"):
        quiet("smoke", figures=folder)
    project.notebook("good", GOOD)
    with pytest.raises(GaaError, match=r"Unknown parameter of good\.ipynb 'rules'"):
        quiet("smoke", rules=["GAAPlus"], figures=tmp_path / "two")


def test_kernels_compute_on_one_thread_each(project, monkeypatch):
    monkeypatch.setenv("GAA_BATCH", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # put back afterwards
    monkeypatch.delenv("OMP_NUM_THREADS")
    project.notebook("good", GOOD + "\nimport torch\nassert torch.get_num_threads() == 1, torch.get_num_threads()")
    project.plan(PLAN)
    assert quiet("smoke")[0].status == "done"


def test_what_a_notebook_run_by_hand_wrote_does_not_stop_a_reproduction(good):
    own = good.folder / "figures" / "smoke"
    own.mkdir(parents=True)
    (own / "explore.png").write_bytes(b"a picture")
    quiet("smoke")
    assert runs(good) == 1 and (own / "explore.png").read_bytes() == b"a picture"


def test_two_at_once_are_refused(good):
    folder = good.folder / "results" / "notebooks" / "smoke"
    with machinery._alone(folder), pytest.raises(GaaError, match="Another reproduce is at work"):
        quiet("smoke")
