"""What the instrument makes of its own footprint: the operator A A' on the coarse grid.

``A'`` spreads a coarse pixel over what it collects, ``A`` collects that again.
Far from the border the outcome is the same for every pixel, a small `stencil`,
and its spectrum says all: which detail the instrument erases, how far a pixel
depends on its neighbours once A A' is inverted, and which sums of cosines
nearly diagonalise it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_hrsr.errors import InputError
from napari_hrsr.forward.k_space import KSpaceTruncation
from napari_hrsr.forward.model import ForwardModel

_FADED = 1e-6
"""What the influence of a distant pixel may be and count as none, over that of the pixel itself."""

_AMPLIFIED = 40.0
"""How much more than the coarsest detail the finest may be raised."""

_LONGEST = {1: 64, 2: 64, 3: 24}
"""Pixels after which influence has to have faded, for so many axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """The operator A A' of an instrument, away from the border.

    Attributes
    ----------
    stencil : ndarray
        One axis per spatial axis, every side odd: what a coarse pixel of one
        becomes.
    reach : tuple of int
        Coarse pixels to either side of a pixel from which it collects, per axis.
    """

    stencil: NDArray[np.float64]
    reach: tuple[int, ...]

    @property
    def local(self) -> float | None:
        """The factor, where A A' multiplies by one number; None where it does not."""
        if self.stencil.size > 1 or any(self.reach):
            return None
        return float(self.stencil.reshape(-1)[0])

    def spectrum(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Return what A A' nearly multiplies each cosine of an image by.

        Parameters
        ----------
        shape : sequence of int
            Of the coarse image.

        Returns
        -------
        ndarray
            Of that shape, from 0 up, in the order of a discrete cosine
            transform (type II).
        """
        values = self.stencil
        for axis, n in enumerate(shape):
            side = self.stencil.shape[axis]
            at = np.arange(side) - side // 2
            cosines = np.cos(np.pi * np.outer(np.arange(n), at) / n)
            values = np.moveaxis(np.tensordot(cosines, values, (1, axis)), 0, axis)
        return np.maximum(values, 0.0)

    def influence(self, weight: float) -> tuple[int, ...]:
        """Return how far ``A' (A A' + weight)^-1 A`` reaches, in coarse pixels per axis.

        Parameters
        ----------
        weight : float
            What is added to the diagonal, from 0 up.

        Raises
        ------
        InputError
            If it reaches too far, or raises the finest detail, and its noise
            with it, too much: the blur is too wide for that weight.
        """
        if self.local is not None:
            return (0,) * self.stencil.ndim
        blurred = sum(side > 1 for side in self.stencil.shape)
        longest = _LONGEST[max(1, blurred)]
        sides = tuple(4 * longest if side > 1 else 1 for side in self.stencil.shape)
        wrapped = np.zeros(sides)
        fits = all(a <= b for a, b in zip(self.stencil.shape, sides, strict=True))
        if fits:
            wrapped[tuple(slice(0, side) for side in self.stencil.shape)] = self.stencil
        centre = [-(side // 2) for side in self.stencil.shape]
        spectrum = np.fft.fftn(np.roll(wrapped, centre, range(wrapped.ndim))).real
        passed = np.sqrt(np.maximum(spectrum, 1e-15 * spectrum.max()))
        raised = float((passed / (passed**2 + weight)).max() * passed.max())
        if not fits or raised > _AMPLIFIED:
            raise _too_wide()
        inverse = np.abs(np.fft.ifftn(1 / (passed**2 + weight)))
        margin = []
        for axis, side in enumerate(sides):
            others = tuple(a for a in range(len(sides)) if a != axis)
            strength = inverse.max(axis=others)[: side // 2 + 1]
            fading = int(np.flatnonzero(strength > _FADED * strength[0])[-1])
            if fading > longest:
                raise _too_wide()
            margin.append(fading + 2 * self.reach[axis])
        return tuple(margin)


@functools.lru_cache(maxsize=32)
def gram_of(forward: ForwardModel) -> Gram:
    """Measure the stencil of A A'.

    Parameters
    ----------
    forward : ForwardModel
        The instrument.

    Raises
    ------
    InputError
        If k-space is truncated: that reaches across the whole image.
    """
    spread = (1,) * forward.ndim
    if forward.point_spread is not None:
        sides = forward.point_spread.kernel.shape
        spread = (*spread[: forward.ndim - len(sides)], *sides)
    widths, reach = [], []
    for kernel, side in zip(forward.kernels, spread, strict=True):
        widths.append((len(kernel.taps) + side - 2) // kernel.factor)
        reach.append(math.ceil((max(kernel.padding) + side // 2) / kernel.factor))
    # Wide enough that no border is felt.
    half = [w + r for w, r in zip(widths, reach, strict=True)]
    point = torch.zeros([2 * h + 1 for h in half], dtype=torch.float64)
    point[tuple(half)] = 1.0
    image = forward.apply(forward.adjoint(point)).numpy()
    kept = tuple(slice(h - w, h + w + 1) for h, w in zip(half, widths, strict=True))
    return Gram(image[kept].copy(), tuple(reach))


def has_stencil(forward: ForwardModel) -> bool:
    """Tell whether A A' acts within bounds: not where k-space is truncated."""
    return not any(
        isinstance(step, KSpaceTruncation)
        for axis in range(forward.ndim)
        for step in forward.along(axis)
    )


def _too_wide() -> InputError:
    return InputError(
        "the result cannot be held to its source: this blur leaves almost nothing of the finest "
        "detail, so that its noise would be raised more than fortyfold. Give a narrower point "
        "spread function, or the noise of the source, or a larger one"
    )
