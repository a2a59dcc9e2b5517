"""run(): Byzantine-tolerant distributed training as the paper describes it (section 2). Start reading here.

At every step the server sends theta, worker i submits V_i, a rule F combines the submissions and the server steps
theta <- theta - lr * F(V_1 .. V_n). A role schedule says who is Byzantine, an attack says what they submit instead.
"""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gaa_core import checkpoint as checkpoints
from gaa_core import kernels, options, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator, decide
from gaa_core.attacks.base import Attack, Knowledge
from gaa_core.cases.base import CaseStudy, Split
from gaa_core.engine import ABSENCES, Engine, LocalEngine, Training
from gaa_core.errors import GaaError
from gaa_core.identity import identity
from gaa_core.models import FlatModel
from gaa_core.partition import partition as share_out
from gaa_core.qv import draw_qv
from gaa_core.roles import RoleSchedule, none
from gaa_core.server import ParameterServer
from gaa_core.trace import Recorder, Trace

#: Options of `run` that say how it goes about its steps, not what a step is.
LOOP = ("callback", "progress", "threads", "checkpoint", "checkpoint_every", "resume")


@options.by_name
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
    given = options.checked(dict(locals()))
    threads, checkpoint_every = given["threads"], given["checkpoint_every"]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with Simulation(**{name: value for name, value in given.items() if name not in LOOP}) as simulation:
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

    def __init__(self, case: CaseStudy, rule: Aggregator | Callable[[Tensor], Tensor], **given):
        asked = options.with_defaults(run, LOOP, given)
        self.settings = options.settings_of(case, asked)
        self.case, self.rule, self.attack, self.seed = case, rule, asked.attack, asked.seed
        self.roles = none(self.settings.n) if asked.roles is None else asked.roles
        options.check(rule, asked.attack, self.roles, self.settings, given=asked.roles is not None)
        device = options.usable_device(asked.device)
        self.data = case.load()
        draw = partial(draw_qv, case, self.data, asked.qv_source, self.settings.qv_size)
        qv, remain = draw(seeding.generator(self.seed, "qv"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.derive(self.seed, "model"))
            model = FlatModel(case.network(self.data).to(device), case.loss)
        train = self.data.train.to(device)
        method, remark = model.choose_method(asked.method, train.inputs, train.targets)
        if remark:
            warnings.warn(remark, stacklevel=2)
        update = {name: getattr(asked, name) for name in ("weight_decay", "optimizer", "scheduler")}
        self.server = ParameterServer(model, qv.to(device), model.initial(), self.settings.lr, **update)
        self.test = self.data.test.to(device)
        self._looked: tuple[Tensor, Tensor] | None = None  # parameters, and the outputs on the test set there
        self.composition = torch.bincount(qv.targets, minlength=len(self.data.classes)) if self.data.classes else None
        self.leaked = self._leak(draw, device)
        self.eval_every = asked.eval_every or options.looking_interval(self.settings, len(self.test), asked.local_steps)
        self.learns = isinstance(rule, LearningAggregator)
        if self.learns:
            rule.reset(self.settings.n, model.d, seeding.generator(self.seed, "agent"))
        self.accepted = 0  # submissions so far that came and were finite
        self.record_distances = asked.record_distances
        names = ("worker_momentum", "local_steps", "participation", "compress")
        training = Training(*(getattr(asked, name) for name in names), local_lr=self.settings.lr)
        self._deciding = (case.model, case.loss, case.metric, rule, self.attack, self.roles, update, training)
        told = options.describe(self, asked, method)
        self.recorder = Recorder(told)
        remain = remain.nonzero().squeeze(1)  # training samples that the QV set left
        share = partial(share_out, self.data.train.targets[remain], self.settings.n, asked.partition)
        shards = [remain[part] for part in share(alpha=asked.alpha, seed=self.seed)]
        work = (model, train, shards, self.settings.batch_size, self.seed, method)
        if asked.engine is not None and any(name in told for name in names):
            raise GaaError(f"{asked.engine!r} submits plain gradients; {', '.join(names)} need engine=None.")
        self.engine = LocalEngine(*work, training=training) if asked.engine is None else asked.engine.begin(*work)

    def advance(self) -> dict:
        """One step of the server: workers submit, attackers forge, the rule decides, theta moves. Returns its row."""
        start = time.perf_counter()
        server, step = self.server, self.server.step
        server.lr = server.step_size(self.settings.lr_at(step))
        byzantine = self.roles(step)  # bool [n]
        self._inform(byzantine)
        answers = self.engine.ask(server.parameters, step, self.attack, byzantine)
        submissions = answers.submissions  # [n, d]
        accepted = kernels.finite_rows(submissions).tolist().count(True)
        self.accepted += accepted
        server.byzantine = byzantine  # the truth, for the reference rule Oracle alone
        if self.learns:
            self.rule.observe(server)
        qv_loss = server.qv_loss()
        update, credits = decide(self.rule, submissions, answers.asked())  # [d], [n] or None
        server.update(update)
        seconds = time.perf_counter() - start
        due = server.step % self.eval_every == 0 or server.step == self.settings.steps
        row = {
            "loss": answers.benign_loss(byzantine),
            "qv_loss": qv_loss,
            "byzantine": byzantine,
            "credits": credits,
            "distances": kernels.pairwise_distances(submissions) if self.record_distances else None,
            "absences": answers.absences,
            "nonfinite": len(submissions) - accepted,
            "accuracy": self.evaluate() if due else None,
            "seconds": seconds,
            **server.interventions(),
        }
        self.recorder.add(**row)
        return row

    def evaluate(self) -> float:
        """The case's metric on the test set at the current parameters; for classes the accuracy, in [0, 1]."""
        return self.case.score(self._outputs(), self.test.targets)

    def trace(self) -> Trace:
        """What has happened so far. Learning rules see the last parameters first, which closes their last segment."""
        if self.learns:
            self.rule.observe(self.server)
        if self.recorder.settings["steps"] == self.server.step and not self.accepted:
            raise GaaError(f"No submission was accepted in {self.server.step} steps, so that nothing was trained.")
        trace = self.recorder.trace(final_qv_loss=self.server.qv_loss())
        if "absences" in trace.extras:
            trace.settings["absences"] = list(ABSENCES)
        if self.data.classes:
            hits = self._outputs().argmax(dim=1) == self.test.targets
            of_class = partial(torch.bincount, minlength=len(self.data.classes))
            accuracies = of_class(self.test.targets[hits]) / of_class(self.test.targets)
            trace.extras.update(class_accuracy=accuracies.cpu().numpy(), qv_composition=self.composition.cpu().numpy())
        return dataclasses.replace(trace, model=self.server.model.trained(self.server.parameters))

    def save(self, path: str | Path) -> None:
        """Write where the run stands between two steps. Refuses what cannot be identified or has no state to save."""
        memory = {name: value for name, value in getattr(self.attack, "__dict__", {}).items() if name.startswith("_")}
        state = {
            "identity": identity(self._deciding, "the run"),
            "settings": self.recorder.settings,
            "accepted": self.accepted,
            "server": self.server.state(),
            "engine": self.engine.state() if hasattr(self.engine, "state") else None,
            "rule": self.rule.state() if self.learns else None,
            "attack": memory,
            "recorder": vars(self.recorder),
        }
        checkpoints.write(path, state)

    def load(self, path: str | Path) -> None:
        """Go on where the checkpoint at `path` stands; no such file leaves a fresh Simulation at its start.

        Raises GaaError when the checkpoint belongs to another run, and says what differs.
        """
        if not Path(path).is_file():
            return
        state = checkpoints.read(path)
        options.refuse_another_run(path, state["settings"], self.recorder.settings)
        if state["identity"] != identity(self._deciding, "the run"):
            raise GaaError(f"{path} was written by a run with other code of its rule, attack, roles or case.")
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
        vars(self.recorder).update(state["recorder"])

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
