"""The league: which rules play, what is played, that each run is done once, and what users bring of their own."""

import dataclasses

import pandas as pd
import pytest
import torch

from gaa_core import aggregators, analysis, attacks, league, roles
from gaa_core.__main__ import main
from gaa_core.aggregators import Bulyan, Krum, Mean
from gaa_core.errors import GaaError
from gaa_core.league import Part
from gaa_core.league.entrants import ABSENT, MOST_WORKERS, PARTNERS, Entrant
from gaa_core.league.grid import RATIOS, SCHEDULES
from gaa_core.league.playing import _unique

SMOKE = league.PROFILES["smoke"][0]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(table, results folder) of the smallest league."""
    results = tmp_path_factory.mktemp("results")
    return league.play(SMOKE, results=results, jobs=1), results


def rule(name: str, n: int, attackers: int):
    (entrant,) = league.entrants([name])
    return entrant.rule(n, attackers)


def test_every_registered_rule_plays_or_says_why_not():
    """A new rule file plays without being named here."""
    playing = {name for each in league.entrants() for name in each.name.split(" | ")} | set(ABSENT)
    known = {cls.__name__ for cls in (*aggregators.REGISTRY.values(), *aggregators.PRE_AGGREGATORS.values())}
    assert known <= playing
    assert {*ABSENT, *MOST_WORKERS, *PARTNERS, *PARTNERS.values()} <= known, "exceptions are of rules that exist"
    assert set(league.RIVALS) <= {each.name for each in league.entrants()}


def test_a_rule_is_told_the_true_number_or_the_largest_it_admits():
    assert rule("Krum", 10, 2).f == 2 and rule("Krum", 10, 9).f == 3
    assert rule("Zeno", 10, 9).f == 9
    assert rule("MoNNA", 10, 3).pivot == 9, "the first workers attack"
    with pytest.raises(GaaError, match="not run above n=20"):
        rule("BruteForce", 50, 15)
    with pytest.raises(GaaError, match="at least 3"):
        Entrant("Bulyan", lambda f, n: Bulyan(f=f)).rule(2, 1)


def test_the_grid_is_whole_and_references_meet_no_attack():
    part = Part("small", ("mnist", "cms"), ("GAA", "Krum"), seeds=2)
    games = _unique([part])
    wanted = len(league.NAMED) * len(SCHEDULES) * len(RATIOS) * 2 * 2
    assert sum(game.row["name"] == "Krum" for game in games) == wanted
    calm = [game for game in games if game.row["name"] in ("Oracle", "ServerOnly")]
    assert all("attack" not in dict(game.experiment.options) for game in calm)
    sources = 2  # golden samples, and those of the missing-label attack
    assert len(calm) == 2 * 2 * sources * (len(SCHEDULES) * len(RATIOS) + 1), "each once for all attacks"
    assert all(type(attack) in attacks.REGISTRY.values() for attack in league.NAMED.values())


def test_a_row_a_run_beside_its_references(played):
    table, _ = played
    assert len(table) == len(SMOKE.rules) * len(SMOKE.attacks) * len(SMOKE.roles) * SMOKE.seeds
    assert table[["accuracy", "oracle", "server_only"]].notna().all().all() and (table["reason"] == "").all()
    assert "Krum(f=3)" in set(table["told"]) and "GradientReversion(scale=10.0)" in set(table["attack"])


def test_what_was_played_is_not_played_again(played):
    table, results = played
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    assert league.outlook(SMOKE, results=results)["to do"].tolist() == [0]
    assert league.play(SMOKE, SMOKE, results=results, jobs=1).equals(table)
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*")}


@dataclasses.dataclass(frozen=True)
class Breaking(aggregators.Aggregator):
    """A rule that raises."""

    def aggregate(self, gradients: torch.Tensor) -> torch.Tensor:
        raise GaaError("it broke")


def test_a_rule_that_cannot_play_keeps_its_reason(tmp_path):
    rules = {"Bulyan": Bulyan(f=5), "Breaking": Breaking(), "Mean": Mean()}
    part = dataclasses.replace(SMOKE, rules=rules, attacks=SMOKE.attacks[:1], roles=SMOKE.roles[:1], seeds=1)
    table = league.play(part, results=tmp_path, jobs=1)
    reasons = table.set_index("rule")["reason"]
    assert "at least 23" in reasons["Bulyan"] and "it broke" in reasons["Breaking"] and reasons["Mean"] == ""
    assert analysis.standings(table)["cannot"].to_dict() == {"Mean": 0, "Bulyan": 1, "Breaking": 1}


def test_sampled_attacks_bring_their_roles_and_are_told_as_code(tmp_path):
    (part,) = league.parts("smoke", attacks="sampled:3", first=20_000, rules=["Mean", "Krum"], seeds=1, steps=60)
    opponents = list(part.opponents(60, 0))
    assert [each.attack_name for each in opponents] == ["sampled 20000", "sampled 20001", "sampled 20002"]
    assert all(0 < each.ratio < 1 and each.schedule in roles.REGISTRY for each in opponents)
    table = league.play(part, results=tmp_path, jobs=1)
    code = table["attack"].iloc[0]
    assert eval(code, {"ComposedAttack": type(opponents[0].attack)}) == opponents[0].attack
    assert table.groupby("attack_name")["oracle"].nunique().eq(1).all()
    with pytest.raises(GaaError, match="'sampled:200'; found 'sampled:many'"):
        league.play(dataclasses.replace(part, attacks="sampled:many"), results=tmp_path)


def test_users_bring_rule_attack_case_and_schedule(tmp_path):
    def half(gradients):
        return gradients[: len(gradients) // 2].mean(dim=0)

    def push(own, honest, generator):
        return own + 1.0

    case = dataclasses.replace(league.SETTINGS["cms"].case, name="mine")
    schedule = ("even steps", lambda step: (torch.arange(10) < 2) & (step % 2 == 0))
    part = Part(cases=[case], rules=[half, Krum(f=2)], attacks={"push": push}, roles=[schedule], seeds=1, steps=4)
    table = league.play(part, results=tmp_path, jobs=1)
    assert table[["rule", "attack_name", "schedule", "ratio"]].values.tolist() == [
        ["half", "push", "even steps", 0.2],
        ["Krum(f=2)", "push", "even steps", 0.2],
    ]
    assert table["reason"].tolist() == ["", ""] and table["oracle"].notna().all()
    with pytest.raises(GaaError, match=r"write Krum\(...\)"):
        league.entrants([Krum])


def test_command_plays_and_says_where_it_is(capsys, played, tmp_path):
    _, results = played
    folders = ["--profile", "smoke", "--jobs", "1", "--results", str(results), "--figures", str(tmp_path)]
    assert main(["league", *folders, "--dry-run"]) == 0
    assert "smoke" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert main(["league", *folders]) == 0
    shown = capsys.readouterr().out
    assert "GAAPlus" in shown and str(tmp_path / "league.csv") in shown
    assert len(pd.read_csv(tmp_path / "league.csv")) == 24


def test_command_takes_rule_attack_and_case_from_a_file(capsys, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import dataclasses\nfrom gaa_core.aggregators import Krum\nfrom gaa_core.cases import CMS\n"
        "class Mine(Krum):\n    pass\n"
        "def push(own, honest, generator):\n    return own + 1.0\n"
        "case = dataclasses.replace(CMS, name='mine', settings=dataclasses.replace(CMS.settings, steps=3, n=10))\n"
    )
    words = ["--profile", "smoke", "--rules", f"{own}:Mine", "--attacks", f"{own}:push", "--cases", f"{own}:case"]
    assert main(["league", *words, "--jobs", "1", "--results", str(tmp_path), "--figures", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "league.csv")
    assert set(table["rule"]) == {"Mine"} and set(table["attack_name"]) == {"push"} and set(table["case"]) == {"mine"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "papers"], 'Did you mean "paper"'),
        (["--rules", "Krun"], "Did you mean 'Krum'"),
        (["--cases", "mnits"], "Did you mean 'mnist'"),
        (["--attacks", "min-maxx"], "Did you mean 'min-max'"),
        (["--part", "rivls", "--profile", "paper"], "Did you mean 'rivals'"),
        (["--seeds", "0"], "at least one seed"),
    ],
)
def test_command_refuses_unknown_words(capsys, words, message, tmp_path):
    assert main(["league", *words, "--results", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
