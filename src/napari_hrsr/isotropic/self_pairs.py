"""Pairs to learn from, made of the stack itself.

A slice is sharp along both of its axes. Along one of them it is recorded as
the stack was recorded along the coarse axis, and the network learns to undo
that; applied to planes across the slices it then refines the coarse axis::

      a slice                      its coarse copy            planes of the stack
      +-------------+              +-------------+            +-------------+
      |             |  blurred     |=============|            |=============|
      |    y, x     |  and sliced  |=============|  learned   |=============|  used
      |             |  along y     |=============|  from      |=============|  on
      +-------------+  -------->   +-------------+            +-------------+
                                      y', x                       z, x
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.intensity import Intensity
from napari_hrsr.isotropic.stack import Stack
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.pixels import read_block
from napari_hrsr.regridding import resampling_matrix
from napari_hrsr.training.patches import Pair, make_pair
from napari_hrsr.training.preparing import TrainingData
from napari_hrsr.training.validation import ValidationImage

LARGEST = 448
"""Longest side of the part of a slice that a pair is made of, in pixels."""

_HELD = 0.05
"""Share of the slices that are not learned from, to measure on."""

_MOST_HELD = 8
_MEASURED_SIDE = 256
_NOISIER = 1.5
"""Half of the pairs are up to so many times as noisy as the stack."""


@dataclass(frozen=True)
class SelfPairs:
    """Draws a slice and an axis of it, and records the slice coarsely along that axis.

    Attributes
    ----------
    source : array-like
        The stack, with any axes that are looped over.
    axes : Axes
        The roles of its axes.
    stack : Stack
        Its voxels.
    profile : AxialProfile
        Of its slices.
    intensity : Intensity
        Its range and noise.
    slices : sequence of int
        Slices to learn from.
    """

    source: Any
    axes: Axes
    stack: Stack
    profile: AxialProfile
    intensity: Intensity
    slices: Sequence[int]

    def __call__(self, rng: np.random.Generator) -> Pair:
        """Make one pair; its first axis is the coarse one."""
        lengths = self.axes.pick_looped(self.source.shape)
        loop = tuple(int(rng.integers(n)) for n in lengths)
        number = self.slices[int(rng.integers(len(self.slices)))]
        axis = self.stack.lateral[int(rng.integers(2))]
        window = []
        for lateral in self.stack.lateral:
            length = self.stack.shape[lateral]
            taken = min(length, LARGEST)
            start = int(rng.integers(length - taken + 1))
            window.append(slice(start, start + taken))
        louder = float(rng.uniform(1.0, _NOISIER)) if rng.random() < 0.5 else 1.0
        return self.make(loop, number, axis, window, rng, louder)

    def make(
        self,
        loop: Sequence[int],
        number: int,
        axis: int,
        window: Sequence[slice],
        rng: np.random.Generator,
        louder: float = 1.0,
    ) -> Pair:
        """Record a part of a slice coarsely.

        Parameters
        ----------
        loop : sequence of int
            Index along each axis that is looped over.
        number : int
            Of the slice.
        axis : int
            Axis of the stack that becomes the coarse one.
        window : sequence of slice
            Part of the slice along its two axes.
        rng : numpy.random.Generator
            Source of the noise.
        louder : float
            Noise of the coarse side over that of the stack, 1 or more.

        Returns
        -------
        Pair
            The truth is on the network's grid, which is `Stack.levels` times
            finer than the coarse side.
        """
        stack = self.stack
        key: list[Any] = [0] * self.axes.ndim
        for position, index in zip(self.axes.looped, loop, strict=True):
            key[position] = index
        key[self.axes.spatial[stack.axis]] = number
        for lateral, part in zip(stack.lateral, window, strict=True):
            key[self.axes.spatial[lateral]] = part
        plane = read_block(self.source, tuple(key)).astype(np.float32)
        if axis == stack.lateral[1]:
            plane = plane.T
        low, high, noise = self.intensity.at(loop)
        coarse, fine = record_slice(plane, stack, self.profile, axis)
        # Averaging along the axis has made the noise less than that of the slices.
        kept = _noise_gain(self.profile, stack.spacing[stack.axis] / stack.spacing[axis])
        missing = noise * math.sqrt(max(0.0, louder**2 - kept**2))
        if missing > 0:
            coarse = coarse + rng.normal(0.0, missing, coarse.shape).astype(np.float32)
        return make_pair(coarse, fine, ndim=2, levels=(low, high), noise=louder * noise)


def record_slice(
    plane: NDArray[np.float32], stack: Stack, profile: AxialProfile, axis: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Record a sharp plane as the stack records its coarse axis.

    Parameters
    ----------
    plane : ndarray, shape (n, m)
        Its first axis is `axis` of the stack.
    stack : Stack
        The grids.
    profile : AxialProfile
        Of the slices.
    axis : int
        Which axis of a slice the first one is: pixels may not be square.

    Returns
    -------
    coarse : ndarray, shape (k, m)
        As many slices as lie in the plane.
    fine : ndarray, shape (k * levels, m)
        The plane on the network's grid.
    """
    ratio = stack.spacing[stack.axis] / stack.spacing[axis]
    length = len(plane)
    slices = max(1, math.floor(length / ratio + 1e-6))
    recorded = slice_matrix(profile, ratio, slices, length)
    step = ratio / stack.levels
    refined = resampling_matrix(length, slices * stack.levels, step=step, offset=step / 2 - 0.5)
    return recorded.astype(np.float32) @ plane, refined.astype(np.float32) @ plane


