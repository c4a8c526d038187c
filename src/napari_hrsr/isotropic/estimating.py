"""How thick the slices of a stack are, told from the stack itself.

A slice that collects light from a wide range blurs along the coarse axis. If
the object looks alike from all sides, slices that are blurred to the same
width along one of their own axes, and sampled as coarsely, show the same
spectrum along it as the stack along its coarse axis, once the stack is blurred
and sampled along one of its fine axes too: both are then coarse along both. (The
idea of ESPRESO, Han et al. 2021, there with an adversarial network; here with
power spectra.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.axes import Axes
from napari_hrsr.forward import AxialProfile, ProfileKind, slice_matrix
from napari_hrsr.intensity import Intensity
from napari_hrsr.isotropic.stack import Stack
from napari_hrsr.noise_level import estimate_noise
from napari_hrsr.pixels import read_block

UNKNOWN_FWHM = 0.85
"""Width that is assumed where it cannot be told, over the distance of the slices.

Assuming slices that are thinner than they are costs little; thicker ones make
structure up."""

WIDTHS: tuple[float, ...] = tuple(float(w) for w in np.round(np.geomspace(0.3, 3.0, 47), 3))
"""Widths that are compared."""

_PLANES = 12
_SIDE = 512
_SEGMENT = 32
"""Slices in a piece of a line, at most, of which spectra are taken."""

_LEAST_SEGMENT = 8
_BAND = (0.08, 0.5)
"""Frequencies that are compared, in cycles per slice: below, objects differ."""

_Recorded = NDArray[np.float64]

_ABOVE_NOISE = 1.0
"""A frequency counts if the stack's power there is above so many times that of its noise."""


@dataclass(frozen=True, slots=True, eq=False)
class WidthEstimate:
    """What was found about the width of the slices.

    Attributes
    ----------
    fwhm : float
        Full width at half maximum over the distance of the slices.
    certain : bool
        False where the spectra do not tell, and `UNKNOWN_FWHM` is assumed.
    reason : str
        For people.
    frequency : ndarray
        In cycles per slice.
    axial, lateral : ndarray
        Power along the coarse axis, and along the axes of the slices, both
        recorded coarsely along the other axis with `fwhm`; the noise is taken
        off, and the means of their logarithms agree.
    """

    fwhm: float
    certain: bool
    reason: str
    frequency: NDArray[np.float64]
    axial: NDArray[np.float64]
    lateral: NDArray[np.float64]


