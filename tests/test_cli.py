"""python -m gaa_core: every command, and that bad input gets one helpful line."""

import contextlib
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gaa_core
from gaa_core import aggregators
from gaa_core.__main__ import main
from gaa_core.errors import GaaError
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rin"], 'Did you mean "run"'),
        (["run", "mnits", "--rule", "gaa"], "Did you mean 'mnist'"),
        (["run", "mnist", "--rule", "gax"], "Did you mean 'gaa'"),
        (["run", "mnist", "--rule", "gaa", "policy_lrr=1"], "Did you mean 'policy_lr'"),
        (["run", "mnist", "--rule", "gaa", "policy_lr"], "name=value; found 'policy_lr'"),
        ([*RUN, "--attack", "gradient_reversal", *ATTACK[3:]], "Did you mean 'gradient_reversion'"),
        ([*RUN, *ATTACK[:4], "statik", "byzantine=2"], "Did you mean 'static'"),
        ([*RUN, *ATTACK[:5], "byzantin=2"], "Did you mean 'byzantine'"),
        ([*RUN, *ATTACK[:5], "byzantine=two"], "byzantine must be a whole number; found 'two'"),
        ([*RUN, *ATTACK[:5]], "static needs byzantine"),
        ([*RUN, *ATTACK[:3]], "needs roles"),
        ([*RUN, "--sede", "3"], "Did you mean --seed"),
        ([*RUN, "--seed", "three"], 'unable to convert "three" into int'),
        ([*RUN, "surplus"], "surplus"),
        (["run", "mnist"], "--rule"),
        ([*RUN, "--device", "gpu"], "device 'gpu' cannot be used"),
        ([*RUN[:4], *ATTACK[:2], "scale=big", *ATTACK[3:]], "scale must be a number; found 'big'"),
        ([*RUN[:4], "horizon=1.5"], "horizon must be a whole number; found '1.5'"),
        ([*RUN, "--qv-source", "gold"], "Did you mean 'golden'"),
        ([*RUN[:4], "--n", "0"], "n must be"),
        ([*RUN, "--n", "5"], "--n specified multiple times"),
        ([*RUN, "--lr", "-1"], "lr must be"),
        ([*RUN, "--plot", "run.doc"], ".png, .pdf or .svg"),
        (["trace", "no-such-run", "--html", "page.html"], "not a finished run"),
        (["list", "rule"], 'Did you mean "rules"'),
        (["reproduce", "--profile", "papers"], 'Did you mean "paper"'),
        (["gallery", "--profile", "papers"], 'Did you mean "paper"'),
    ],
)
def test_unknown_words_are_refused_with_the_nearest_known(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


OWN = """
from dataclasses import dataclass
import torch
from torch import nn
from gaa_core.aggregators import Aggregator
from gaa_core.cases import CaseData, CaseStudy, Settings, Split

@dataclass(frozen=True)
class Half(Aggregator):
    f: int = 1

    def aggregate(self, gradients):
        return gradients.mean(dim=0) / self.f

def push(own, honest, generator):
    return -own

def every_second(n, byzantine=1):
    return lambda step: (torch.arange(n) < byzantine) & (step % 2 == 0)

targets = torch.arange(60) % 3
split = Split(nn.functional.one_hot(targets, 8) + torch.zeros(60, 8), targets)
data = CaseData(split, split, ("a", "b", "c"), "toy", "toy")
case = CaseStudy("mine", "Mine", lambda: data, lambda data: nn.Linear(8, 3), Settings(n=5, qv_size=3, steps=4))
broken = 1
"""


def test_rules_attacks_roles_and_cases_come_from_a_file(capsys, tmp_path):
    file = tmp_path / "my.py"
    file.write_text(OWN)
    words = ["--rule", f"{file}:Half", "f=2", "--attack", f"{file}:push"]
    words += ["--roles", f"{file}:every_second", "byzantine=2"]
    picture = tmp_path / "run.png"
    assert main(["run", f"{file}:case", *words, "--json", "--save", str(tmp_path / "run"), "--plot", str(picture)]) == 0
    trace = Trace.load(tmp_path / "run")
    assert trace.settings["rule"] == "Half(f=2)" and trace.settings["attack"] == "push"
    assert trace.byzantine.sum(axis=1).tolist() == [2, 0, 2, 0]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    capsys.readouterr()
    assert "Did you mean 'Half'" in refused(capsys, "run", f"{file}:case", "--rule", f"{file}:Hlaf")
    assert "does not exist" in refused(capsys, "run", "cms", "--rule", "nowhere.py:Rule")
    assert "expected a CaseStudy" in refused(capsys, "run", f"{file}:broken", "--rule", "mean")
    file.with_name("bad.py").write_text("import no_such_module")
    assert "cannot be loaded: No module named" in refused(capsys, "run", "cms", "--rule", f"{tmp_path}/bad.py:Rule")


def test_a_registered_rule_has_a_name():
    scope: dict = {}
    exec(OWN, scope)
    assert gaa_core.register(scope["Half"]) is scope["Half"]
    try:
        assert main(["run", "cms", "--rule", "half", "f=2", "--steps", "2", "--batch-size", "4"]) == 0
        with pytest.raises(GaaError, match="taken"):
            gaa_core.register(type("Half", (scope["Half"],), {"__module__": "elsewhere"}))
    finally:
        del aggregators.REGISTRY["half"]
    with pytest.raises(GaaError, match="register takes"):
        gaa_core.register(3)


ODD = ["f=1", "f=", "=1", "f=[", "f=None", "--", "-x", "--seed=1e9", "a:b", "x.py:y", "\0"]
NAMES = st.sampled_from(["krum", "sign_flip", "static", ""])


@given(st.sampled_from(["rule", "attack", "roles"]), NAMES, st.lists(st.text(max_size=8) | st.sampled_from(ODD)))
def test_any_words_give_a_run_or_one_sentence(option, name, words):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", "cms", "--steps", "1", "--batch-size", "2", "--rule", "mean", f"--{option}", name, *words])
    assert code == 0 or (code == 2 and len(told.getvalue().splitlines()) == 1), told.getvalue()


def test_save_refuses_a_folder_of_somebody_else_before_training(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    assert "holds 'thesis.tex'" in refused(capsys, *RUN, "--save", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_pictures_of_somebody_else_are_refused_before_training(capsys, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a holiday")
    assert "is not replaced" in refused(capsys, *RUN, "--plot", str(photo))
    assert "is not replaced" in refused(capsys, "demo", "--out", str(photo))
    assert photo.read_bytes() == b"a holiday"


def test_demo_trains_four_rules_and_draws_one_picture(capsys, tmp_path):
    assert main(["demo", "--steps", "6", "--out", str(tmp_path / "demo.png"), "--print"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("Mean()", "Krum(f=3)", "GAA()", "GAAPlus()")) and "█" in shown + "█"
    assert (tmp_path / "demo.png").stat().st_size > 1000
    assert main(["demo", "--steps", "6", "--out", str(tmp_path / "demo.png"), "--print"]) == 0, "ours is replaced"


def test_a_run_becomes_one_page_that_asks_for_nothing_else(capsys, tmp_path):
    assert main([*RUN, *ATTACK, "--save", str(tmp_path / "run")]) == 0
    page = tmp_path / "trace.html"
    assert main(["trace", str(tmp_path / "run"), "--html", str(page)]) == 0
    text = page.read_text()
    assert not re.search(r"(?:src|href)=|https?:|@import|url\(", text)
    capsys.readouterr()
    assert "not a finished run" in refused(capsys, "trace", str(tmp_path), "--html", str(page))
    page.write_text("mine")
    assert "is not replaced" in refused(capsys, "trace", str(tmp_path / "run"), "--html", str(page))


def test_notebooks_are_copied_for_users_of_the_wheel(capsys, tmp_path):
    assert main(["notebooks", str(tmp_path)]) == 0
    assert (tmp_path / "notebooks" / "figures.yml").is_file()
    capsys.readouterr()
    assert "exists already" in refused(capsys, "notebooks", str(tmp_path))


def test_gallery_without_a_profile_is_the_entry_to_all(capsys, project):
    """It opens what was built here, else the page that came with the clone, and writes nothing."""
    assert "run python -m gaa_core reproduce" in refused(capsys, "gallery", "--print")
    for folder in ("", "quick"):
        (project.folder / "figures" / folder).mkdir(parents=True)
        (project.folder / "figures" / folder / "index.html").write_text("")
        assert main(["gallery", "--print"]) == 0
        assert capsys.readouterr().out.strip() == str(project.folder / "figures" / folder / "index.html")


def test_gallery_opens_the_browser_or_says_how_to_get_it(capsys, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert "run python -m gaa_core reproduce" in refused(capsys, "gallery", "--figures", str(tmp_path))
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
