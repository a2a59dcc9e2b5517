"""Names of rules and attacks: one way to spell each, and every way of asking finds it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gaa_core
from gaa_core import aggregators, attacks, registry
from gaa_core.errors import UnknownName

NAMED = {**aggregators.REGISTRY, **aggregators.PRE_AGGREGATORS, **attacks.REGISTRY}


def test_abbreviations_are_one_word():
    assert {"dnc", "monna", "fltrust", "bygars", "caf", "smea", "cge", "mda", "flame", "arc", "gaa"} <= set(NAMED)
    assert {"multi_krum", "geo_med", "linear_gar", "zeno_plus_plus", "a_little_is_enough"} <= set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_a_name_is_the_file_s_and_the_class_s(name):
    cls = NAMED[name]
    assert name.replace("_", "") == cls.__name__.lower()
    if cls.__module__.rpartition(".")[2].replace("_", "") == cls.__name__.lower():
        assert cls.__module__.endswith(f".{name}")


@pytest.mark.parametrize("asked", ["dnc", "DnC", "dn_c", "DNC"])
def test_every_spelling_finds_it(asked):
    assert registry.lookup("rule", asked, aggregators.REGISTRY) is aggregators.DnC


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'monna'"):
        registry.lookup("rule", "monaa", aggregators.REGISTRY)


def test_a_new_file_is_a_new_rule(tmp_path):
    """Dropped into the folder, it is in the registry and can be imported by name, with nothing else edited."""
    package = Path(aggregators.__file__).parents[1]
    copy = tmp_path / "gaa_core"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "packaged"))
    (copy / "aggregators" / "first_row.py").write_text(
        "from dataclasses import dataclass\n"
        "from gaa_core.aggregators.base import Aggregator\n\n"
        "@dataclass(frozen=True)\n"
        "class FirstRow(Aggregator):\n"
        "    def aggregate(self, gradients):\n"
        "        return gradients[0]\n"
    )
    code = "from gaa_core.aggregators import REGISTRY, FirstRow; assert REGISTRY['first_row'] is FirstRow"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}
    )


def test_every_listed_class_is_found_and_a_wrong_one_is_not():
    assert aggregators.Krum is aggregators.REGISTRY["krum"]
    with pytest.raises(ImportError):
        from gaa_core.aggregators import Krumm  # noqa: F401


def test_completion_shows_the_public_names_alone():
    assert dir(gaa_core) == sorted(gaa_core.__all__)
    assert {"run", "case", "Guard", "Trace", "check_aggregator", "register", "plots", "roles"} <= set(dir(gaa_core))
    assert all(getattr(gaa_core, name) is not None for name in dir(gaa_core))
