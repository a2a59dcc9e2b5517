"""The conventions of the notebooks, and that each runs from top to bottom at smoke size."""

import io
import json
import tokenize
from pathlib import Path

import pytest

from gaa_core import files
from gaa_core.reproduce.plan import notebook_parameters, read_plan
from gaa_core.reproduce.records import expected_files

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ALL = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
PLAN = read_plan(FOLDER)

REQUIRED = {"profile": str, "figures_dir": str}
COMMON = REQUIRED | {"results_dir": str, "jobs": int, "seeds": int}


def faults(path: Path) -> list[str]:
    """What in a notebook goes against the conventions, in words."""
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = content["cells"]
    found = []
    if content["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel must be python3")
    for number, cell in enumerate(cells):
        if cell["cell_type"] != "code":
            continue
        if cell["outputs"] or cell["execution_count"] is not None:
            found.append(f"cell {number} is stored with outputs")
    return found + [f"section '{title}' needs prose" for title, prose in sections(cells).items() if not prose]


def sections(cells: list[dict]) -> dict[str, str]:
    """Heading -> the prose of its section, for sections that have code."""
    title, prose, with_code = "", {"": ""}, []
    for cell in cells:
        if cell["cell_type"] == "code":
            with_code.append(title)
            continue
        for line in "".join(cell["source"]).splitlines():
            if line.startswith("#"):
                title = line.lstrip("# ")
                prose[title] = ""
            else:
                prose[title] += line.strip()
    return {title: prose[title] for title in dict.fromkeys(with_code)}


def parameter_faults(path: Path) -> list[str]:
    """What in the parameters cell goes against the conventions; reading it checks that there is one, of literals."""
    known = notebook_parameters(path)
    found = [
        f"parameter {name} must be {kind.__name__}"
        for name, kind in COMMON.items()
        if (name in known or name in REQUIRED) and type(known.get(name)) is not kind
    ]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (source,) = ("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    for line in filter(str.strip, source.splitlines()):
        tokens = list(tokenize.generate_tokens(io.StringIO(line).readline))
        if line.count("=") != 1:  # papermill's reader takes the last one
            found.append(f"one '=' a line: {line}")
        if not any(token.type == tokenize.COMMENT and len(token.string) > 2 for token in tokens):
            found.append(f"help after #: {line}")
    if len(list(filter(str.strip, source.splitlines()))) != len(known):
        found.append("one parameter a line")
    return found


def test_notebooks_keep_the_conventions():
    assert {path: found for path in ALL if (found := faults(path))} == {}
    assert {item.name: found for item in PLAN if (found := parameter_faults(item.path))} == {}
    assert {path for path in ALL if path.parent == FOLDER} <= {notebook.path for notebook in PLAN}


def test_folders_are_counted_from_the_notebook_s_place():
    """`papermill notebooks/00_tour.ipynb out.ipynb` wrote its figures beside the clone, which is where
    papermill starts kernels."""
    for path in [item.path for item in PLAN] + [FOLDER / "cluster" / "09_cluster.ipynb"]:
        text = path.read_text(encoding="utf-8")
        for name in ("figures_dir", "results_dir"):
            assert f"files.from_notebooks({name}" in text or f'"{name} =' not in text


def test_a_folder_means_the_same_from_everywhere(project, monkeypatch, tmp_path_factory):
    wanted = project.folder / "figures"
    (project.notebooks / "cluster").mkdir()
    for place in (project.folder, project.notebooks, project.folder / "notebooks" / "cluster"):
        monkeypatch.chdir(place)
        folder, within = ("../../figures", "cluster") if place.name == "cluster" else ("../figures", "")
        assert files.from_notebooks(folder, within) == wanted
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert files.from_notebooks("../figures") == FOLDER.parent / "figures"
    assert files.from_notebooks("../../figures", "cluster") == FOLDER.parent / "figures"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No worker is Byzantine")  # smoke runs end before their pretenders turn
@pytest.mark.parametrize("notebook", PLAN, ids=lambda notebook: notebook.name)
def test_notebook_runs_at_smoke_size(notebook, run_notebook, tmp_path):
    """It runs, and writes the figures and claims that the plan lists. `test_reproduce.py` runs kernels."""
    figures = tmp_path / "figures"
    always = {"profile": "smoke", "figures_dir": str(figures)}
    parameters = notebook.resolve("smoke", always, {"results_dir": str(tmp_path / "results"), "jobs": 1, "seeds": None})
    run_notebook(notebook.path, **parameters)
    assert [name for name in expected_files(notebook) if not (figures / name).is_file()] == []


def test_faults_are_seen(project):
    path = project.notebook("good", "1 + 1")
    assert faults(path) == parameter_faults(path) == []
    content = json.loads(path.read_text())
    content["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["2"]}]
    content["cells"][2]["source"] = ["## A section without prose"]
    content["metadata"]["kernelspec"]["name"] = "julia"
    path.write_text(json.dumps(content))
    assert len(faults(path)) == 3
    odd = project.notebook("odd", "1 + 1", parameters='profile = "a=b"  # help\njobs = 2; seeds = 2.0\n')
    assert len(parameter_faults(odd)) == 6
