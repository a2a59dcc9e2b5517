"""GAAStrategy under Flower. Its simulation pins another Ray than ours, so it runs in a Python of its own:
that of GAA_FLOWER_PYTHON, or `.venv-flower` in the clone, or this one where Flower is installed.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaa_core.errors import GaaError


@pytest.fixture(scope="module")
def python(repository) -> str:
    own = repository / ".venv-flower/bin/python"
    if os.environ.get("GAA_FLOWER_PYTHON"):
        return os.environ["GAA_FLOWER_PYTHON"]
    if own.exists():
        return str(own)
    if importlib.util.find_spec("flwr") is not None:
        return sys.executable
    return pytest.skip("Flower is not installed: make .venv-flower as the README says, or set GAA_FLOWER_PYTHON")


def call(python: str, home: Path, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(root), "HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return subprocess.run([python, *arguments], env=environment, capture_output=True, text=True, timeout=600, cwd=root)


@pytest.mark.slow
def test_the_strategy_passes_its_tests_there(python, tmp_path):
    words = "-m pytest -q -W default -p no:cacheprovider tests/distributed/under_flower.py"
    done = call(python, tmp_path, *words.split())
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_example_federation_runs_under_flower_s_simulation(python, tmp_path, repository):
    done = call(python, tmp_path, str(repository / "notebooks/cluster/flower_app.py"), "3")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["accuracy"] > 0.6
    assert len(found["credits"]) == 3
    assert all(sum(credits) == pytest.approx(1.0, abs=1e-5) for credits in found["credits"])
    assert all(sorted(credits)[0] < 0.01 and sorted(credits)[1] > 0.2 for credits in found["credits"])


def test_without_flower_one_sentence_says_so():
    if importlib.util.find_spec("flwr") is not None:
        pytest.skip("Flower is installed here")
    with pytest.raises(GaaError, match="Flower is not installed"):
        importlib.import_module("gaa_core.distributed.flower")
