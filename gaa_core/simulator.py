"""run(): Byzantine-tolerant distributed training as the paper describes it (section 2). Start reading here.

At every step the server sends theta, worker i submits V_i, a rule F combines the submissions and the server steps
theta <- theta - lr * F(V_1 .. V_n). A role schedule says who misbehaves, an attack says what they submit instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator
from gaa_core.attacks.base import LEAKS, Attack, Knowledge
from gaa_core.cases.base import CaseStudy, Settings, Split
from gaa_core.engine import Engine, LocalEngine
from gaa_core.errors import GaaError, UnknownName
from gaa_core.models import FlatModel
from gaa_core.partition import partition as share_out
from gaa_core.qv import draw_qv
from gaa_core.recorder import Recorder, describe, pairwise_distances
from gaa_core.resume import load_checkpoint, save_checkpoint
from gaa_core.roles import RoleSchedule, none
from gaa_core.server import ParameterServer
from gaa_core.trace import Trace


def run(
    case: CaseStudy,
    rule: Aggregator | Callable[[Tensor], Tensor],
    *,
    progress: Callable[[int], None] | None = None,
    threads: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    resume: bool = False,
    **options,
) -> Trace:
    """Train `case` under `rule`; everything that happened is in the Trace. `options` are those of `Simulation`.

    `progress` is called with the number of finished steps. Same arguments, same trace, bit by bit, but for `seconds`.
    `threads` is how many of the processor's cores the arithmetic may use: for the small networks of the paper one is
    quickest, and sums added up by another number of threads differ in the last bits.

    With a `checkpoint` file the run is written down every `checkpoint_every` steps; with `resume` it goes on from
    there, if there is one, to the same trace as if it had never stopped (what a plain function remembers is not kept).
    """
    known = [name for name in inspect.signature(Simulation).parameters if name not in ("case", "rule")]
    for name in options:
        if name not in known:
            raise UnknownName("option of run", name, known)
    if checkpoint_every < 1 or (resume and checkpoint is None):
        raise GaaError("Resuming needs a checkpoint file, and checkpoint_every must be 1 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Simulation(case, rule, **options) as simulation:
            if checkpoint is not None and resume:
                load_checkpoint(simulation, checkpoint)
            while simulation.server.step < simulation.settings.steps:
                simulation.advance()
                if checkpoint is not None and simulation.server.step % checkpoint_every == 0:
                    save_checkpoint(simulation, checkpoint)
                if progress is not None:
                    progress(simulation.server.step)
            return simulation.trace()
    finally:
        torch.set_num_threads(before)


class Simulation:
    """One training run, step by step: `advance()` until you have seen enough, then `trace()`.

    `n, steps, lr, batch_size, qv_size, cooldown` override the case's settings. `rule` is an Aggregator or any callable
    [n, d] -> [d]; `attack` an Attack or a callable (own [b, d], honest [h, d], generator) -> [b, d]; `roles` a schedule
    (step) -> bool [n]. `partition` is "iid" (the paper's assumption: every worker draws from the whole training set,
    so that its gradient is an unbiased estimate of the true one), "shards" (dealt out evenly), "dirichlet" (with
    `alpha`) or "label_skew". The test set is looked at every `eval_every` steps (default: 25 times a run) and after
    the last. `engine` is where the workers are (None: all in this process); `method` chooses how gradients are computed
    there ("auto", "vmap", "loop"). `record_distances` keeps the distances between the submissions of every step in the
    trace's `extras`. Raises GaaError for settings that cannot be. Leave it by `close()` or a `with` block when the
    engine has workers of its own.
    """

    def __init__(
        self,
        case: CaseStudy,
        rule: Aggregator | Callable[[Tensor], Tensor],
        *,
        attack: Attack | Callable | None = None,
        roles: RoleSchedule | Callable[[int], Tensor] | None = None,
        n: int | None = None,
        steps: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        qv_size: int | None = None,
        cooldown: float | None = None,
        qv_source: str = "golden",
        partition: str = "iid",
        alpha: float = 0.3,
        seed: int = 0,
        eval_every: int | None = None,
        engine: Engine | None = None,
        method: str = "auto",
        device: str = "cpu",
        record_distances: bool = False,
    ):
        n = engine.workers if n is None and engine is not None else n
        chosen = {"n": n, "steps": steps, "lr": lr, "batch_size": batch_size, "qv_size": qv_size, "cooldown": cooldown}
        self.settings = _resolve(case, **chosen)
        self.case, self.rule, self.attack, self.seed = case, rule, attack, seed
        self.roles = none(self.settings.n) if roles is None else roles
        _check(rule, attack, self.roles, self.settings)
        self.data = case.load()
        draw = partial(draw_qv, case, self.data, qv_source, self.settings.qv_size)
        qv, remain = draw(seeding.generator(seed, "qv"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.derive(seed, "model"))
            model = FlatModel(case.model(self.data).to(device))
        remain = remain.nonzero().squeeze(1)  # training samples that the QV set left
        parts = share_out(self.data.train.targets[remain], self.settings.n, partition, alpha=alpha, seed=seed)
        shards = [remain[part] for part in parts]
        work = (model, self.data.train.to(device), shards, self.settings.batch_size, seed, method)
        self.server = ParameterServer(model, qv.to(device), model.initial().to(device), self.settings.lr)
        self.test = self.data.test.to(device)
        self._looked: tuple[Tensor, Tensor] | None = None  # parameters, and how they did on the test set
        self.composition = torch.bincount(qv.targets, minlength=len(self.data.classes))  # QV samples of each class
        self.leaked: Split | None = None
        if getattr(attack, "leak", "none") == "samples":
            self.leaked = self.server.qv
        elif getattr(attack, "leak", "none") == "distribution":
            self.leaked = draw(seeding.generator(seed, "leak"))[0].to(device)
        self.eval_every = eval_every or max(1, self.settings.steps // 25)
        if isinstance(rule, LearningAggregator):
            rule.reset(self.settings.n, model.d, seeding.generator(seed, "agent"))
        choices = {"qv_source": qv_source, "partition": partition, "alpha": alpha, "seed": seed, "device": device}
        choices |= {} if engine is None else {"engine": repr(engine)}
        self.record_distances = record_distances
        self.recorder = Recorder(describe(case, self.data, rule, attack, self.roles, self.settings, **choices))
        self.engine = LocalEngine(*work) if engine is None else engine.begin(*work)

    def advance(self) -> None:
        """One step of the parameter server: everybody is asked, some tamper, the rule decides, theta moves."""
        start = time.perf_counter()
        server, step = self.server, self.server.step
        server.lr = self.settings.lr_at(step)
        byzantine = self.roles(step)  # bool [n]
        self.inform(byzantine)
        answers = self.engine.ask(server.parameters, step, self.attack, byzantine)
        submissions = answers.submissions  # [n, d]
        server.byzantine = byzantine  # the truth, for the reference rule Oracle alone
        if isinstance(self.rule, LearningAggregator):
            self.rule.observe(server)
        qv_loss = server.qv_loss()
        update, credits = self.decide(submissions)  # [d], [n] or None
        server.update(update)
        seconds = time.perf_counter() - start
        self.recorder.add(
            loss=answers.heard(byzantine).mean().item(),
            qv_loss=qv_loss,
            byzantine=byzantine,
            credits=credits,
            distances=pairwise_distances(submissions) if self.record_distances else None,
            absences=answers.absences,
            nonfinite=len(submissions) - int(kernels.finite_rows(submissions).sum()),
            accuracy=self.evaluate() if self._is_due(step) else None,
            seconds=seconds,
            **server.interventions(),
        )

    def inform(self, byzantine: Tensor) -> None:
        """An attack that listens learns the step and what its `leak` gives away, and may become another for it."""
        if not isinstance(self.attack, Attack) or type(self.attack).informed is Attack.informed:
            return
        model, credits = self.server.model, self.recorder.credits
        knowledge = Knowledge(
            step=self.server.step,
            parameters=self.server.parameters,
            byzantine=byzantine,
            classes=len(self.data.classes),
            credits=credits[-1] if credits else None,
            composition=None if self.attack.leak == "none" else self.composition,
            samples=self.leaked,
            slope=lambda *arguments: model.gradient(*arguments)[0],
        )
        self.attack = self.attack.informed(knowledge)

    def decide(self, submissions: Tensor) -> tuple[Tensor, Tensor | None]:
        """The update [d] and the credits [n] of this step (None for rules without). Plain callables get finite rows
        only.
        """
        if isinstance(self.rule, Aggregator):
            return self.rule.decide(submissions)
        kept = submissions[kernels.finite_rows(submissions)]
        update = self.rule(kept) if len(kept) else submissions.new_zeros(submissions.shape[1])
        if not isinstance(update, Tensor) or update.shape != submissions.shape[1:]:
            found = tuple(update.shape) if isinstance(update, Tensor) else type(update).__name__
            raise GaaError(
                f"The rule {self.rule!r} must return a tensor of shape {tuple(submissions.shape[1:])}; found {found}."
            )
        return update, None

    def evaluate(self) -> float:
        """Test accuracy at the current parameters, in [0, 1]."""
        return int(self.class_hits().sum()) / len(self.test)

    def class_hits(self) -> Tensor:
        """How many test samples of each class are told right at the current parameters, [classes]; counted once."""
        theta = self.server.parameters
        if self._looked is None or self._looked[0] is not theta:
            classes = len(self.data.classes)
            hits = self.server.model.class_hits(theta, self.test.inputs, self.test.targets, classes)
            self._looked = (theta, hits)
        return self._looked[1]

    def trace(self) -> Trace:
        """What has happened so far. Learning rules see the last parameters first, which closes their last segment."""
        if isinstance(self.rule, LearningAggregator):
            self.rule.observe(self.server)
        trace = self.recorder.trace(final_qv_loss=self.server.qv_loss())
        accuracies = self.class_hits() / torch.bincount(self.test.targets, minlength=len(self.data.classes))
        trace.extras.update(class_accuracy=accuracies.cpu().numpy(), qv_composition=self.composition.cpu().numpy())
        return trace

    def close(self) -> None:
        """Let the engine's workers go."""
        self.engine.end()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _is_due(self, step: int) -> bool:
        return (step + 1) % self.eval_every == 0 or step + 1 == self.settings.steps


