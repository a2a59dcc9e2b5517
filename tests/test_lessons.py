"""The lessons: empty answers and common mistakes get their words, solutions pass, and both notebooks are one lesson."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gaa_core import aggregators, reproduce
from gaa_core.attacks.base import Attack
from gaa_core.reproduce.plan import Notebook, notebook_parameters

TEACHING = Path(__file__).resolve().parents[1] / "notebooks" / "teaching"
sys.path.append(str(TEACHING))
import checking  # noqa: E402
import checks_adversary as adversary  # noqa: E402
import checks_averaging as averaging  # noqa: E402
import checks_credits as credits  # noqa: E402
import checks_robust as robust  # noqa: E402
import checks_traces as traces  # noqa: E402
import handouts  # noqa: E402
from checking import EMPTY, NotYet  # noqa: E402

LESSONS = sorted(TEACHING.glob("*.ipynb"))
names = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def solution(path: Path) -> Path:
    return path.parent / "solutions" / path.name


def exercises(path: Path) -> list[tuple[str, str, str]]:
    """(imports, exercise, check) of each exercise of a lesson."""
    codes = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in codes]
    imports = "\n".join(line for line in sources[1].splitlines() if line.startswith(("import ", "from ")))
    places = [number for number, cell in enumerate(codes) if "exercise" in tags(cell)]
    for number in places:
        assert "check" in tags(codes[number + 1]), f"no check after {sources[number]}"
    return [(imports, sources[number], sources[number + 1]) for number in places]


EXERCISES = [(path, *each) for path in LESSONS for each in exercises(path)]


@pytest.mark.parametrize(
    ("path", "imports", "exercise", "check"), EXERCISES, ids=lambda value: getattr(value, "stem", "")
)
def test_every_empty_answer_is_recognised_and_told_so(path, imports, exercise, check):
    """The stub as it stands in the lesson, then the cell that checks it, which asks before it runs anything."""
    scope: dict = {}
    exec(imports, scope)
    exec(exercise, scope)
    scope |= {"run": None, "train": None, "case_a": None}
    with pytest.raises(NotYet, match=EMPTY) as told:
        exec(check, scope)
    assert " ".join(told.value._render_traceback_()) == f"Not yet. {told.value}"


@names
def test_lesson_and_solution_differ_in_exercises_only(path):
    lesson, solved = cells(path), cells(solution(path))
    assert len(exercises(path)) >= 5 and len(lesson) == len(solved)
    for mine, other in zip(lesson, solved, strict=True):
        assert (mine["cell_type"], mine["metadata"]) == (other["cell_type"], other["metadata"])
        assert (mine["source"] != other["source"]) == bool(tags(mine) & {"exercise", "title"})
    assert not any("..." in "".join(cell["source"]) for cell in solved if "exercise" in tags(cell))


@names
def test_lessons_open_and_close_as_they_should(path):
    texts = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"]
    assert all(part in texts[0] for part in ("**What you'll do.**", "**What you'll learn.**", "**What you need.**"))
    assert all(part in texts[-1] for part in ("**On your own.**", "**Further reading.**", "What was measured"))
    assert notebook_parameters(path)


@names
@pytest.mark.slow
def test_solution_runs_from_any_folder_without_a_warning(path, run_notebook, capsys):
    small = {"batch_size": 16} if "batch_size" in notebook_parameters(path) else {}
    run_notebook(solution(path), **small)
    printed = capsys.readouterr()
    answers = sum(line.startswith(("Right.", "You said")) for line in printed.out.splitlines())
    assert (answers, printed.err) == (len(exercises(path)), "")


@pytest.mark.slow
def test_a_lesson_stops_in_its_kernel_at_its_first_empty_answer(tmp_path):
    folders = reproduce.Folders(TEACHING, tmp_path, tmp_path, tmp_path)
    told = reproduce.execute(Notebook(path=LESSONS[0], name="lesson", title="Lesson"), {}, folders)
    assert told.startswith(f"NotYet: `average` {EMPTY}")


@pytest.mark.slow
def test_handouts_hold_every_exercise_and_no_answer_and_slides_every_section(tmp_path):
    written = {path.name: path.read_text(encoding="utf-8") for path in handouts.build(tmp_path)}
    assert len(written) == 2 * len(LESSONS)
    for path in LESSONS:
        page, slides = written[f"{path.stem}_handout.html"], written[f"{path.stem}_slides.html"]
        assert page.count("<h3") >= len(exercises(path)) - 1 and "YOUR" in page and len(page) < 40_000
        assert slides.count("<section") > sum("".join(each["source"]).startswith("##") for each in cells(path))


class Impatient(Attack):
    until = 50

    def forge(self, own, honest, generator):
        return (-honest.mean(dim=0)).expand_as(own)


class Meek(Attack):
    until = 50


class Silent(Attack):
    def forge(self, own, honest, generator):
        return 0 * own


class Still(aggregators.LearningAggregator):
    """Gives credits and never learns."""

    def reset(self, n, d, generator):
        self.scores = torch.zeros(n)

    def observe(self, server):
        pass

    def decide(self, gradients):
        given = torch.softmax(self.scores, 0)
        return given @ gradients, given


class Backwards(Still):
    """Gives credit to workers that make the loss rise."""

    sign = 1.0

    def reset(self, n, d, generator):
        super().reset(n, d, generator)
        self.rows = None

    def observe(self, server):
        if self.rows is not None:
            self.scores = self.scores - self.sign * 0.05 * self.rows @ server.qv_gradient()

    def decide(self, gradients):
        self.rows = gradients
        return super().decide(gradients)


class Forward(Backwards):
    sign = -1.0


class NoReturn(Still):
    def decide(self, gradients):
        super().decide(gradients)


def pick(rows, f):
    """Krum in which a row counts itself."""
    distances = torch.cdist(rows, rows) ** 2
    return rows[distances.sort(dim=1).values[:, : len(rows) - f - 2].sum(dim=1).argmin()]


MISTAKES = [
    (averaging.check_average, lambda rows: rows.mean(dim=1), "dimension 0"),
    (averaging.check_average, lambda rows: rows.sum(dim=0), "divide by their number"),
    (averaging.check_average, lambda rows: rows.sum(dim=0) / 10, "n is not always 10"),
    (averaging.check_average, lambda rows: rows.no_such_thing, "AttributeError: .*no_such_thing"),
    (averaging.check_average, lambda rows: None, "is the word `return` missing"),
    (averaging.check_average, lambda rows: rows @ rows, "two shapes do not fit together"),
    (averaging.check_average, lambda rows: rows.mean(dim=5), "there is no such dimension"),
    (averaging.check_average, 3, "must be a function"),
    (averaging.check_standstill, -1, "0.8 times the honest mean"),
    (averaging.check_forge, lambda target, others: target, "counts once"),
    (averaging.check_forge, lambda target, others: 10 * target - others.mean(0), r"their \*sum\*"),
    (averaging.check_forge_linear, lambda target, others, alpha: target - alpha[1:] @ others, "own weight"),
    (averaging.check_attack, lambda own, honest, generator: own[0], r"a table \[1, d\]"),
    (averaging.check_attack, lambda own, honest, generator: honest.mean(0)[None], "minus sign"),
    (robust.check_median, lambda rows: rows.median(dim=0).values, "torch.median takes one"),
    (robust.check_median, lambda rows: rows.mean(dim=0), "That is the mean"),
    (robust.check_displacement, lambda rule, good, bad: (rule(good) - good.mean(0)).norm(), "see the attackers too"),
    (robust.check_breakdown_guess, {"mean": 1, "median": 5, "Krum": 6}, "fewer are not enough"),
    (robust.check_krum, lambda rows, f: pick(rows, f), "counted itself"),
    (robust.check_krum, lambda rows, f: rows[0], r"you picked \(.*\)\.$"),
    (robust.check_mean_around_median, lambda rows, keep: robust._around(rows, rows.mean(0), keep), "can move"),
    (robust.check_mirror, lambda honest: -honest.mean(0).expand_as(honest), "a spread"),
    (credits.check_credits, lambda scores: scores.exp() / scores.exp().sum(), "overflow"),
    (credits.check_credits, lambda scores: torch.ones(len(scores)) / len(scores), "the softmax is"),
    (credits.check_slopes, lambda rows, g, lr: lr * rows @ g, "The sign"),
    (credits.check_agent, Still(), "credits are what they were"),
    (credits.check_agent, Backwards(), "the wrong way"),
    (credits.check_agent, NoReturn(), "`agent.decide` gives None"),
    (adversary.check_reverse, lambda own, honest, generator: -own, "the length is not"),
    (adversary.check_fool_krum, lambda own, honest, generator: honest.mean(0).expand_as(own), "add a minus sign"),
    (adversary.check_patience, Impatient(), "attacks already"),
    (adversary.check_patience, Meek(), "still behaves"),
    (adversary.check_well_formed, Silent(), "all zero"),
    (traces.check_precision_recall, lambda accused, guilty: (0.4, 0.5), "wrong way round"),
    (traces.check_alarm, lambda loss, window: int(np.diff(np.log(loss)).argmin()), "expected"),
    (traces.check_alike, lambda moves: np.corrcoef(moves.T), "about each worker's mean"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "answer", "hint"), MISTAKES)
def test_a_common_mistake_gets_its_own_hint(check, answer, hint):
    with pytest.raises(NotYet, match=hint):
        check(answer)


def test_after_a_syntax_error_the_old_function_is_not_checked():
    """The namespace still holds the answer of an earlier cell; a learner would read its praise as that of the new."""

    def after(source, error=None):
        cell = SimpleNamespace(raw_cell=source)
        checking.note(SimpleNamespace(info=cell, error_before_exec=error, success=error is None))

    def average(gradients):
        return gradients.mean(dim=0)

    after("def average(gradients)\n    return 1", SyntaxError("expected ':'", ("cell", 1, 22, "")))
    with pytest.raises(NotYet, match=r"cannot read the cell of `average` \(expected ':', line 1\)"):
        averaging.check_average(average)
    after("print(1)")
    with pytest.raises(NotYet, match="cannot read"):
        averaging.check_average(average)
    after("def average(gradients):\n    return gradients.mean(dim=0)")
    averaging.check_average(average)


def test_an_agent_that_learns_is_welcome_and_guesses_are_never_wrong(capsys):
    credits.check_agent(Forward())
    assert capsys.readouterr().out.startswith("Right. Seven attackers of ten hold")
    averaging.guessed(0.95, 0.1, "my_guess")
    averaging.guessed(0.12, 0.1, "my_guess")
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert "worth a minute's thought" in first and "well predicted" in second
    with pytest.raises(NotYet, match=r"between 0 and 1, such as 0\.85; found 85"):
        averaging.guessed(85, 0.1, "my_guess")


@pytest.fixture(scope="module")
def case():
    return traces.sealed("A", steps=40, batch_size=8)


def test_a_sealed_trace_does_not_tell(case):
    opened = traces.reveal(case)
    assert opened.byzantine[0].sum() == 3 and opened.byzantine[-1].sum() == 7
    assert not case.byzantine.any()
    assert case.steps["byzantine_ratio"].isna().all() and case.steps["loss"].isna().all()
    with pytest.raises(ValueError, match="sealed case 'D'"):
        traces.sealed("D")


def test_suspects_turn_and_groups_are_judged_by_the_truth(case, capsys):
    for answer, hint in (
        (lambda credits: np.flatnonzero(credits[-1] < 0.5 / credits.shape[1]), "single rows jump"),
        (lambda credits: np.flatnonzero(credits[-20:].mean(0) >= 0.5 / credits.shape[1]), "whom the agent trusts"),
        (lambda credits: credits[-20:].mean(0) < 0.5 / credits.shape[1], "found a mask"),
    ):
        with pytest.raises(NotYet, match=hint):
            traces.check_suspects(answer, case)
    traces.check_turn(22, case)
    traces.check_groups([2, 5, 9], {0, 4, 7, 8}, case)
    assert capsys.readouterr().out.count("Right.") == 2
    with pytest.raises(NotYet, match="look later"):
        traces.check_turn(5, case)
    for first, second, hint in (
        ([0, 4, 7, 8], [2, 5, 9], "the wrong way round"),
        ([2, 5, 9], [0, 4, 7], r"1 member\(s\) missing"),
        ([2, 5, 9], [2, 0, 4, 7, 8], "in both groups"),
    ):
        with pytest.raises(NotYet, match=hint):
            traces.check_groups(first, second, case)
