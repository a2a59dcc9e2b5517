"""The league: who plays what, that each run is done once, and the search that breaks agents."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
import torch

from gaa_core import aggregators, analysis, attacks, league, league_plots, report, run, studies
from gaa_core.__main__ import main
from gaa_core.aggregators import Bulyan, Mean
from gaa_core.attacks import Blend
from gaa_core.errors import GaaError, UnknownName
from gaa_core.league import breaking, checks, grid
from gaa_core.league.rules import Entrant

SMOKE = league.PROFILES["smoke"][0]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(table, results folder) of the smallest league."""
    results = tmp_path_factory.mktemp("results")
    return league.play([SMOKE], results=results, jobs=1), results


def test_every_rule_of_the_package_plays_or_says_why_not():
    playing = set()
    for entrant in league.ENTRANTS.values():
        rule = entrant.rule(10, 3)
        parts = [rule, *(getattr(rule, name) for name in ("before", "rule") if hasattr(rule, name))]
        playing |= {type(part).__name__ for part in parts}
    known = {cls.__name__ for cls in (*aggregators.REGISTRY.values(), *aggregators.PRE_AGGREGATORS.values())}
    assert known - playing == set(league.ABSENT)


def test_a_rule_is_told_the_true_number_or_the_largest_it_admits():
    assert league.ENTRANTS["Krum"].rule(10, 2).f == 2
    assert league.ENTRANTS["Krum"].rule(10, 9).f == 3
    assert league.ENTRANTS["Zeno"].rule(10, 9).f == 9
    assert league.ENTRANTS["MoNNA"].rule(10, 3).pivot == 9, "the first workers attack"
    with pytest.raises(GaaError, match="not run above n=20"):
        league.ENTRANTS["BruteForce"].rule(50, 15)
    with pytest.raises(GaaError, match="at least 3"):
        Entrant("Bulyan", lambda f, n: Bulyan(f=f)).rule(2, 1)


def test_the_grid_is_whole():
    part = grid.Part("small", ("mnist", "cms"), ("GAA", "Krum"), seeds=2)
    cells = {tuple(game.row()[name] for name in analysis.CELL) for game in league.games(part)}
    wanted = len(league.opponents(150)) * len(grid.SCHEDULES) * len(grid.RATIOS) * 2
    rules = [game for game in league.games(part) if game.row()["name"] in ("GAA", "Krum")]
    assert len({cell for cell in cells if cell[2]}) == wanted and len(rules) == wanted * 2 * 2


def test_a_part_may_have_steps_and_samples_of_its_own():
    part = grid.Part("own", ("cms",), ("GAA",), ("reversion x1",), (("static", 0.7),), steps=7, qv_size=1)
    plain = dict(league.games(dataclasses.replace(part, steps=None, qv_size=None))[0].experiment.options)
    assert plain["steps"] == grid.SETTINGS["cms"].steps and "qv_size" not in plain
    for game in league.games(part):
        own = dict(game.experiment.options)
        assert (own["steps"], own["eval_every"], own["qv_size"]) == (7, 7, 1)


def test_the_paper_league_is_the_whole_one():
    whole = {part.name: part for part in league.PROFILES["paper"]}
    assert {case for part in whole.values() for case in part.cases} == {"mnist", "cifar10", "yelp", "cms"}
    assert {kind for kind, _ in whole["rivals"].roles} == set(grid.SCHEDULES)
    assert not whole["rivals"].attacks and not whole["field"].rules and whole["fifty"].n == 50
    assert not whole["field"].attacks and {ratio for _, ratio in whole["field"].roles} == set(grid.RATIOS)
    assert set(league.AGENTS[1:]) <= set(whole["rivals"].rules), "the agents with a bound on what one worker does"
    assert max(part.seeds for part in whole.values()) <= min(grid.TUNING_SEEDS), "reported seeds are no others'"
    assert not set(grid.TUNING_SEEDS) & set(grid.SEARCH_SEEDS)


