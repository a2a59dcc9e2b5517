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


def test_a_name_is_the_file_s_and_the_class_s():
    assert {"dnc", "monna", "fltrust", "multi_krum", "geo_med", "a_little_is_enough"} <= set(NAMED)
    for name, cls in NAMED.items():
        assert name.replace("_", "") == cls.__name__.lower()
        if cls.__module__.rpartition(".")[2].replace("_", "") == cls.__name__.lower():
            assert cls.__module__.endswith(f".{name}")


def test_every_spelling_finds_it_and_a_wrong_name_is_told_the_nearest():
    for asked in ("dnc", "DnC", "dn_c", "DNC"):
        assert registry.lookup("rule", asked, aggregators.REGISTRY) is aggregators.DnC
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


def test_an_installed_package_adds_rules_and_attacks_by_entry_points(tmp_path):
    """A distribution as pip leaves it; one entry that cannot be loaded breaks nothing else."""
    (tmp_path / "others.py").write_text(
        "from dataclasses import dataclass\n"
        "from gaa_core.aggregators.base import Aggregator\n"
        "from gaa_core.attacks.base import Attack\n\n"
        "@dataclass(frozen=True)\n"
        "class LastRow(Aggregator):\n"
        "    def aggregate(self, gradients):\n"
        "        return gradients[-1]\n\n"
        "@dataclass(frozen=True)\n"
        "class Silence(Attack):\n"
        "    def forge(self, own, honest, generator):\n"
        "        return 0 * own\n"
    )
    metadata = tmp_path / "others-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    rules, attack = "last_row = others:LastRow\ngone = others:Gone", "silence = others:Silence"
    (metadata / "entry_points.txt").write_text(f"[gaa_core.aggregators]\n{rules}\n[gaa_core.attacks]\n{attack}\n")
    words = "run cms --rule last_row --attack silence --roles static byzantine=3 --steps 2"
    done = subprocess.run(
        [sys.executable, "-m", "gaa_core", *words.split()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(gaa_core.__file__).parents[1])])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "LastRow" in done.stdout, done.stderr
    assert "others:Gone of gaa_core.aggregators cannot be loaded" in done.stderr


def test_completion_shows_the_public_names_alone():
    assert dir(gaa_core) == sorted(gaa_core.__all__)
    assert {"run", "case", "Guard", "Trace", "check_aggregator", "register", "plots", "roles"} <= set(dir(gaa_core))
    assert all(getattr(gaa_core, name) is not None for name in dir(gaa_core))
