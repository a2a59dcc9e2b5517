"""The stand-in for CIFAR-10: ten shapes drawn in colour on 32x32 pixels. Made from a seed, no photograph involved.

A class is a shape with a usual hue, as frogs are usually green: the hue is a hint that training finds early, the shape
is what settles it. Place, size, turn, background, scratches and noise are nuisance, strong enough that a LeNet-style
network errs on a fifth to a third of unseen images.
"""

from collections.abc import Callable

import numpy as np

SIDE = 32
HUE_SPREAD = 0.15  # of a turn of the colour wheel; classes are 0.1 apart
NOISE = 0.1  # standard deviation of every pixel, of a range of 1
PIXELS = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1  # -1 to 1 over the image


def _triangle(x, y, _r):
    return np.maximum(np.abs(x) * 0.87 + y * 0.5, -y) - 0.55


def _star(x, y, r):
    return r - 0.62 - 0.3 * np.cos(5 * np.arctan2(y, x))


def _crescent(x, y, r):
    return np.maximum(r - 0.9, 0.75 - np.hypot(x - 0.45, y))


# Each is negative inside its shape, in coordinates (x, y) of about -1 to 1 with r = |(x, y)|.
SHAPES: dict[str, Callable] = {
    "disc": lambda x, y, r: r - 0.8,
    "ring": lambda x, y, r: np.abs(r - 0.7) - 0.2,
    "square": lambda x, y, r: np.maximum(np.abs(x), np.abs(y)) - 0.72,
    "frame": lambda x, y, r: np.abs(np.maximum(np.abs(x), np.abs(y)) - 0.65) - 0.17,
    "triangle": _triangle,
    "cross": lambda x, y, r: np.minimum(
        np.maximum(np.abs(x) - 0.25, np.abs(y) - 0.9), np.maximum(np.abs(y) - 0.25, np.abs(x) - 0.9)
    ),
    "star": _star,
    "crescent": _crescent,
    "bar": lambda x, y, r: np.maximum(np.abs(x) - 0.3, np.abs(y) - 1.0),
    "two dots": lambda x, y, r: np.minimum(np.hypot(x, y - 0.55), np.hypot(x, y + 0.55)) - 0.4,
}
CLASSES = tuple(SHAPES)


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [count, 3, 32, 32] uint8 and classes [count] int64, the classes in balance and in random order."""
    draws = np.random.default_rng([seed, 0xC1FA])
    labels = draws.permutation(np.arange(count) % len(CLASSES))
    shape_of, background_of = _colours(draws, labels)
    inside = np.empty((count, SIDE, SIDE), np.float32)
    x, y = _placed(draws, count)
    for number, name in enumerate(CLASSES):
        rows = labels == number
        inside[rows] = _soft(SHAPES[name](x[rows], y[rows], np.hypot(x[rows], y[rows])))
    mixed = background_of + (shape_of - background_of) * inside[:, None]  # [m, 3, 32, 32]
    mixed = _scratched(draws, mixed)
    mixed += NOISE * draws.standard_normal(mixed.shape, dtype=np.float32)
    np.clip(mixed, 0, 1, out=mixed)
    mixed *= 255
    return np.rint(mixed).astype(np.uint8), labels.astype(np.int64)


def _soft(distance: np.ndarray) -> np.ndarray:
    """1 inside, 0 outside, with an edge of about a pixel."""
    return 1 / (1 + np.exp(np.clip(distance * 14, -30, 30)))


def _placed(draws: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel in its shape's own frame: moved, turned, scaled and stretched.  # 2 x [m, 32, 32]"""
    centre = draws.uniform(-0.25, 0.25, (2, count, 1, 1)).astype(np.float32)
    turn = draws.uniform(-0.4, 0.4, (count, 1, 1)).astype(np.float32)
    size = draws.uniform(0.5, 0.8, (count, 1, 1)).astype(np.float32)
    stretch = draws.uniform(0.8, 1.25, (count, 1, 1)).astype(np.float32)
    across, down = PIXELS[None, None, :] - centre[0], PIXELS[None, :, None] - centre[1]
    x = (across * np.cos(turn) + down * np.sin(turn)) / (size * stretch)
    y = (down * np.cos(turn) - across * np.sin(turn)) / size * stretch
    return x, y


def _colours(draws: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A colour of each shape [m, 3, 1, 1], near its class's hue, and a duller background [m, 3, 32, 32] that fades."""
    count = len(labels)
    hue = labels / len(CLASSES) + draws.normal(0, HUE_SPREAD, count)
    wave = np.cos(2 * np.pi * (hue[:, None] - np.array([0, 1 / 3, 2 / 3])))  # red, green, blue
    level = draws.uniform(0.45, 0.75, (count, 1))
    colour = (level + draws.uniform(0.2, 0.45, (count, 1)) * wave).astype(np.float32)
    corners = draws.uniform(0.1, 0.7, (2, count, 1, 1, 1)) + draws.uniform(-0.1, 0.1, (2, count, 3, 1, 1))
    corners = corners.astype(np.float32)
    fade = (PIXELS[None, None, :, None] + 1) / 2
    background = corners[0] + (corners[1] - corners[0]) * fade + np.zeros((1, 1, 1, SIDE), np.float32)
    return colour[:, :, None, None], background


def _scratched(draws: np.random.Generator, mixed: np.ndarray) -> np.ndarray:
    """The images with a straight line of random colour across each: clutter that belongs to no class."""
    angle = draws.uniform(0, np.pi, (len(mixed), 1, 1)).astype(np.float32)
    offset = draws.uniform(-0.7, 0.7, (len(mixed), 1, 1)).astype(np.float32)
    colour = draws.uniform(0, 1, (len(mixed), 3, 1, 1)).astype(np.float32)
    away = np.abs(PIXELS[None, None, :] * np.cos(angle) + PIXELS[None, :, None] * np.sin(angle) - offset)
    line = _soft((away - 0.05) * 3)[:, None]
    mixed *= 1 - line
    mixed += colour * line
    return mixed