def test_references_meet_no_attack_and_run_once_for_all():
    games = [game for game in league.games(SMOKE) if game.row()["name"] in (grid.ORACLE, grid.SERVER_ONLY)]
    assert len(games) == 2 * 2 + 2  # roles x seeds, and seeds
    assert all("attack" not in dict(game.experiment.options) for game in games)


def test_an_attack_does_not_touch_the_oracle():
    arena = grid.Arena(grid.SETTINGS["cms"], league.opponents(4)["reversion x10"], "randomized", 0.7, 4, 0)
    oracle = next(arena.references()).experiment
    options = {**dict(oracle.options), "steps": 4, "eval_every": 4}
    calm = studies.experiment(oracle.case, oracle.rule, **options)
    attacked = studies.experiment(oracle.case, oracle.rule, **options, attack=arena.foe.attack)
    first, second = (run(each.case, each.rule, **dict(each.options)) for each in (calm, attacked))
    assert first.accuracy == second.accuracy


def test_a_row_a_run_beside_its_references(played):
    table, _ = played
    assert len(table) == len(SMOKE.rules) * len(SMOKE.attacks) * len(SMOKE.roles) * SMOKE.seeds
    assert table[["accuracy", "oracle", "server_only"]].notna().all().all() and (table["reason"] == "").all()
    assert "Krum(f=3)" in set(table["told"])


def test_what_was_played_is_not_played_again(played):
    table, results = played
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    assert league.estimate(SMOKE, results=results, jobs=1).due == 0
    assert league.play([SMOKE], results=results, jobs=1).equals(table)
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*")}


def test_a_rule_that_cannot_play_keeps_its_reason(tmp_path):
    part = dataclasses.replace(SMOKE, attacks=SMOKE.attacks[:1], roles=SMOKE.roles[:1], seeds=1)
    refusing = Entrant("Refusing", lambda f, n: Bulyan(f=f), most=5)
    failing = Entrant("Failing", lambda f, n: Breaking())
    table = league.play(
        [part], results=tmp_path, jobs=1, entrants=[refusing, failing, Entrant("Mean", lambda f, n: Mean())]
    )
    reasons = table.set_index("rule")["reason"]
    assert "not run above n=5" in reasons["Refusing"] and "it broke" in reasons["Failing"] and reasons["Mean"] == ""
    assert analysis.standings(table)["cannot"].to_dict() == {"Mean": 0, "Refusing": 1, "Failing": 1}


@dataclasses.dataclass(frozen=True)
class Breaking(aggregators.Aggregator):
    """A rule that raises."""

    def aggregate(self, gradients: torch.Tensor) -> torch.Tensor:
        raise GaaError("it broke")


