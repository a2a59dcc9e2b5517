"""What the README says is what was measured, and its code runs."""

import re

import pandas as pd
import pytest

from gaa_core import report

ROW = re.compile(r"\| (0\.\d+) \| ([^|]+), (\d) of 10 \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")


def test_the_step_size_table_is_its_csv(repository):
    runs = pd.read_csv(repository / "figures/paper/mnist_step_sizes.csv")
    rows = ROW.findall((repository / "README.md").read_text(encoding="utf-8"))
    assert len(rows) == 10
    for size, attack, attackers, *cells in rows:
        name = "random fault" if attack.startswith("random fault") else attack
        mine = runs[
            (runs["lr"] == float(size)) & (runs["attack_name"] == name) & (runs["ratio"] == int(attackers) / 10)
        ]
        clean = runs[(runs["lr"] == float(size)) & (runs["attack_name"] == "none")]
        parts = [mine[mine["rule"] == "GAA()"], mine[mine["rule"].str.startswith("GAA(norm_bound")], clean]
        for part, cell in zip(parts, cells, strict=True):
            values = 100 * part["accuracy"]
            assert len(values) == 3
            assert cell == f"{values.mean():.1f} ± {values.std(ddof=0):.1f}"


def test_the_small_table_of_claims_is_that_of_the_figures(repository, tmp_path):
    """`reproduce --update-readme` wrote it last; an empty block waits for the first figures."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    if not text.split(report.BEGIN)[1].split(report.END)[0].strip():
        pytest.skip("the README has no table of claims yet")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    report.update_readme(tmp_path / "README.md", report.claims_table(repository / "figures/paper"))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


def test_the_first_example_runs_as_written(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    exec(first.replace("steps=300", "steps=4"), {})


def test_the_example_of_a_rule_is_one(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class HalfMean" in block)
    scope: dict = {}
    exec(
        "import math, torch\nfrom dataclasses import dataclass\nfrom gaa_core.aggregators import WeightedAggregator\n",
        scope,
    )
    exec(code, scope)
    import torch

    rows = torch.arange(8.0).view(4, 2)
    assert scope["HalfMean"]()(rows).tolist() == [1.0, 2.0]
