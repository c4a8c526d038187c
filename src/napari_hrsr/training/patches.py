"""Pairs of a coarse and a fine image, and the patches a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_hrsr.forward import ForwardModel
from napari_hrsr.noise_level import estimate_noise

PERCENTILES = (0.1, 99.9)
"""Per cent of the pixels at or below black, and at or below white."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A coarse image and its truth, both in the range the network sees in use.

    Attributes
    ----------
    coarse : ndarray
        Shape ([C,] *spatial), float32.
    fine : ndarray
        Shape ([C,] *(spatial * scale)), float32.
    noise : float
        Standard deviation of the noise that the network is told, same units.
    cumulative : ndarray
        Running sum of the chance of each pixel to be the middle of a patch.
    spatial : tuple of int
        Lengths of the coarse image along its spatial axes.
    instrument : ForwardModel or None
        What made the coarse image of the fine one, where it is known.
    """

    coarse: np.ndarray
    fine: np.ndarray
    noise: float
    cumulative: np.ndarray
    spatial: tuple[int, ...]
    instrument: ForwardModel | None = None


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
    """Return the noise of a plane, or the median over some planes of a volume or of colours.

    Parameters
    ----------
    image : ndarray
        Shape ([C,] [Z,] Y, X).
    planes : int
        Planes to look at, evenly spread.

    Returns
    -------
    float
        Standard deviation in the units of the image.
    """
    if image.ndim == 2:
        return estimate_noise(image)
    stack = image.reshape(-1, *image.shape[-2:])
    chosen = np.unique(np.linspace(0, len(stack) - 1, planes).round().astype(int))
    return float(np.median([estimate_noise(stack[z]) for z in chosen]))


def make_pair(
    coarse: np.ndarray,
    fine: np.ndarray,
    *,
    ndim: int | None = None,
    instrument: ForwardModel | None = None,
    levels: tuple[float, float] | None = None,
    noise: float | None = None,
) -> Pair:
    """Normalise a pair as in use: range and noise come from the coarse image alone.

    Parameters
    ----------
    coarse : ndarray
        Shape ([C,] *spatial), real.
    fine : ndarray
        Shape ([C,] *(spatial * scale)), the truth in the same units.
    ndim : int, optional
        Number of spatial axes; by default all are.
    instrument : ForwardModel, optional
        What made the coarse image.
    levels : tuple of float, optional
        Black and white, where they are known of the image that the pair is a
        part of.
    noise : float, optional
        Standard deviation of the noise where it is known, in the same units.

    Returns
    -------
    Pair
    """
    ndim = coarse.ndim if ndim is None else ndim
    black, white = levels or black_and_white(coarse)
    coarse = ((coarse - black) / (white - black)).astype(np.float32)
    fine = ((fine - black) / (white - black)).astype(np.float32)
    spatial = coarse.shape[coarse.ndim - ndim :]
    energy = np.zeros(spatial)
    for channel in coarse.reshape(-1, *spatial):
        for axis, length in enumerate(spatial):
            if length > 1:
                energy += np.gradient(channel, axis=axis) ** 2
    chance = np.sqrt(energy).ravel()
    # A floor, so that the network sees what calm background looks like too.
    chance += 0.1 * chance.mean() + 1e-6
    cumulative = np.cumsum(chance)
    told = estimate_volume_noise(coarse) if noise is None else noise / (white - black)
    share = (cumulative / cumulative[-1]).astype(np.float32)
    return Pair(coarse, fine, told, share, spatial, instrument)


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of one step.

    Attributes
    ----------
    coarse : Tensor
        Shape (batch, C, *size).
    fine : Tensor
        Shape (batch, C, *(size * scale)).
    noise : Tensor
        Shape (batch, 1, 1, ...): what the network is told.
    instruments : tuple
        What made each coarse patch, or None.
    """

    coarse: Tensor
    fine: Tensor
    noise: Tensor
    instruments: tuple[ForwardModel | None, ...]


def draw_batch(
    pairs: Sequence[Pair],
    rng: np.random.Generator,
    *,
    size: int,
    batch: int,
    transpose_axes: tuple[int, ...] = (),
    flip_axes: tuple[int, ...] | None = None,
) -> Batch:
    """Cut patches where the gradient is large, and vary them.

    Each patch is flipped at random along its `flip_axes`, its `transpose_axes` permuted, and its
    gain (0.6 to 1.2) and offset (-0.1 to 0.1) varied. The noise level is told
    with an error of 15 per cent, so that the network bears a wrong estimate.

    Parameters
    ----------
    pairs : sequence of Pair
        Images to choose from, with equal chances.
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Coarse pixels along each axis of a patch; all are cut to the shortest
        axis of any image where that is less.
    batch : int
        Number of patches.
    transpose_axes : tuple of int
        Spatial axes that may be exchanged: those of equal spacing and factor.
    flip_axes : tuple of int, optional
        Spatial axes that may be flipped; by default all.

    Returns
    -------
    Batch
    """
    drawn = [pairs[index] for index in rng.integers(len(pairs), size=batch)]
    # Patches of one batch must agree in shape, and so must axes that are exchanged.
    sides = [min(size, *(pair.spatial[a] for pair in drawn)) for a in range(len(drawn[0].spatial))]
    for axis in transpose_axes:
        sides[axis] = min(sides[a] for a in transpose_axes)
    coarse: list[np.ndarray] = []
    fine: list[np.ndarray] = []
    noise: list[float] = []
    for pair in drawn:
        ndim = len(pair.spatial)
        order = list(range(-ndim, 0))
        for axis, source in zip(transpose_axes, rng.permutation(transpose_axes), strict=True):
            order[axis] = int(source) - ndim
        # Drawn for every axis, so that the others are turned as they would be.
        turned = [bool(rng.random() < 0.5) for _ in range(ndim)]
        flips = tuple(
            slice(None, None, -1 if turn and (flip_axes is None or axis in flip_axes) else 1)
            for axis, turn in enumerate(turned)
        )
        gain, offset = float(rng.uniform(0.6, 1.2)), float(rng.uniform(-0.1, 0.1))
        window, fine_window = _window(pair, rng, sides)
        for patches, image, where in (
            (coarse, pair.coarse, window),
            (fine, pair.fine, fine_window),
        ):
            patch = image.reshape(-1, *image.shape[image.ndim - ndim :])[(slice(None), *where)]
            patch = patch.transpose(0, *(1 + ndim + o for o in order))
            patches.append(patch[(slice(None), *flips)] * gain + offset)
        noise.append(pair.noise * gain * float(np.exp(rng.normal(0.0, 0.15))))
    level = torch.tensor(noise, dtype=torch.float32)
    return Batch(
        torch.from_numpy(np.stack(coarse)),
        torch.from_numpy(np.stack(fine)),
        level.reshape(batch, *(1,) * (coarse[0].ndim)),
        tuple(pair.instrument for pair in drawn),
    )


def _window(
    pair: Pair, rng: np.random.Generator, sides: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    flat = int(np.searchsorted(pair.cumulative, rng.random()))
    middle = np.unravel_index(min(flat, len(pair.cumulative) - 1), pair.spatial)
    fine_lengths = pair.fine.shape[pair.fine.ndim - len(pair.spatial) :]
    coarse, fine = [], []
    for m, taken, length, fine_length in zip(
        middle, sides, pair.spatial, fine_lengths, strict=True
    ):
        factor = fine_length // length
        start = min(max(int(m) - taken // 2, 0), length - taken)
        coarse.append(slice(start, start + taken))
        fine.append(slice(start * factor, (start + taken) * factor))
    return tuple(coarse), tuple(fine)
