from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators.base import WeightedAggregator


@dataclass(frozen=True)
class FLAME(WeightedAggregator):
    """The mean of the submissions in the one cluster of directions that holds a majority, clipped to the median norm.

    Directions are clustered by HDBSCAN on cosine distances with clusters of at least n/2 + 1; norms are compared over
    all submissions, not only the kept. The source's noise, which is there against backdoors, is left out. When no
    cluster holds a majority all are kept, only clipped. Takes no f; needs n >= 3; O(n^2 d). Source: Nguyen et al.
    2022, "FLAME: taming backdoors in federated learning".
    """

    source = "ours: Nguyen et al. 2022 (without noise)"

    def needs(self) -> int:
        return 3

    def weigh(self, gradients: Tensor) -> Tensor:  # [n, d] -> [n]
        lengths = kernels.norms(gradients)
        kept = _majority(cosine_distances(gradients))
        usual = lengths.median()
        clipped = torch.where(lengths > usual, usual / lengths, 1.0)
        return torch.where(kept, clipped / kept.sum(), 0.0).to(gradients.dtype)


def _majority(distances: Tensor) -> Tensor:  # [n, n] -> bool [n]
    from sklearn.cluster import HDBSCAN  # slow to import: half of what a worker process of a sweep would wait for

    n = len(distances)
    clusters = HDBSCAN(
        metric="precomputed", min_cluster_size=n // 2 + 1, min_samples=1, allow_single_cluster=True, copy=True
    )
    labels = clusters.fit_predict(distances.cpu().numpy())
    kept = labels == 0 if (labels == 0).sum() > n // 2 else np.ones(n, dtype=bool)
    return torch.from_numpy(kept).to(distances.device)


def cosine_distances(gradients: Tensor) -> Tensor:  # [n, d] -> float64 [n, n]
    """1 - cosine between all rows; 1 where a row is zero, 0 on the diagonal."""
    products, _ = kernels.gram(gradients, dtype=torch.float64)
    scale = products.diagonal().rsqrt().nan_to_num(posinf=0.0)
    return (1.0 - scale[:, None] * products * scale[None, :]).clamp_(0.0, 2.0).fill_diagonal_(0.0)