def estimate_width(
    source: Any,
    axes: Axes,
    stack: Stack,
    intensity: Intensity,
    kind: ProfileKind = "gaussian",
) -> WidthEstimate:
    """Find the width of the slices at which axial and lateral spectra agree.

    Parameters
    ----------
    source : array-like
        The stack, with any axes that are looped over; the middle of those is
        looked at.
    axes : Axes
        The roles of its axes.
    stack : Stack
        Its voxels.
    intensity : Intensity
        Its noise.
    kind : str
        ``"gaussian"`` or ``"box"``.

    Returns
    -------
    WidthEstimate
    """
    loop = tuple(n // 2 for n in axes.pick_looped(source.shape))
    noise = intensity.at(loop)[2]
    # As many slices as there are, and as a slice shows when it is recorded as coarsely.
    ratios = {a: stack.spacing[stack.axis] / stack.spacing[a] for a in stack.lateral}
    longest = max(math.floor(min(_SIDE, stack.shape[a]) / ratios[a]) for a in stack.lateral)
    length = min(_SEGMENT, stack.shape[stack.axis], longest)
    frequency = np.arange(length // 2 + 1) / length
    nothing = np.zeros_like(frequency)
    if length < _LEAST_SEGMENT:
        reason = "slices that are so few or so small do not tell how thick they are"
        return WidthEstimate(UNKNOWN_FWHM, False, reason, frequency, nothing, nothing)
    columns, slices = _columns(source, axes, stack, loop), _slices(source, axes, stack, loop)
    axial = _power(columns, length) - noise**2
    used = (frequency > _BAND[0]) & (frequency <= _BAND[1])
    used &= axial > _ABOVE_NOISE * noise**2 + 1e-12 * axial.max()
    if used.sum() < 3:
        reason = "noise hides how thick the slices are"
        return WidthEstimate(UNKNOWN_FWHM, False, reason, frequency, nothing, nothing)
    least = 1e-12 * float(axial.max())

    def recorded(planes: NDArray[np.float64], axis: int, along: int, width: float) -> _Recorded:
        """Record planes coarsely along one of their axes, and take the spectrum along one."""
        size = planes.shape[along]
        count = math.floor(size / ratios[axis])
        matrix = slice_matrix(AxialProfile(kind, width), ratios[axis], count, size)
        coarse = np.moveaxis(np.tensordot(matrix, planes, (1, along)), 0, along)
        kept = float((matrix[count // 2] ** 2).sum())
        return np.maximum(_power(coarse, length) - noise**2 * kept, least)

    distances, spectra = [], []
    for width in WIDTHS:
        # A slice is blurred across itself, which takes detail from its spectrum along
        # itself as well: columns are blurred along a slice, so that both are alike.
        upright = recorded(columns, stack.lateral[1], 2, width)
        power = np.zeros_like(frequency)
        for axis, planes in slices.items():
            if math.floor(planes.shape[1] / ratios[axis]) >= length:
                power += recorded(planes, axis, 1, width)
        difference = np.log(upright[used]) - np.log(power[used])
        distances.append(float(np.std(difference)))
        spectra.append((upright, power * np.exp(difference.mean())))
    best = int(np.argmin(distances))
    found = WIDTHS[best]
    certain = 0 < best < len(WIDTHS) - 1
    reason = "" if certain else "axial and lateral spectra differ by more than the slices' width"
    upright, power = spectra[best]
    return WidthEstimate(
        found if certain else UNKNOWN_FWHM,
        certain,
        reason,
        frequency,
        np.where(used, upright, np.nan),
        power,
    )


def noise_of_slices(source: Any, axes: Axes, stack: Stack) -> float:
    """Measure the noise of a stack in its slices, wherever its coarse axis is.

    Parameters
    ----------
    source, axes, stack
        As for `estimate_width`.

    Returns
    -------
    float
        Median over some slices of the middle channel and time point; standard
        deviation in the stack's units.
    """
    loop = tuple(n // 2 for n in axes.pick_looped(source.shape))
    planes = _slices(source, axes, stack, loop)[stack.lateral[0]]
    return float(np.median([estimate_noise(plane) for plane in planes]))


def _slices(
    source: Any, axes: Axes, stack: Stack, loop: tuple[int, ...]
) -> dict[int, NDArray[np.float64]]:
    """Read some slices, (planes, line, lines), once for each of their axes."""
    count = stack.shape[stack.axis]
    numbers = np.unique(np.linspace(0.2 * count, 0.8 * count, _PLANES).astype(int))
    windows = {a: _middle(stack.shape[a]) for a in stack.lateral}
    planes = [_read(source, axes, loop, {stack.axis: int(n), **windows}) for n in numbers]
    first, second = stack.lateral
    block = np.stack(planes)
    return {first: block, second: block.transpose(0, 2, 1)}


def _columns(source: Any, axes: Axes, stack: Stack, loop: tuple[int, ...]) -> NDArray[np.float64]:
    """Read some planes across the slices, (planes, line along the coarse axis, lines)."""
    along, across = stack.lateral
    count = stack.shape[along]
    numbers = np.unique(np.linspace(0.2 * count, 0.8 * count, _PLANES).astype(int))
    window = {stack.axis: _middle(stack.shape[stack.axis]), across: _middle(stack.shape[across])}
    planes = [_read(source, axes, loop, {along: int(n), **window}) for n in numbers]
    return np.stack([p if stack.axis < across else p.T for p in planes])


def _middle(length: int) -> slice:
    start = max(0, (length - _SIDE) // 2)
    return slice(start, min(length, start + _SIDE))


def _read(
    source: Any, axes: Axes, loop: tuple[int, ...], at: dict[int, int | slice]
) -> NDArray[np.float64]:
    key: list[Any] = [0] * axes.ndim
    for position, index in zip(axes.looped, loop, strict=True):
        key[position] = index
    for axis, part in at.items():
        key[axes.spatial[axis]] = part
    return np.asarray(read_block(source, tuple(key)), dtype=np.float64)


def _power(planes: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return the mean power per pixel along the second axis, in overlapping pieces (Welch 1967).

    White noise of variance v has the power v at every frequency.
    """
    window = np.hanning(length + 2)[1:-1][:, None]
    total, pieces = np.zeros(length // 2 + 1), 0
    starts = range(0, planes.shape[1] - length + 1, max(1, length // 2))
    for start in starts:
        piece = planes[:, start : start + length]
        piece = (piece - piece.mean(1, keepdims=True)) * window
        total += (np.abs(np.fft.rfft(piece, axis=1)) ** 2).mean((0, 2))
        pieces += 1
    return total / (pieces * float((window**2).sum()))
