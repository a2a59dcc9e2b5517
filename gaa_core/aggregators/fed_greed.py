from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.base import Server
from gaa_core.aggregators.judged import JudgedAggregator, trial_losses


@dataclass(frozen=True)
class FedGreed(JudgedAggregator):
    """The mean of the k submissions with the least f_B after a step along each, k grown for as long as the mean gains.

    Growth stops at the first submission whose admission would raise f_B after a step along the mean; equal losses
    admit. The best is taken whatever its loss. For any number of Byzantine workers; at most 2n evaluations of f_B a
    step. Source: Kritharakis et al. 2025, "FedGreed: a Byzantine-robust loss-based aggregation method".
    """

    source = "ours: Kritharakis et al. 2025"

    def judge(self, gradients: Tensor, server: Server) -> tuple[Tensor, Tensor]:
        losses = trial_losses(gradients, server)
        order = losses.argsort(stable=True).tolist()
        mean, least, admitted = gradients[order[0]].clone(), float(losses[order[0]]), 1
        for worker in order[1:]:
            wider = mean + (gradients[worker] - mean) / (admitted + 1)
            loss = float(trial_losses(wider[None], server))
            if not loss <= least:
                break
            mean, least, admitted = wider, loss, admitted + 1
        weights = gradients.new_zeros(len(gradients))
        weights[order[:admitted]] = 1.0 / admitted
        return mean, weights