def _resolve(case: CaseStudy, **overrides) -> Settings:
    """The case's settings with the caller's overrides; impossible values raise."""
    settings = dataclasses.replace(case.settings, **{name: v for name, v in overrides.items() if v is not None})
    for name in ("n", "steps", "batch_size", "qv_size"):
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise GaaError(f"{name} must be a whole number of at least 1; found {value!r}.")
    if not settings.lr > 0:
        raise GaaError(f"lr must be greater than 0; found {settings.lr!r}.")
    if not 0.0 <= settings.cooldown <= 1.0:
        raise GaaError(f"cooldown must be a share of the steps, from 0 to 1; found {settings.cooldown!r}.")
    return settings


def _check(rule, attack, roles, settings: Settings) -> None:
    """Refuse, before any data is read, what cannot run."""
    if not callable(rule):
        raise GaaError(f"rule must be an Aggregator or a function [n, d] -> [d]; found {rule!r}.")
    if isinstance(rule, type):
        raise GaaError(f"rule must be an instance: write {rule.__name__}(...) instead of {rule.__name__}.")
    if isinstance(rule, Aggregator):
        rule.check_workers(settings.n)
    if attack is not None and not isinstance(attack, Attack) and (isinstance(attack, type) or not callable(attack)):
        raise GaaError(f"attack must be an Attack instance or a function (own, honest, generator); found {attack!r}.")
    if getattr(attack, "leak", "none") not in LEAKS:
        raise UnknownName(f"leak of {type(attack).__name__}", str(attack.leak), LEAKS)
    found = roles(0)
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (settings.n,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GaaError(f"roles must give a bool tensor for n={settings.n} workers; {roles!r} gives {shape}.")
