"""One random generator per purpose, so that changing one thing leaves the draws of all others as they were."""

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derive(seed: int, purpose: str, *indices: int) -> int:
    """A 63-bit seed for one purpose (and worker, block...), independent of every other purpose's."""
    text = "/".join([str(int(seed)), purpose, *map(str, indices)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *indices: int) -> torch.Generator:
    """A CPU generator for one purpose. Draw on the CPU and move, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, purpose, *indices))


@contextlib.contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """New tensors are of this floating type within the block, whatever torch's default is outside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype if dtype.is_floating_point else torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
