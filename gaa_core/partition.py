"""Who gets which samples: train / test splits, and the training set shared out over the workers."""

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.errors import GaaError, number, one_of, whole

KINDS = ("iid", "shards", "dirichlet", "label_skew", "gamma_similarity")


def partition(targets: Tensor, n: int, kind: str = "iid", *, alpha: float = 0.5, seed: int) -> list[Tensor]:
    """One index tensor per worker: the samples that it draws its batches from. No worker is empty.

    `iid`: all samples, for every worker, so that each one's gradient is an unbiased estimate of the true one (the
    paper's assumption). With the other kinds each sample is one worker's. `shards`: shuffled and dealt out evenly.
    `dirichlet`: each class is shared out in proportions drawn from Dirichlet(alpha); a small alpha gives most of a
    class to one worker (Hsu et al. 2019, arXiv:1909.06335).
    `label_skew`: sorted by class and cut into 2n shards, two of them to a worker (McMahan et al. 2017, section 3), so a
    worker sees about two classes.
    `gamma_similarity`: a share `alpha` of the samples, the gamma of the literature, is dealt out evenly, the others are
    sorted by class and cut into n pieces (Karimireddy et al. 2020, section 7; Allouah et al. 2023).
    """
    one_of("partition", kind, KINDS)
    n, alpha = whole(n, "n"), number(alpha, "alpha")
    if n > len(targets):
        raise GaaError(f"partition needs 1 to {len(targets)} workers for {len(targets)} samples; found n={n}.")
    if kind not in ("iid", "shards") and (targets.is_floating_point() or targets.ndim != 1):
        raise GaaError(f"partition(kind='{kind}') needs targets that are classes; found {targets.dtype} targets.")
    generator = seeding.generator(seed, "partition", n)
    if kind == "iid":
        return [torch.arange(len(targets))] * n
    if kind == "shards":
        return list(torch.randperm(len(targets), generator=generator).tensor_split(n))
    if kind == "dirichlet":
        return _dirichlet(targets, n, alpha, seed, generator)
    if kind == "gamma_similarity":
        return _gamma_similarity(targets, n, alpha, generator)
    return _label_skew(targets, n, generator)


def _dirichlet(targets: Tensor, n: int, alpha: float, seed: int, generator: torch.Generator) -> list[Tensor]:
    import numpy

    if not alpha > 0:
        raise GaaError(f"partition(kind='dirichlet') needs alpha > 0; found {alpha}.")
    draws = numpy.random.default_rng(seeding.derive(seed, "partition dirichlet", n))
    parts: list[list[Tensor]] = [[] for _ in range(n)]
    for label in targets.unique():
        members = _shuffled((targets == label).nonzero().flatten(), generator)
        shares = draws.dirichlet([alpha] * n).cumsum()[:-1]
        for worker, members_of_worker in enumerate(members.tensor_split((shares * len(members)).astype(int).tolist())):
            parts[worker].append(members_of_worker)
    return _fill_empty([_shuffled(torch.cat(part), generator) for part in parts])


def _fill_empty(parts: list[Tensor]) -> list[Tensor]:
    """The same parts, with one sample of the largest part moved to each empty one."""
    for worker in range(len(parts)):
        if len(parts[worker]) == 0:
            largest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[worker], parts[largest] = parts[largest][:1], parts[largest][1:]
    return parts


def _gamma_similarity(targets: Tensor, n: int, gamma: float, generator: torch.Generator) -> list[Tensor]:
    if not 0 <= gamma <= 1:
        raise GaaError(f"partition(kind='gamma_similarity') needs alpha, its gamma, from 0 to 1; found {gamma}.")
    shuffled = torch.randperm(len(targets), generator=generator)
    mixed = round(gamma * len(targets))
    rest = shuffled[mixed:]
    pieces = rest[targets[rest].argsort(stable=True)].tensor_split(n)
    pairs = zip(shuffled[:mixed].tensor_split(n), pieces, strict=True)
    return _fill_empty([_shuffled(torch.cat(pair), generator) for pair in pairs])


def _label_skew(targets: Tensor, n: int, generator: torch.Generator) -> list[Tensor]:
    if 2 * n > len(targets):
        raise GaaError(f"partition(kind='label_skew') needs two samples a worker; found {len(targets)} for n={n}.")
    shuffled = torch.randperm(len(targets), generator=generator)
    by_class = shuffled[targets[shuffled].argsort(stable=True)]
    shards = by_class.tensor_split(2 * n)
    dealt = torch.randperm(len(shards), generator=generator).view(n, 2).tolist()
    return [_shuffled(torch.cat([shards[shard] for shard in mine]), generator) for mine in dealt]


def _shuffled(index: Tensor, generator: torch.Generator) -> Tensor:
    return index[torch.randperm(len(index), generator=generator)]


def stratified(targets: Tensor, test_share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of a fixed train / test split with the same share of every class in both, shuffled."""
    generator = seeding.generator(seed, "train/test split")
    train, test = [], []
    for label in targets.unique():
        members = (targets == label).nonzero().flatten()
        members = _shuffled(members, generator)
        cut = round(len(members) * test_share)
        test.append(members[:cut])
        train.append(members[cut:])
    return _shuffled(torch.cat(train), generator), _shuffled(torch.cat(test), generator)


def sample(targets: Tensor, size: int, seed: int = 0) -> Tensor:
    """Indices of at most `size` samples, always the same ones for a seed, with the classes in their own proportions."""
    if size >= len(targets):
        return torch.arange(len(targets))
    return stratified(targets, size / len(targets), seed)[1]