def open_stack(
    source: Any, axes: Axes, stack: Stack, profile: AxialProfile, intensity: Intensity, seed: int
) -> TrainingData:
    """Set slices aside, and make ready to learn from the others.

    Parameters
    ----------
    source : array-like
        The stack.
    axes, stack, profile, intensity
        As for `SelfPairs`.
    seed : int
        Of the noise in what is measured on.

    Returns
    -------
    TrainingData
    """
    count = stack.shape[stack.axis]
    held = min(_MOST_HELD, max(1, round(_HELD * count)))
    # From the middle half, where there is something to see.
    measured = np.unique(np.linspace(count / 4, 3 * count / 4, held + 2)[1:-1].astype(int))
    learned = [i for i in range(count) if i not in set(measured.tolist())]
    pairs = SelfPairs(source, axes, stack, profile, intensity, learned)
    lengths = axes.pick_looped(source.shape)
    loop = tuple(n // 2 for n in lengths)
    window = []
    for lateral in stack.lateral:
        length = stack.shape[lateral]
        start = max(0, (length - _MEASURED_SIDE) // 2)
        window.append(slice(start, min(length, start + _MEASURED_SIDE)))
    rng = np.random.default_rng((seed, 1))
    validation = [
        _measured(pairs.make(loop, int(number), axis, window, rng), stack, int(number), axis)
        for number, axis in itertools.product(measured, stack.lateral)
    ]
    names = (f"{len(learned)} slices of the stack itself",)
    return TrainingData(pairs, names, validation, ())


def _measured(pair: Pair, stack: Stack, number: int, axis: int) -> ValidationImage:
    coarse = torch.from_numpy(pair.coarse)[None, None]
    fine = torch.from_numpy(pair.fine)[None, None]
    with torch.no_grad():
        cubic = Interpolation(2, (stack.levels, 1))(coarse)
    noise = torch.full((1, 1, 1, 1), pair.noise)
    return ValidationImage(f"slice {number}, axis {axis}", coarse, fine, cubic, noise, pair)


def _noise_gain(profile: AxialProfile, ratio: float) -> float:
    """Return what is left of white noise after slicing: the norm of the profile."""
    voxels = math.ceil(2 * profile.reach * ratio + 3 * ratio) | 1
    slices = max(1, math.floor(voxels / ratio))
    row = slice_matrix(profile, ratio, slices, voxels)[slices // 2]
    return float(np.sqrt((row**2).sum()))