def test_command_plays_and_says_where_it_is(capsys, played, tmp_path):
    _, results = played
    folders = ["--profile", "smoke", "--jobs", "1", "--results", str(results), "--figures", str(tmp_path)]
    assert main(["league", *folders, "--dry-run"]) == 0
    assert "smoke" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert main(["league", *folders]) == 0
    shown = capsys.readouterr().out
    assert "GAAPlus" in shown and str(tmp_path / "league.csv") in shown
    assert len(pd.read_csv(tmp_path / "league.csv")) == 24
    for name in ("league_ranking", "league_attacks", "league_roles"):
        assert (tmp_path / f"{name}.png").is_file() and (tmp_path / f"{name}.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "papers"], "Did you mean 'paper'"),
        (["--rules", "Krun"], "Did you mean 'Krum'"),
        (["--cases", "mnits"], "Did you mean 'mnist'"),
        (["--part", "rivls", "--profile", "paper"], "Did you mean 'rivals'"),
        (["--seeds", "0"], "at least one seed"),
        (["--search", "Krun"], "Did you mean 'Krum'"),
        (["--search", "Krum", "--cases", "mnits"], "Did you mean 'mnist'"),
        (["--profile", "smoke", "--cases", "mnist"], "nothing to play"),
    ],
)
def test_command_refuses_unknown_words(capsys, words, message, tmp_path):
    assert main(["league", *words, "--results", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_search_finds_the_same_again_and_computes_nothing_twice(tmp_path):
    hunt = league.Hunt(studies.BOUNDED_GAA, cases=("cms",), roles=(("static", 0.7),), seeds=(200,), steps=4)
    options = {"generations": 2, "children": 2, "results": tmp_path, "jobs": 1}
    found = league.search(hunt, **options)
    count = len(list(tmp_path.iterdir()))
    again = league.search(hunt, **options)
    assert again.attack == found.attack and again.history.equals(found.history)
    assert len(list(tmp_path.iterdir())) == count
    assert found.gap == found.history["gap"].max() and found.gap >= found.history.query("generation == 0")["gap"].max()
    assert len(found.history) <= len(league.FOUNDERS) + 4


def test_children_stay_within_the_space():
    generator = torch.Generator().manual_seed(0)
    child = Blend(length=50.0, duty=0.05, jitter=0.0, trust=1.0)
    for _ in range(200):
        other = breaking.mutated(child, 2.0, generator)
        for name, (low, high, *_) in breaking._SPACE.items():
            assert low <= getattr(other, name) <= high
        child = other


def test_requirements_are_judged_by_their_bounds():
    assert checks.Requirement("gap", "", 1.5, 1.5).met and not checks.Requirement("gap", "", 1.51, 1.5).met
    assert checks.Requirement("share", "", 0.95, 0.95, at_least=True).met
    assert not checks.Requirement("share", "", 0.94, 0.95, at_least=True).met
    assert not checks.Requirement("gap", "", float("nan"), 1.5).met


def test_a_claim_about_one_case_names_its_data_alone(tmp_path):
    claims = report.Claims(tmp_path, "08_league")
    found = [checks.Requirement("gap", "", 1.0, 1.5), checks.Requirement("gap", "cms", 2.0, 1.5)]
    league.claim(claims, found, "Mean", "the data of all")
    of_all, of_one = claims.rows
    assert (of_all.case, of_all.data_source, of_all.verdict) == ("all", "the data of all", "holds")
    assert (of_one.case, of_one.verdict) == ("CMS", "fails")
    assert of_one.data_source == grid.SETTINGS["cms"].case.load().source


def test_requirements_of_the_league(played):
    table, _ = played
    found = {(each.name, each.case): each for each in league.league_requirements(table, "Mean")}
    assert found["mean gap to the oracle", ""].figure == pytest.approx(analysis.standings(table).loc["Mean", "mean"])
    assert ("gap under randomized roles, 70% or more", "cms") in found
    assert found["worst cell against ServerOnly", ""].bound == -2.0


def test_a_picture_names_the_data_of_what_it_shows(played, tmp_path):
    table, _ = played
    more = pd.concat([table, table[table["rule"] == "Mean"].assign(case="mnist")])
    league.draw(more, tmp_path)
    sources = {
        name: json.loads((tmp_path / f"league_{name}.json").read_text())["data_source"]
        for name in ("ranking", "attacks", "roles")
    }
    assert "MNIST" in sources["roles"], "it shows who played most, here the mean"
    for name in ("ranking", "attacks"):
        assert "MNIST" not in sources[name], "it shows cells in which all rules played"


def test_the_terminal_ranks_what_the_picture_ranks(played):
    table, _ = played
    shown = league.ranking(table)
    assert shown.startswith("3 rules, 4 cells of CMS\n") and shown.count("cells of") == 1
    more = pd.concat([table, table[table["rule"] != "Krum"].assign(case="mnist")])
    assert [line for line in league.ranking(more).splitlines() if line.endswith(("cells", "CMS"))] == [
        "2 rules, 8 cells",
        "3 rules, 4 cells of CMS",
    ]
    assert "Nothing was played" in league.ranking(table[:0])


def test_the_ranking_compares_rules_over_equal_cells(played, tmp_path, monkeypatch):
    table, _ = played
    drawn = []
    picture = league_plots.ranking
    monkeypatch.setattr(league_plots, "ranking", lambda blocks: drawn.append(blocks) or picture(blocks))
    league.draw(table, tmp_path)
    league.draw(pd.concat([table, table[table["rule"] != "Krum"].assign(case="mnist")]), tmp_path)
    equal, unequal = drawn
    assert list(equal) == ["3 rules, 4 cells of CMS"], "one ranking where all played the same"
    assert list(unequal) == ["2 rules, 8 cells", "3 rules, 4 cells of CMS"]
    assert [set(each["cells"]) for each in unequal.values()] == [{8}, {4}]


def test_the_paper_league_s_runs_give_its_claims(repository):
    folder = repository / "figures" / "paper"
    runs = pd.read_csv(folder / "league.csv", keep_default_na=False, na_values={"accuracy": "", "oracle": ""})
    claims = pd.read_csv(folder / "claims.csv").set_index(["case", "setting"])["measured"]
    for each in league.league_requirements(runs, "GAAPlus"):
        case = grid.SETTINGS[each.case].case.title if each.case else "all"
        sign = "at least" if each.at_least else "at most"
        measured = claims[case, f"GAAPlus: {each.name}; {sign} {each.bound:g}"]
        assert measured == pytest.approx(each.figure, abs=1e-3), (case, each.name)


def test_checks_have_their_own_yardsticks(tmp_path):
    table = league.check({"Mean": Mean()}, cases=["cms"], seeds=1, results=tmp_path, jobs=1, steps=3, eval_every=3)
    rows = table.set_index("check")
    assert rows.loc["no attack", "gap"] == pytest.approx(0.0)
    assert rows.loc["ten similar samples", "reference"] == rows.loc["ten golden samples", "accuracy"]
    names = {each.name for each in league.check_requirements(table, "Mean")}
    assert len(names) == 4, "those without a bound are only reported"


def test_credits_are_judged_by_who_lies(tmp_path):
    rules = {"GAAPlus": aggregators.GAAPlus(), "GAA": aggregators.GAA()}
    table = league.spot(rules, cases=["cms"], seeds=1, results=tmp_path, jobs=1, steps=20, eval_every=20)
    assert table.groupby("rule").size().tolist() == [3, 3]
    assert set(table["schedule"]) == {"static", "randomized"}
    figures = table.set_index(["rule", "schedule", "ratio"])
    assert figures.loc[("GAAPlus", "static", 0.3), "auc_end"] == 1.0
    static, _, randomized = league.spot_requirements(table, "GAAPlus")
    assert static.met and static.bound == 0.99 and static.unit == ""
    assert randomized.bound == 0.95 and "randomized" in randomized.name
    static, _, randomized = league.spot_requirements(table.assign(auc_end=0.98, auc_steps=0.96), "GAAPlus")
    assert (static.figure, static.met) == (0.98, False), "static attackers are judged at the end"
    assert (randomized.figure, randomized.met) == (0.96, True), "attackers drawn anew at all steps"


def test_an_ablation_switches_one_part_off():
    rule = aggregators.GAAPlus()
    for name, other in checks.ablations(rule).items():
        changed = [
            each.name
            for each in dataclasses.fields(rule)
            if each.init and getattr(rule, each.name) != getattr(other, each.name)
        ]
        assert len(changed) == (name != "all parts")


def test_named_attacks_are_plain_blends_of_the_registry():
    assert all(type(attack) in attacks.REGISTRY.values() for attack in league.FOUND.values())
    with pytest.raises(UnknownName, match="min-max"):
        grid.opponent("min-maxx", 10)
