"""Images of the same things in another style: the shifted domain of the image cases."""

import torch
from torch import Generator, Tensor
from torch.nn import functional


def restyle(images: Tensor, generator: Generator, *, reach: int = 2, noise: float = 0.3) -> Tensor:
    """Images moved by up to `reach` pixels, blurred, and covered with N(0, noise^2).  # [m, c, h, w] -> same"""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=generator).tolist()
    moved = [
        image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, corners, strict=True)
    ]
    blurred = functional.avg_pool2d(functional.pad(torch.stack(moved), (1,) * 4, mode="replicate"), 3, stride=1)
    return blurred + noise * torch.randn(images.shape, generator=generator, dtype=images.dtype)
