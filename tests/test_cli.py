"""python -m gaa_core: every command, and that bad input gets one helpful line."""

from __future__ import annotations

import json
import sys
import types

import pytest

from gaa_core import roles
from gaa_core.__main__ import main
from gaa_core.trace import Trace

RUN = ["run", "mnist", "--rule", "gaa", "--n", "4", "--steps", "2", "--batch-size", "8"]
ATTACK = ["--attack", "gradient_reversion", "scale=10", "--roles", "static", "byzantine=2"]


def refused(capsys, *arguments: str) -> str:
    """The one line that a refused command prints on stderr."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err


def test_list_shows_every_kind_with_its_source(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in ("gaa ", "gradient_reversion ", "pretense ", "mnist "):
        assert f"  {name}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["list", "roles"]) == 0
    assert "gaa " not in capsys.readouterr().out


def test_run_prints_one_machine_readable_line_and_keeps_the_trace(capsys, tmp_path):
    assert main([*RUN, *ATTACK, "--json", "--seed", "3", "--save", str(tmp_path / "trace")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    trace = Trace.load(tmp_path / "trace")
    assert result["accuracy"] == trace.accuracy
    assert (result["case"], result["n"], result["steps"], result["seed"]) == ("mnist", 4, 2, 3)
    assert result["attack"] == "GradientReversion(scale=10)"
    assert trace.byzantine.sum(axis=1).tolist() == [2, 2]


def test_run_prints_a_table_for_people(capsys):
    assert main(RUN) == 0
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "MNIST" in shown and "attack     none" in shown


def test_schedules_take_the_seed_of_the_run(capsys, tmp_path):
    words = ["--attack", "gradient_reversion", "--roles", "randomized", "byzantine=2", "--seed", "9"]
    assert main([*RUN, *words, "--save", str(tmp_path / "trace")]) == 0
    expected = roles.randomized(4, 2, seed=9).table(2)
    assert Trace.load(tmp_path / "trace").byzantine.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rin"], 'Did you mean "run"'),
        (["run", "mnits", "--rule", "gaa"], "Did you mean 'mnist'"),
        (["run", "mnist", "--rule", "gax"], "Did you mean 'gaa'"),
        (["run", "mnist", "--rule", "gaa", "policy_lrr=1"], "Did you mean 'policy_lr'"),
        (["run", "mnist", "--rule", "gaa", "policy_lr"], "name=value; found 'policy_lr'"),
        (
            [*RUN, "--attack", "gradient_reversal", "--roles", "static", "byzantine=2"],
            "Did you mean 'gradient_reversion'",
        ),
        ([*RUN, "--attack", "gradient_reversion", "--roles", "statik", "byzantine=2"], "Did you mean 'static'"),
        ([*RUN, "--attack", "gradient_reversion", "--roles", "static", "byzantin=2"], "Did you mean 'byzantine'"),
        (
            [*RUN, "--attack", "gradient_reversion", "--roles", "static", "byzantine=two"],
            "byzantine must be a whole number; found 'two'",
        ),
        ([*RUN, "--attack", "gradient_reversion", "--roles", "static"], "static needs byzantine"),
        ([*RUN, "--attack", "gradient_reversion"], "needs roles"),
        ([*RUN, "--sede", "3"], "Did you mean --seed"),
        ([*RUN, "--seed", "three"], 'unable to convert "three" into int'),
        ([*RUN, "surplus"], "surplus"),
        (["run", "mnist"], "--rule"),
        (["list", "rule"], 'Did you mean "rules"'),
        (["reproduce", "--profile", "papers"], 'Did you mean "paper"'),
        (["gallery", "--profile", "papers"], 'Did you mean "paper"'),
    ],
)
def test_unknown_words_are_refused_with_the_nearest_known(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_gallery_prints_its_path_or_says_how_to_get_it(capsys, tmp_path):
    assert "run python -m gaa_core reproduce" in refused(capsys, "gallery", "--print", "--figures", str(tmp_path))
    (tmp_path / "index.html").write_text("")
    assert main(["gallery", "--print", "--figures", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")


def test_gallery_without_a_profile_is_the_entry_to_all(capsys, project):
    """It opens what was built here, else the page that came with the clone, and writes nothing."""
    assert "run python -m gaa_core reproduce" in refused(capsys, "gallery", "--print")
    for folder in ("", "quick"):
        (project.folder / "figures" / folder).mkdir(parents=True)
        (project.folder / "figures" / folder / "index.html").write_text("")
        assert main(["gallery", "--print"]) == 0
        assert capsys.readouterr().out.strip() == str(project.folder / "figures" / folder / "index.html")


def test_gallery_opens_the_browser(capsys, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    (tmp_path / "index.html").write_text("")
    assert main(["gallery", "--figures", str(tmp_path)]) == 0
    assert opened == [(tmp_path / "index.html").as_uri()]


def test_reproduce_shows_the_table_and_tells_of_failures(capsys, project, monkeypatch):
    monkeypatch.setenv("GAA_BATCH", "")  # set by a run; put back afterwards
    project.notebook("bad", "1 / 0")
    project.plan("notebooks: [{name: bad, title: Bad}]")
    (project.folder / "README.md").write_text("<!-- claims:begin -->\n<!-- claims:end -->\n")
    assert main(["reproduce", "--dry-run"]) == 0
    assert "bad: would run" in capsys.readouterr().out
    assert main(["reproduce", "--update-readme"]) == 1
    printed = capsys.readouterr()
    assert "No claim" in printed.out and str(project.folder / "figures" / "quick" / "index.html") in printed.out
    assert "bad failed: ZeroDivisionError: division by zero" in printed.err
    assert "No claim" in (project.folder / "README.md").read_text()


def test_fetch_passes_the_names_on(monkeypatch):
    from gaa_core import datasets

    asked = []
    monkeypatch.setattr(datasets, "fetch", asked.append, raising=False)
    assert main(["fetch", "mnist", "cms"]) == 0
    assert asked == [["mnist", "cms"]]


def test_bench_gets_its_own_options(monkeypatch):
    asked = []
    module = types.SimpleNamespace(main=lambda arguments: asked.append(arguments))
    monkeypatch.setitem(sys.modules, "gaa_core.bench", module)
    assert main(["bench", "--help", "anything"]) == 0
    assert asked == [["--help", "anything"]]
