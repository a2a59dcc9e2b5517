from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.aggregators.base import check_count
from gaa_core.aggregators.composition import PreAggregator


@dataclass(frozen=True)
class Bucketing(PreAggregator):
    """Means of random groups of `size` submissions; the last group may be smaller.

    Up to f Byzantine workers spoil up to f of the ceil(n/size) groups, so that the rule behind keeps its f. The shuffle
    depends on `seed` and n alone: the same submissions give the same answer. O(nd).
    Source: Karimireddy et al. 2022, "Byzantine-robust learning on heterogeneous datasets via bucketing".
    """

    size: int = 2
    seed: int = 0
    source = "ours: Karimireddy et al. 2022"
    exempt = {"row order": "groups are drawn by place"}

    def __post_init__(self) -> None:
        check_count(self, "size", self.size, least=1)

    def rows(self, n: int) -> int:
        return -(-n // self.size)

    def mixing(self, gradients: Tensor) -> Tensor:  # [n, d] -> [ceil(n / size), n]
        n = len(gradients)
        groups = torch.randperm(n, generator=seeding.generator(self.seed, "bucketing", n)) // self.size
        members = torch.nn.functional.one_hot(groups, self.rows(n)).T.to(gradients)
        return members / members.sum(dim=1, keepdim=True)
