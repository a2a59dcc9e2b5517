from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import Server
from gaa_core.aggregators.judged import BOUNDED_BY_SERVER, JudgedAggregator, share


@dataclass(frozen=True)
class FLTrust(JudgedAggregator):
    """The mean of submissions rescaled to the server gradient's norm, weighted by max(0, cosine with it).

    The server gradient is that of f_B on the quasi-validation set; it is the yardstick and has no vote of its own. When
    no submission has a positive cosine the update is zero. For any number of Byzantine workers; O(nd).
    Source: Cao et al. 2021, "FLTrust: Byzantine-robust federated learning via trust bootstrapping".
    """

    source = "ours: Cao et al. 2021"
    exempt = {"outliers far from zero": BOUNDED_BY_SERVER}

    def judge(self, gradients: Tensor, server: Server) -> tuple[Tensor, Tensor]:
        reference = server.qv_gradient().to(gradients.dtype)
        trust = share(kernels.cosines(gradients, reference).clamp(min=0.0))
        scale = torch.where(trust > 0.0, kernels.norms(reference[None]) / kernels.norms(gradients), 0.0)
        return (trust * scale).to(gradients.dtype) @ gradients, trust
