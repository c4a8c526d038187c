"""What is said and what is found about a stack before anything is learned from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.axes import Axes, check_names, default_names, resolve_axes
from napari_hrsr.errors import InputError
from napari_hrsr.files import read_image
from napari_hrsr.forward import AxialProfile, ProfileKind
from napari_hrsr.intensity import Intensity, measure_intensity
from napari_hrsr.isotropic.estimating import WidthEstimate, estimate_width, noise_of_slices
from napari_hrsr.isotropic.stack import Stack, describe_stack
from napari_hrsr.pixels import check_source

CAUTIOUS = 0.95
"""Share of an estimated width that is used: too thin costs little, too thick makes things up."""

SHARPEST = 1.0
"""Widest slices, over their distance, that an estimate is used of: wider ones
mean that the stack was soft along its coarse axis before it was sliced, and
sharpening that is for those who know the width."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody may say about the slices and the result.

    Attributes
    ----------
    spacing : tuple of float
        Distances of the voxels, z, y, x, in any one unit.
    axis : int
        The coarse axis among z, y and x.
    target : float, tuple of float or None
        Voxel size of the result; None for that of the slices' pixels.
    profile : str, Path or array
        ``"gaussian"``, ``"box"``, or a measured one; see `read_profile`.
    fwhm : float or None
        Full width at half maximum of the profile, in the unit of `spacing`;
        None to estimate it.
    noise : float or None
        Standard deviation of the noise, in the stack's own units; None to
        measure it.
    """

    spacing: tuple[float, ...]
    axis: int = 0
    target: float | tuple[float, ...] | None = None
    profile: Any = "gaussian"
    fwhm: float | None = None
    noise: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A stack, and what was found about it.

    Attributes
    ----------
    source : array-like
        The voxels.
    axes : Axes
        The roles of its axes.
    stack : Stack
        Its grid, and that of the result.
    profile : AxialProfile
        Of its slices.
    estimate : WidthEstimate or None
        How the width was found, where it was not given.
    intensity : Intensity
        Its range and noise.
    learned : bool
        Whether the profile is that for which a network was learned before.
    """

    source: Any
    axes: Axes
    stack: Stack
    profile: AxialProfile
    estimate: WidthEstimate | None
    intensity: Intensity
    learned: bool = False

    @property
    def noise(self) -> float:
        """Noise over the range, of the noisiest channel."""
        low, high = self.intensity.low, self.intensity.high
        return float(np.max(self.intensity.noise / np.where(high > low, high - low, 1.0)))


def describe(source: Any, axes: str | None, wishes: Wishes) -> tuple[Axes, Stack]:
    """Check a stack without reading it, and choose the grid of the result.

    Parameters
    ----------
    source : array-like
        The stack.
    axes : str or None
        One letter per axis; needed above three axes.
    wishes : Wishes
        What was said.

    Raises
    ------
    InputError
        If something does not fit, with the remedy.
    """
    pixels = check_source(source)
    names = default_names(pixels.ndim) if axes is None else check_names(axes, pixels.ndim)
    if "Z" not in names:
        msg = f"a stack of slices has the axes Z, Y and X; these are {names!r}"
        raise InputError(msg)
    if "S" in names:
        msg = "colours cannot be made isotropic: split the channels first"
        raise InputError(msg)
    roles = resolve_axes(names, 3)
    shape = roles.pick_spatial(tuple(int(n) for n in pixels.shape))
    return roles, describe_stack(shape, wishes.spacing, axis=wishes.axis, target=wishes.target)


