"""Names of rules and attacks: one way to spell each, and every way of asking finds it."""

import pytest

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
