"""Pairs of a coarse and a fine image, and the patches a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_hrsr.noise_level import estimate_noise

PERCENTILES = (0.1, 99.9)
"""Per cent of the pixels at or below black, and at or below white."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A coarse image and its truth, both in the range the network sees in use.

    Attributes
    ----------
    coarse : ndarray
        Shape (*spatial), float32.
    fine : ndarray
        Shape (*(spatial * scale)), float32.
    noise : float
        Standard deviation of the noise that the network is told, same units.
    cumulative : ndarray
        Running sum of the chance of each pixel to be the middle of a patch.
    """

    coarse: np.ndarray
    fine: np.ndarray
    noise: float
    cumulative: np.ndarray


def black_and_white(image: np.ndarray) -> tuple[float, float]:
    """Return the values mapped to 0 and 1: low and high percentile of the whole image.

    Parameters
    ----------
    image : ndarray
        Any shape, real.

    Returns
    -------
    black : float
        The 0.1 % percentile.
    white : float
        The 99.9 % percentile, or black + 1 for a flat image.
    """
    black, white = (float(p) for p in np.percentile(image, PERCENTILES))
    return black, white if white > black else black + 1.0


def estimate_volume_noise(image: np.ndarray, planes: int = 8) -> float:
    """Return the noise of a plane, or the median over some planes of a volume.

    Parameters
    ----------
    image : ndarray
        Shape ([Z,] Y, X).
    planes : int
        Planes of a volume to look at, evenly spread.

    Returns
    -------
    float
        Standard deviation in the units of the image.
    """
    if image.ndim == 2:
        return estimate_noise(image)
    chosen = np.unique(np.linspace(0, len(image) - 1, planes).round().astype(int))
    return float(np.median([estimate_noise(image[z]) for z in chosen]))


def make_pair(coarse: np.ndarray, fine: np.ndarray) -> Pair:
    """Normalise a pair as in use: range and noise come from the coarse image alone.

    Parameters
    ----------
    coarse : ndarray
        Shape (*spatial), real.
    fine : ndarray
        Shape (*(spatial * scale)), the truth in the same units.

    Returns
    -------
    Pair
    """
    black, white = black_and_white(coarse)
    coarse = ((coarse - black) / (white - black)).astype(np.float32)
    fine = ((fine - black) / (white - black)).astype(np.float32)
    energy = sum(g * g for g in _gradients(coarse))
    chance = np.sqrt(np.asarray(energy, dtype=np.float64)).ravel()
    # A floor, so that the network sees what calm background looks like too.
    chance += 0.1 * chance.mean() + 1e-6
    cumulative = np.cumsum(chance)
    noise = estimate_volume_noise(coarse)
    return Pair(coarse, fine, noise, (cumulative / cumulative[-1]).astype(np.float32))


def _gradients(image: np.ndarray) -> list[np.ndarray]:
    gradients = np.gradient(image)
    return [gradients] if isinstance(gradients, np.ndarray) else list(gradients)


def draw_batch(
    pairs: Sequence[Pair],
    rng: np.random.Generator,
    *,
    size: int,
    batch: int,
    transpose_axes: tuple[int, ...] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut patches where the gradient is large, and vary them.

    Each patch is flipped at random, its `transpose_axes` permuted, and its
    gain (0.6 to 1.2) and offset (-0.1 to 0.1) varied. The noise level is told
    with an error of 15 per cent, so that the network bears a wrong estimate.

    Parameters
    ----------
    pairs : sequence of Pair
        Images to choose from, with equal chances.
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Coarse pixels along each axis of a patch; shorter axes are taken whole.
    batch : int
        Number of patches.
    transpose_axes : tuple of int
        Spatial axes that may be exchanged: those of equal spacing and factor.

    Returns
    -------
    coarse : Tensor
        Shape (batch, 1, *size).
    fine : Tensor
        Shape (batch, 1, *(size * scale)).
    noise : Tensor
        Shape (batch, 1, 1, ...).
    """
    coarse: list[np.ndarray] = []
    fine: list[np.ndarray] = []
    noise: list[float] = []
    for index in rng.integers(len(pairs), size=batch):
        pair = pairs[index]
        ndim = pair.coarse.ndim
        order = list(range(ndim))
        for axis, source in zip(transpose_axes, rng.permutation(transpose_axes), strict=True):
            order[axis] = int(source)
        flips = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(ndim))
        gain, offset = float(rng.uniform(0.6, 1.2)), float(rng.uniform(-0.1, 0.1))
        window, fine_window = _window(pair, rng, size)
        for patches, image, where in (
            (coarse, pair.coarse, window),
            (fine, pair.fine, fine_window),
        ):
            patches.append(image[where].transpose(order)[flips] * gain + offset)
        noise.append(pair.noise * gain * float(np.exp(rng.normal(0.0, 0.15))))
    level = torch.tensor(noise, dtype=torch.float32)
    return (
        torch.from_numpy(np.stack(coarse)[:, None]),
        torch.from_numpy(np.stack(fine)[:, None]),
        level.reshape(batch, *(1,) * (coarse[0].ndim + 1)),
    )


def _window(
    pair: Pair, rng: np.random.Generator, size: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    flat = int(np.searchsorted(pair.cumulative, rng.random()))
    middle = np.unravel_index(min(flat, pair.coarse.size - 1), pair.coarse.shape)
    coarse, fine = [], []
    for m, length, fine_length in zip(middle, pair.coarse.shape, pair.fine.shape, strict=True):
        taken = min(size, length)
        factor = fine_length // length
        start = min(max(int(m) - taken // 2, 0), length - taken)
        coarse.append(slice(start, start + taken))
        fine.append(slice(start * factor, (start + taken) * factor))
    return tuple(coarse), tuple(fine)
