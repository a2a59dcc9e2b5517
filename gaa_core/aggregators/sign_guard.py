from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels, seeding
from gaa_core.aggregators.base import WeightedAggregator
from gaa_core.errors import GaaError


@dataclass(frozen=True)
class SignGuard(WeightedAggregator):
    """The mean of submissions with usual norms and usual shares of signs, each clipped to the median norm.

    Kept are the norms within `lower` and `upper` times their median, and the largest mean-shift cluster of the shares
    of positive, zero and negative signs on a random tenth of the coordinates (drawn from `seed` alone). When the two
    leave none, the norms alone decide. Takes no f; O(nd + n^2). Source: Xu et al. 2022, "Byzantine-robust federated
    learning through collaborative malicious gradient filtering".
    """

    lower: float = 0.1
    upper: float = 3.0
    seed: int = 0
    source = "ours: Xu et al. 2022"

    def __post_init__(self) -> None:
        if not 0.0 <= self.lower <= 1.0 <= self.upper:
            raise GaaError(
                f"SignGuard needs 0 <= lower <= 1 <= upper; found lower={self.lower!r}, upper={self.upper!r}."
            )

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        lengths = kernels.norms(gradients)
        usual = lengths.median()
        kept = (lengths >= self.lower * usual) & (lengths <= self.upper * usual)
        alike = _largest_cluster(self._sign_shares(gradients))
        if (kept & alike).any():
            kept = kept & alike
        clipped = torch.where(lengths > usual, usual / lengths, 1.0)
        return torch.where(kept, clipped / kept.sum(), 0.0).to(gradients.dtype)

    def _sign_shares(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n, 3]
        d = gradients.shape[1]
        drawn = torch.randperm(d, generator=seeding.generator(self.seed, "sign guard"))[: max(1, d // 10)]
        signs = gradients[:, drawn.sort().values.to(gradients.device)].sign()  # in order: less to fetch
        return torch.stack([(signs == sign).double().mean(dim=1) for sign in (1.0, 0.0, -1.0)], dim=1)


def _largest_cluster(features: Tensor) -> Tensor:  # [n, 3] -> bool [n]
    from sklearn.cluster import MeanShift, estimate_bandwidth  # slow to import, see FLAME

    points = features.cpu().numpy()
    width = estimate_bandwidth(points, quantile=0.5)
    if width < 1e-9:  # half of the points coincide
        counts = (np.abs(points[:, None] - points[None]).sum(axis=2) < 1e-9).sum(axis=1)
        labels = np.abs(points - points[counts.argmax()]).sum(axis=1) >= 1e-9
    else:
        labels = MeanShift(bandwidth=width).fit_predict(points)
    largest = np.bincount(labels.astype(int)).argmax()
    return torch.from_numpy(labels == largest).to(features.device)
