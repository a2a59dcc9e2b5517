"""Any options of `run` give a trace, or a GaaError of one sentence; nothing else."""

import math
import warnings

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaa_core import roles, run
from gaa_core.aggregators import GAA, Krum, Mean
from gaa_core.attacks import GradientReversion, LabelFlip, RandomFault
from gaa_core.cases import CMS
from gaa_core.errors import GaaError

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(-2, 2),
    st.sampled_from([math.nan, math.inf, "", "iid", "golden", "vmap", "gpu", b"x", (), [1], {"a": 1}, object()]),
    st.sampled_from([np.int64(3), np.float32(0.5), torch.tensor(2), torch.tensor([0.1]), Mean, GradientReversion]),
    st.sampled_from([lambda *_: None, lambda *_: torch.zeros(3), lambda *_: 1 / 0, lambda own, *_: own * torch.nan]),
)
RULES = st.sampled_from(
    [Mean(), Krum(f=1), GAA(), lambda g: g.median(dim=0).values, lambda g: g.sum(), lambda g: g.int()]
)
ATTACKS = st.sampled_from(
    [None, GradientReversion(), RandomFault(std=1e30), LabelFlip(classes=2), lambda own, *_: own / 0]
)
ROLES = st.sampled_from([None, roles.static(5, 2), roles.static(4, 2), roles.randomized(5, 3, seed=1)])
NAMES = [
    *("attack", "roles", "n", "steps", "lr", "batch_size", "qv_size"),
    *("qv_source", "partition", "alpha", "seed", "device", "cooldown"),
    *("optimizer", "scheduler", "weight_decay", "worker_momentum", "local_steps"),
    *("participation", "compress", "eval_every", "method", "engine", "record_distances"),
    *("threads", "checkpoint_every", "resume"),
]


def sentences(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text.strip() and "Traceback" not in text


@given(RULES | JUNK, ATTACKS, ROLES, st.dictionaries(st.sampled_from(NAMES), JUNK, max_size=2))
def test_any_options_of_run_give_a_trace_or_one_sentence(rule, attack, schedule, options):
    usual = {"attack": attack, "roles": schedule, "n": 5, "steps": 2, "batch_size": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trace = run(CMS, rule, **(usual | options))
        except GaaError as error:
            assert sentences(str(error)), error
        else:
            assert len(trace.steps) == trace.settings["steps"]
