"""What the README says is what was measured, and its code runs."""

import re

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

import gaa_core
from gaa_core import files, report, roles
from gaa_core.aggregators import GAAPlus, Mean
from gaa_core.attacks import GradientReversion
from gaa_core.cases import r2
from gaa_core.reproduce.plan import choose, read_plan


def test_the_small_table_of_claims_is_that_of_the_figures(repository, tmp_path):
    """`reproduce --update-readme` wrote it: GAAPlus of figures/gaa_plus, others of figures/paper, else of the sketch.

    It was made by the command that stands there; agent and sketch by one version of the code, figures/paper by one that
    README names.
    """
    figures = repository / "figures"
    folders = [figures / each for each in ("gaa_plus", "paper", "sketch")]
    made = [files.read_json(folder / "MANIFEST.json")["notebooks"].values() for folder in folders]
    agent, paper, sketch = ({entry["code"] for entry in entries} for entries in made)
    assert agent == sketch and len(agent) == len(paper) == 1
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert paper == agent or f"code\n{min(paper)} in MANIFEST.json" in text
    assert len(choose(read_plan(repository / "notebooks"), re.search(r"--only ([\w ]+)", text)[1].split())) == 4
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    shown = report.claims_table(*folders)
    report.update_readme(tmp_path / "README.md", shown, "figures/claims.md")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    page = (figures / "claims.md").read_text(encoding="utf-8")
    places = {report.anchor(*heading.split(" ", 1)) for heading in re.findall(r"(?m)^## (.*)$", page)}
    assert set(re.findall(r"figures/claims\.md#([\w-]+)", text)) == places
    assert all((figures / picture).is_file() for picture in re.findall(r"\]\(([\w/.]+\.(?:png|html))\)", page))


def test_the_table_of_sampled_attacks_is_that_of_the_runs(repository):
    runs = pd.read_csv(repository / "figures/agent/league_sampled.csv")
    gaps = (100 * (runs["oracle"] - runs["accuracy"])).groupby([runs["rule"], runs["case"]])
    text = (repository / "README.md").read_text(encoding="utf-8")
    for rule in runs["rule"].unique():
        cells = [
            f"{gaps.mean()[rule, case]:.1f}; {gaps.quantile(0.95)[rule, case]:.1f}" for case in ("cms", "mnist", "yelp")
        ]
        assert f"| {rule} | {' | '.join(cells)} |" in text
    named = pd.read_csv(repository / "figures/agent/league_named.csv")
    means = (100 * (named["oracle"] - named["accuracy"])).groupby(named["rule"]).mean()
    told = re.search(r"ends\s([\d.]+) points below Oracle, bounded GAA ([\d.]+), FLTrust (\d+\.\d)", text).groups()
    assert told == tuple(f"{means[rule]:.1f}" for rule in ("GAAPlus", "GAA, bounded", "FLTrust"))
    best = gaps.mean().unstack("case").drop(index="GAAPlus")
    assert (gaps.mean()["GAAPlus"] < best.min()).all()  # what the table is shown for


@pytest.fixture
def examples(repository) -> list[str]:
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_first_example_runs_as_written(examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(examples[0].replace("steps=300", "steps=4").replace("until=100", "until=2"), {})
    assert (tmp_path / "story.png").stat().st_size > 1000


def test_the_example_of_one_s_own_model_runs_as_written(examples):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 8, generator=draw), torch.arange(60) % 3
    split = (x, functional.one_hot(y, 3).float())
    own = {"model": nn.Linear(8, 3), "train": split, "test": split, "x": x[:9], "y": y[:9], "r2": r2}
    gaa = {"gaa_core": gaa_core, "run": gaa_core.run, "GAAPlus": GAAPlus, "torch": torch, "F": functional}
    others = {"rule": Mean(), "attack": GradientReversion(), "attackers": roles.static(10, 3)}
    code = next(block for block in examples if "gaa_core.case(" in block)
    scope = {**own, **gaa, **others, "gradients": list(torch.randn(10, 27, generator=draw))}
    exec(code.replace("participation=0.5,", "participation=0.5, steps=4, batch_size=4, lr=None,"), scope)
    assert isinstance(scope["trace"].model, nn.Module) and len(scope["credits"]) == 10


def test_the_quick_starts_of_other_libraries_run_as_written(examples):
    code = next(block for block in examples if "byzfl =" in block)
    short = {"steps=1000": "steps=4", "eval_every=100": "eval_every=2", "local_steps=125": "local_steps=2"}
    for long in short:
        code = code.replace(long, short[long])
    exec(code, scope := {})
    assert all(0 <= scope[each].accuracy <= 1 and len(scope[each].steps) < 5 for each in ("byzfl", "flower"))
