from dataclasses import dataclass

from torch import Tensor

from gaa_core.aggregators.judged import ServerAggregator


@dataclass(frozen=True)
class ServerOnly(ServerAggregator):
    """The gradient of f_B, whatever was submitted: a reference that no attack touches.

    A defence that uses the quasi-validation set and ends below this has lost by using the submissions. Its credits are
    zero.
    """

    source = "ours (reference)"

    def decide(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        self._admit(gradients)
        return self.require_server().qv_gradient().to(gradients.dtype), gradients.new_zeros(len(gradients))
