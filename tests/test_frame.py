"""What a fresh machine meets first: make, pinned versions, the conda file, a quick import."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gaa_core


@pytest.fixture(scope="module")
def pyproject(repository) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def test_every_dependency_is_pinned_to_a_version_it_allows(repository, pyproject):
    project = pyproject["project"]
    extras = dict(project["optional-dependencies"])
    (flower,) = extras.pop("flower")  # lives in an environment of its own: it needs another Ray than ours
    assert "==" in flower
    wanted = [*project["dependencies"], *(name for extra in extras.values() for name in extra)]
    pins: dict[str, list[Requirement]] = {}
    for pin in map(Requirement, lines(repository / "constraints.txt")):
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for requirement in map(Requirement, wanted):
        for pin in pins[canonicalize_name(requirement.name)]:
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert specifier.version in requirement.specifier
    pinned = lines(repository / "constraints.txt")  # torch without naming a build
    assert "torch>=2.6" in project["dependencies"] and "torch==2.13.0" in pinned
    assert not any("+" in line or "--" in line or "@" in line for line in pinned)
    environment = yaml.safe_load((repository / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-e .[test]"]}]
    assert pyproject["project"]["requires-python"] == ">=3.11"


# A stand-in for Python that logs what it is asked, and makes a .venv whose python is itself.
STAND_IN = """\
#!/bin/sh
echo "$*" >> "$LOG"
case "$*" in
    -c*) exit 0 ;;
    "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip --version") [ -f .venv/bin/python ] ;;
    "-m pip install"*) [ ! -f pip-is-broken ] ;;
esac
"""


@pytest.fixture
def clone(repository, tmp_path):
    """A function that runs a target in a folder with the Makefile: (exit code, what Python was asked, stderr)."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repository / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def make(target: str, *arguments: str) -> tuple[int, list[str], str]:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        # The tests themselves may run under make, whose options are none of this one's business.
        outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")
        environment = {name: value for name, value in os.environ.items() if name not in outer}
        command = ["make", "-C", str(tmp_path), target, *(arguments or (f"PYTHON={python}",))]
        result = subprocess.run(
            command, env=environment | {"LOG": str(log)}, capture_output=True, text=True, check=False
        )
        asked = log.read_text().splitlines() if log.exists() else []
        looks = ("-c", "--version", "-m pip --version")
        return result.returncode, [line for line in asked if not line.startswith(looks)], result.stderr

    return make


INSTALL = "-m pip install --disable-pip-version-check -e .[test] -c constraints.txt"


def test_make_reproduce_sets_up_once_and_goes(clone):
    assert clone("reproduce")[:2] == (0, ["-m venv --clear .venv", INSTALL, "-m gaa_core reproduce"])
    assert clone("reproduce")[:2] == (0, ["-m gaa_core reproduce"])
    assert clone("test")[:2] == (0, ["-m pytest -n 2 --dist loadfile --no-loadscope-reorder"])


def test_new_pins_are_installed_into_the_same_venv(clone, tmp_path):
    clone("install")
    later = (tmp_path / ".venv" / "installed").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (later, later))
    assert clone("install")[:2] == (0, [INSTALL])


def test_a_broken_installation_is_done_again(clone, tmp_path):
    (tmp_path / "pip-is-broken").touch()
    assert clone("install")[0] != 0
    (tmp_path / "pip-is-broken").unlink()
    assert clone("install")[:2] == (0, [INSTALL])
    (tmp_path / ".venv" / "installed").unlink()
    (tmp_path / ".venv" / "bin" / "python").unlink()  # interrupted before pip was there
    assert clone("install")[:2] == (0, ["-m venv --clear .venv", INSTALL])


def test_a_missing_python_is_told_in_a_sentence(clone):
    code, asked, told = clone("install", "PYTHON=no-such-python")
    assert code != 0
    assert asked == []
    assert "Python 3.11 or newer is needed and was not found as 'no-such-python'" in told


def test_commands_of_the_repository_stay_on_this_machine(repository):
    (recipe,) = re.findall(r"^lab:.*\n((?:\t.*\n)+)", (repository / "Makefile").read_text(), flags=re.MULTILINE)
    assert "--ServerApp.ip=127.0.0.1" in recipe
    assert "token" not in recipe and "password" not in recipe
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())
    assert [entry["repo"] for entry in hooks["repos"]] == ["local"]
    script = repository / ".ci" / "run"
    assert os.access(script, os.X_OK) and "make test" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_one_version_everywhere(repository, pyproject):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert pyproject["project"]["version"] == gaa_core.__version__ == str(citation["version"])
    assert "## [Unreleased]" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    paper = citation["preferred-citation"]
    assert paper["year"] == 2020
    assert [author["family-names"] for author in paper["authors"]] == ["Pan", "Zhang", "Wu", "Xiao", "Ji", "Yang"]


HEAVY = ("torch", "numpy", "pandas", "matplotlib", "scipy", "sklearn", "papermill", "IPython", "mlxtend")
QUICK = f"""
import json, sys, time
start = time.perf_counter()
import gaa_core
seconds = time.perf_counter() - start
print(json.dumps([seconds, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def test_import_is_quick_and_light():
    printed = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, check=True).stdout
    seconds, heavy = json.loads(printed)
    assert heavy == []
    assert seconds < 3