def measure(
    source: Any,
    axes: str | None,
    wishes: Wishes,
    *,
    profile: AxialProfile | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Measured:
    """Measure range and noise, and how thick the slices are where nobody says.

    Parameters
    ----------
    source, axes, wishes
        As for `describe`.
    profile : AxialProfile, optional
        Of the slices, where a learned model states it.
    progress, cancelled : callable, optional
        As for `measure_intensity`.

    Raises
    ------
    HrsrError
        If something does not fit, or the stack holds values that cannot be used.
    """
    roles, stack = describe(source, axes, wishes)
    learned = profile is not None
    profile = profile or given_profile(wishes, stack)
    intensity = measure_intensity(source, roles, progress=progress, cancelled=cancelled)
    if wishes.noise is not None:
        intensity = intensity.with_noise(wishes.noise)
    elif stack.axis != 0:
        # It was measured in planes that run across the slices.
        intensity = intensity.with_noise(noise_of_slices(source, roles, stack))
    estimate = None
    if profile is None:
        kind: ProfileKind = "box" if wishes.profile == "box" else "gaussian"
        estimate = estimate_width(source, roles, stack, intensity, kind)
        width = estimate.fwhm * (CAUTIOUS if estimate.certain else 1.0)
        profile = AxialProfile(kind, min(SHARPEST, width))
    return Measured(source, roles, stack, profile, estimate, intensity, learned)


def given_profile(wishes: Wishes, stack: Stack) -> AxialProfile | None:
    """Return the slice profile that was given; None where its width is to be estimated.

    Parameters
    ----------
    wishes : Wishes
        What was said.
    stack : Stack
        The grids.

    Raises
    ------
    InputError
        If it is no profile.
    """
    distance, fwhm = stack.spacing[stack.axis], wishes.fwhm
    if wishes.noise is not None and not 0 <= wishes.noise < math.inf:
        msg = f"noise is a standard deviation from 0 up, got {wishes.noise}"
        raise InputError(msg)
    if fwhm is not None and not 0 < fwhm < math.inf:
        msg = f"fwhm must be above 0, got {fwhm}"
        raise InputError(msg)
    if not isinstance(wishes.profile, str | Path):
        return measured_profile(wishes.profile, stack.pixel / distance)
    if wishes.profile not in ("gaussian", "box"):
        return read_profile(Path(wishes.profile), stack.pixel / distance)
    kind: ProfileKind = "box" if wishes.profile == "box" else "gaussian"
    return None if fwhm is None else AxialProfile(kind, fwhm / distance)


def measured_profile(values: Any, step: float) -> AxialProfile:
    """Return a slice profile that was measured.

    Parameters
    ----------
    values : array-like
        The profile along the coarse axis, or the image of a point with three
        axes, the coarse one first, which is summed over the other two.
    step : float
        Distance of its samples over the distance of the slices.

    Raises
    ------
    InputError
        If it is no profile.
    """
    profile = np.asarray(values, dtype=float)
    if profile.ndim == 3:
        profile = profile.sum((1, 2))
    if profile.ndim != 1 or not len(profile):
        msg = f"a slice profile has one axis, or three as the image of a point, not {profile.ndim}"
        raise InputError(msg)
    if len(profile) % 2 == 0:
        msg = f"a slice profile has its middle in the middle: {len(profile)} samples are even"
        raise InputError(msg)
    above = np.flatnonzero(profile >= profile.max() / 2)
    width = max(1, int(above[-1] - above[0]) + 1) * step
    return AxialProfile("measured", width, tuple(float(v) for v in profile), step)


def read_profile(path: Path, step: float) -> AxialProfile:
    """Read a measured slice profile, or the image of a point, from a file.

    Parameters
    ----------
    path : Path
        Text with one number a line, or any image that can be opened.
    step : float
        Distance of its samples over the distance of the slices: for a text,
        and for an image that does not state its voxel size.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if not path.exists():
        msg = (
            f"profile is 'gaussian', 'box', or a file with a measured one; there is no {path.name}"
        )
        raise InputError(msg)
    if path.suffix.lower() in (".txt", ".csv"):
        try:
            values = np.loadtxt(path, dtype=float, delimiter=",", ndmin=1)
        except (OSError, ValueError) as error:
            msg = f"the slice profile in {path.name} cannot be read: {error}"
            raise InputError(msg) from error
        return measured_profile(values.ravel(), step)
    return measured_profile(np.asarray(read_image(path).data[...]), step)
