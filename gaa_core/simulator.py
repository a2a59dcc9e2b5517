"""run(): Byzantine-tolerant distributed training as the paper describes it (section 2). Start reading here.

At every step the server sends theta, worker i submits V_i, a rule F combines the submissions and the server steps
theta <- theta - lr * F(V_1 .. V_n). A role schedule says who is Byzantine, an attack says what they submit instead.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gaa_core import checkpoint as checkpoints
from gaa_core import kernels, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator
from gaa_core.attacks.base import LEAKS, Attack, Knowledge
from gaa_core.cases.base import CaseStudy, Settings, Split
from gaa_core.engine import Engine, LocalEngine, Training
from gaa_core.errors import GaaError, UnknownName
from gaa_core.identity import identity
from gaa_core.models import FlatModel
from gaa_core.partition import partition as share_out
from gaa_core.qv import draw_qv
from gaa_core.recorder import Recorder, describe, label, pairwise_distances
from gaa_core.roles import RoleSchedule, none
from gaa_core.server import ParameterServer
from gaa_core.trace import Trace

#: The most of a run's time that looks at the test set may take by default, and the bounds of their number.
LOOKING_SHARE, FEWEST_LOOKS, MOST_LOOKS = 0.1, 5, 25

#: A sample's forward and backward pass in training takes as long as this many forward passes in evaluation.
PASSES_IN_TRAINING = 3


def _by_name(function: Callable) -> Callable:
    """The function, with an unknown keyword refused by the nearest known one."""
    known = [name for name in inspect.signature(function).parameters if name not in ("self", "case", "rule")]

    @functools.wraps(function)
    def checked(*args, **options):
        for name in options:
            if name not in (*known, "case", "rule"):
                raise UnknownName("option of run", name, known)
        return function(*args, **options)

    return checked


@_by_name
def run(
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
    qv_source: str = "golden",
    partition: str = "iid",
    alpha: float = 0.3,
    seed: int = 0,
    device: str = "cpu",
    cooldown: float | None = None,
    optimizer: Callable[[list], torch.optim.Optimizer] | None = None,
    scheduler: Callable | None = None,
    weight_decay: float = 0.0,
    worker_momentum: float = 0.0,
    local_steps: int = 1,
    participation: float | Callable[[int], Tensor] = 1.0,
    compress: Callable[[Tensor], Tensor] | None = None,
    eval_every: int | None = None,
    method: str = "auto",
    engine: Engine | None = None,
    record_distances: bool = False,
    callback: Callable[[int, dict], None] | None = None,
    progress: Callable[[int], None] | None = None,
    threads: int = 1,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    resume: bool = False,
) -> Trace:
    """Train `case` under `rule` and return the Trace: steps, credits, roles, and the trained network `trace.model`.

    All options are those of `Simulation`, but for these. `callback(step, row)` gets every step's row, `progress` the
    number of finished steps. `threads` is how many cores the arithmetic may use; for the small networks of the paper
    one is quickest. With a `checkpoint` file the run is saved every `checkpoint_every` steps, and `resume` goes on from
    there to the trace that an uninterrupted run has. Same arguments, same trace, to the bit, but for `seconds`.
    """
    options = dict(locals())
    loop = {"callback", "progress", "threads", "checkpoint", "checkpoint_every", "resume"}
    if checkpoint_every < 1 or (resume and checkpoint is None):
        raise GaaError("Resuming needs a checkpoint file, and checkpoint_every must be 1 or more.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Simulation(**{name: value for name, value in options.items() if name not in loop}) as simulation:
            if resume:
                simulation.load(checkpoint)
            while simulation.server.step < simulation.settings.steps:
                row = simulation.advance()
                if checkpoint is not None and simulation.server.step % checkpoint_every == 0:
                    simulation.save(checkpoint)
                if callback is not None:
                    callback(simulation.server.step - 1, row)
                if progress is not None:
                    progress(simulation.server.step)
            return simulation.trace()
    finally:
        torch.set_num_threads(before)


class Simulation:
    """One training run, step by step: `advance()` until you have seen enough, then `trace()`.

    `n, steps, lr, batch_size, qv_size, cooldown` override the case's settings. `rule` is an Aggregator or any callable
    [n, d] -> [d]; `attack` an Attack or a callable (own [b, d], honest [h, d], generator) -> [b, d]; `roles` a schedule
    (step) -> bool [n]. `partition` is "iid" (the paper's assumption: every worker draws from the whole training set),
    or another of `gaa_core.partition`, which may use `alpha`.

    The server takes plain SGD steps, with `weight_decay` or without; `optimizer(parameters)` makes a torch optimizer
    that takes the aggregate as its gradient instead, and `scheduler(optimizer)` is stepped after each step. Workers
    submit gradients; `worker_momentum`, `local_steps`, `participation` and `compress` are described in
    `engine.Training`.

    The test set is looked at every `eval_every` steps and after the last; by default so often that this takes a tenth
    of the run's time, from 5 to 25 times. `engine` is where the workers are (None: in this process), `method` how
    gradients are computed there ("auto": chosen from the network alone; "analytic", "vmap", "loop").
    `record_distances` keeps the distances between all submissions in `extras`. Raises GaaError for settings that
    cannot be. Leave it by `close()` or a `with` block when the engine has workers of its own.
    """

    @_by_name
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
        qv_source: str = "golden",
        partition: str = "iid",
        alpha: float = 0.3,
        seed: int = 0,
        device: str = "cpu",
        cooldown: float | None = None,
        optimizer: Callable[[list], torch.optim.Optimizer] | None = None,
        scheduler: Callable | None = None,
        weight_decay: float = 0.0,
        worker_momentum: float = 0.0,
        local_steps: int = 1,
        participation: float | Callable[[int], Tensor] = 1.0,
        compress: Callable[[Tensor], Tensor] | None = None,
        eval_every: int | None = None,
        method: str = "auto",
        engine: Engine | None = None,
        record_distances: bool = False,
    ):
        n = engine.workers if n is None and engine is not None else n
        chosen = {"n": n, "steps": steps, "lr": lr, "batch_size": batch_size, "qv_size": qv_size, "cooldown": cooldown}
        self.settings = dataclasses.replace(case.settings, **{k: v for k, v in chosen.items() if v is not None})
        if optimizer is not None and (lr is not None or cooldown or weight_decay):
            raise GaaError("An optimizer has its own step size: give lr, cooldown and weight_decay inside it.")
        if optimizer is None and scheduler is not None:
            raise GaaError("A scheduler needs an optimizer: give optimizer=lambda p: torch.optim.SGD(p, lr) with it.")
        training = Training(worker_momentum, local_steps, self.settings.lr, participation, compress)
        self.case, self.rule, self.attack, self.seed = case, rule, attack, seed
        self.roles = none(self.settings.n) if roles is None else roles
        _check(rule, attack, self.roles, self.settings, given=roles is not None)
        device = _device(device)
        self.data = case.load()
        draw = partial(draw_qv, case, self.data, qv_source, self.settings.qv_size)
        qv, remain = draw(seeding.generator(seed, "qv"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.derive(seed, "model"))
            model = FlatModel(case.network(self.data).to(device), case.loss)
        train = self.data.train.to(device)
        method, remark = model.choose_method(method, train.inputs, train.targets)
        if remark:
            warnings.warn(remark, stacklevel=2)
        remain = remain.nonzero().squeeze(1)  # training samples that the QV set left
        parts = share_out(self.data.train.targets[remain], self.settings.n, partition, alpha=alpha, seed=seed)
        work = (model, train, [remain[part] for part in parts], self.settings.batch_size, seed, method)
        update = {"weight_decay": weight_decay, "optimizer": optimizer, "scheduler": scheduler}
        self.server = ParameterServer(model, qv.to(device), model.initial(), self.settings.lr, **update)
        self.test = self.data.test.to(device)
        self._looked: tuple[Tensor, Tensor] | None = None  # parameters, and the outputs on the test set there
        self.composition = torch.bincount(qv.targets, minlength=len(self.data.classes)) if self.data.classes else None
        self.leaked = self._leak(draw, device)
        self.eval_every = eval_every or _interval(self.settings, len(self.test), local_steps)
        self.started = isinstance(rule, LearningAggregator)
        if self.started:
            rule.reset(self.settings.n, model.d, seeding.generator(seed, "agent"))
        self.accepted = 0  # submissions so far that came and were finite
        self.record_distances = record_distances
        choices = {"qv_source": qv_source, "partition": partition, "alpha": alpha, "seed": seed, "device": device}
        choices |= {"method": method, "threads": torch.get_num_threads(), "metric": label(case.metric)}
        choices |= {name: label(value) for name, value in update.items() if value}
        defaults = Training(local_lr=self.settings.lr)
        for each in dataclasses.fields(training):
            value = getattr(training, each.name)
            if value != getattr(defaults, each.name):
                choices[each.name] = label(value) if callable(value) else value
        choices |= {} if engine is None else {"engine": repr(engine)}
        self._deciding = (case.model, case.loss, case.metric, rule, attack, self.roles, update, training)
        self.recorder = Recorder(describe(case, self.data, rule, attack, self.roles, self.settings, **choices))
        if engine is None:
            self.engine = LocalEngine(*work, training=training)
        elif training != defaults:
            raise GaaError(f"{engine!r} submits plain gradients; momentum, local steps and the like need engine=None.")
        else:
            self.engine = engine.begin(*work)

    def advance(self) -> dict:
        """One step of the server: workers submit, attackers forge, the rule decides, theta moves. Returns its row."""
        start = time.perf_counter()
        server, step = self.server, self.server.step
        server.lr = server.step_size(self.settings.lr_at(step))
        byzantine = self.roles(step)  # bool [n]
        self._inform(byzantine)
        answers = self.engine.ask(server.parameters, step, self.attack, byzantine)
        submissions = answers.submissions  # [n, d]
        finite = kernels.finite_rows(submissions)  # [n]
        self.accepted += int(finite.sum())
        server.byzantine = byzantine  # the truth, for the reference rule Oracle alone
        if self.started:
            self.rule.observe(server)
        qv_loss = server.qv_loss()
        update, credits = self.decide(submissions, answers.asked())  # [d], [n] or None
        server.update(update)
        seconds = time.perf_counter() - start
        row = {
            "loss": answers.benign_loss(byzantine),
            "qv_loss": qv_loss,
            "byzantine": byzantine,
            "credits": credits,
            "distances": pairwise_distances(submissions) if self.record_distances else None,
            "absences": answers.absences,
            "nonfinite": len(finite) - int(finite.sum()),
            "accuracy": self.evaluate() if self._is_due(step) else None,
            "seconds": seconds,
            **server.interventions(),
        }
        self.recorder.add(**row)
        return row

    def decide(self, submissions: Tensor, asked: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The update [d] and the credits [n] of this step (None for rules without).

        Plain callables get the finite rows only. Of workers that were not `asked` (bool [n]), rules without a memory
        see nothing; rules that learn see rows of NaN.
        """
        if isinstance(self.rule, LearningAggregator) or (asked is None and isinstance(self.rule, Aggregator)):
            return self.rule.decide(submissions)
        if isinstance(self.rule, Aggregator):
            update, weights = self.rule.decide(submissions[asked])
            if weights is None:
                return update, None
            credits = weights.new_zeros(len(submissions))
            credits[asked] = weights
            return update, credits
        kept = submissions[kernels.finite_rows(submissions)]
        update = self.rule(kept) if len(kept) else submissions.new_zeros(submissions.shape[1])
        if not isinstance(update, Tensor) or update.shape != submissions.shape[1:]:
            found = tuple(update.shape) if isinstance(update, Tensor) else type(update).__name__
            raise GaaError(
                f"The rule {self.rule!r} must return a tensor of shape {tuple(submissions.shape[1:])}; found {found}."
            )
        return update.detach().to(submissions), None

    def evaluate(self) -> float:
        """The case's metric on the test set at the current parameters; for classes the accuracy, in [0, 1]."""
        return self.case.score(self._outputs(), self.test.targets)

    def trace(self) -> Trace:
        """What has happened so far. Learning rules see the last parameters first, which closes their last segment."""
        if self.started:
            self.rule.observe(self.server)
        if self.recorder.settings["steps"] == self.server.step and not self.accepted:
            raise GaaError(f"No submission was accepted in {self.server.step} steps, so that nothing was trained.")
        trace = self.recorder.trace(final_qv_loss=self.server.qv_loss())
        if self.data.classes:
            hits = self._outputs().argmax(dim=1) == self.test.targets
            of_class = partial(torch.bincount, minlength=len(self.data.classes))
            accuracies = of_class(self.test.targets[hits]) / of_class(self.test.targets)
            trace.extras.update(class_accuracy=accuracies.cpu().numpy(), qv_composition=self.composition.cpu().numpy())
        return dataclasses.replace(trace, model=self.server.model.trained(self.server.parameters))

    def save(self, path: str | Path) -> None:
        """Write where the run stands between two steps. Refuses what cannot be identified or has no state to save."""
        engine = self.engine.state() if hasattr(self.engine, "state") else None
        memory = {name: value for name, value in getattr(self.attack, "__dict__", {}).items() if name.startswith("_")}
        state = {
            "identity": identity(self._deciding, "the run"),
            "settings": self.recorder.settings,
            "accepted": self.accepted,
            "server": self.server.state(),
            "engine": engine,
            "rule": self.rule.state() if self.started else None,
            "attack": memory,
            "recorder": self.recorder.state(),
        }
        checkpoints.write(path, checkpoints.pack(state))

    def load(self, path: str | Path) -> None:
        """Go on where the checkpoint at `path` stands; no such file leaves a fresh Simulation at its start.

        Raises GaaError when the checkpoint belongs to another run, and says what differs.
        """
        if not Path(path).is_file():
            return
        state = checkpoints.unpack(checkpoints.read(path))
        before, now = state["settings"], self.recorder.settings
        for name in sorted((before.keys() | now.keys()) - {"versions", "engine"}):
            if before.get(name) != now.get(name):
                found = f"{name}={before.get(name)!r}; this one has {now.get(name)!r}"
                raise GaaError(f"{path} was written by a run with {found}. Use the same settings, or another file.")
        if state["identity"] != identity(self._deciding, "the run"):
            raise GaaError(
                f"{path} was written by a run with other code of its rule, attack, roles or case; delete it."
            )
        self.accepted = state["accepted"]
        self.server.load_state(state["server"])
        if state["rule"] is not None:
            self.rule.load_state(state["rule"])
        if state["engine"] is not None:
            self.engine.load_state(state["engine"])
        if state["attack"]:
            self.attack = copy.copy(self.attack)  # the one that the user made stays as it is
            for name, value in state["attack"].items():
                object.__setattr__(self.attack, name, value)
        self.recorder.load_state(state["recorder"])

    def close(self) -> None:
        """Let the engine's workers go."""
        self.engine.end()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _inform(self, byzantine: Tensor) -> None:
        """Tell an attack the step and what its `leak` gives away; it may become another for it."""
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

    def _leak(self, draw: Callable, device: str) -> Split | None:
        """The samples that the attack knows: the QV set, others of its distribution, or none."""
        leak = getattr(self.attack, "leak", "none")
        if leak == "samples":
            return self.server.qv
        return draw(seeding.generator(self.seed, "leak"))[0].to(device) if leak == "distribution" else None

    def _outputs(self) -> Tensor:
        """Outputs on the test set at the current parameters, computed once."""
        theta = self.server.parameters
        if self._looked is None or self._looked[0] is not theta:
            self._looked = (theta, self.server.model.predict(theta, self.test.inputs))
        return self._looked[1]

    def _is_due(self, step: int) -> bool:
        return (step + 1) % self.eval_every == 0 or step + 1 == self.settings.steps


def _interval(settings: Settings, tested: int, local_steps: int) -> int:
    """Steps between two looks at the test set, by how many samples a look and a step pass through the network."""
    step = PASSES_IN_TRAINING * settings.n * settings.batch_size * local_steps
    looks = int(LOOKING_SHARE * settings.steps * step / max(1, tested))
    return max(1, settings.steps // min(MOST_LOOKS, max(FEWEST_LOOKS, looks)))


def _device(name: str) -> str:
    """The name of a device of this machine; others raise in one sentence."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise GaaError(f"device '{name}' cannot be used on this machine ({reason}); 'cpu' always can.") from error
    return name


def _check(rule, attack, roles, settings: Settings, given: bool) -> None:
    """Refuse, before any data is read, what cannot run, and an attack that nobody would ever carry out."""
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
    if not callable(roles):
        raise GaaError(
            f"roles must be a schedule (step) -> bool [n], such as roles.static(n, byzantine); found {roles!r}."
        )
    found = roles(0)
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (settings.n,):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GaaError(f"roles must give a bool tensor for n={settings.n} workers; {roles!r} gives {shape}.")
    if attack is None:
        return
    if not given:
        raise GaaError(f"attack={label(attack)} needs roles, which say who carries it out: roles.static(n, byzantine).")
    if not any(bool(roles(step).any()) for step in range(settings.steps)):
        sentence = f"No worker is Byzantine in any of the {settings.steps} steps of {label(roles)}"
        warnings.warn(f"{sentence}, so that attack={label(attack)} never acts.", stacklevel=3)
