"""The image of a point, as a kernel of any shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
from torch import Tensor

from napari_hrsr.errors import InputError
from napari_hrsr.forward.axis_kernels import gaussian_taps
from napari_hrsr.forward.convolution import convolve, correlate
from napari_hrsr.forward.optics import FIRST_DARK_RING, Microscope, airy, check_lens, over_pixels

LONGEST_SIDE = 257
"""Longest side of a kernel that is made from physical sizes, in pixels."""

_ROUNDING = 1e-12
"""By which a sum of one may miss one."""

FIFTH_DARK_RING = 16.470630050877634 / FIRST_DARK_RING
"""Its radius against the first one's; 96 per cent of the light lies inside."""


@dataclass(frozen=True, slots=True, eq=False)
class PointSpread:
    """A point spread function: what a point becomes, on the fine grid.

    Two are equal if their kernels are.

    Attributes
    ----------
    kernel : ndarray
        Axes as those of the image ([Z,] Y, X), every side odd, the point in the
        middle; no value negative. It is stored as float64, divided by its sum,
        and read-only.

    Raises
    ------
    InputError
        If the kernel has an even side, or values that make no sense.
    """

    kernel: np.ndarray

    def __post_init__(self) -> None:
        kernel = np.array(self.kernel, dtype=np.float64)
        if not kernel.ndim or any(side % 2 == 0 for side in kernel.shape):
            msg = (
                f"a point spread function must have odd sides, got the shape {kernel.shape}: "
                "crop it so that the point is in the middle"
            )
            raise InputError(msg)
        total = float(kernel.sum())
        if not (math.isfinite(total) and total > 0 and kernel.min() >= 0):
            msg = "a point spread function must hold finite numbers from 0 up, not all of them 0"
            raise InputError(msg)
        # What was stored stays what it is: a sum of one to rounding is one.
        if abs(total - 1) > _ROUNDING:
            kernel /= total
        kernel.setflags(write=False)
        object.__setattr__(self, "kernel", kernel)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PointSpread):
            return NotImplemented
        return np.array_equal(self.kernel, other.kernel)

    def __hash__(self) -> int:
        return hash((self.kernel.shape, self.kernel.tobytes()))

    @property
    def ndim(self) -> int:
        """Number of axes; they are the last ones of the image."""
        return self.kernel.ndim

    @classmethod
    def gaussian(cls, sigma: tuple[float, ...]) -> Self:
        """Return a Gaussian.

        Parameters
        ----------
        sigma : tuple of float
            Standard deviation in fine pixels, per axis.

        Returns
        -------
        PointSpread
            Followed to four standard deviations.

        Raises
        ------
        InputError
            If a standard deviation is negative.
        """
        if not sigma or not all(0 <= s < math.inf for s in sigma):
            msg = f"sigma must hold one number from 0 up for each axis, got {sigma!r}"
            raise InputError(msg)
        return cls(reduce(np.multiply.outer, (gaussian_taps(s) for s in sigma)))

    @classmethod
    def airy(cls, wavelength: float, numerical_aperture: float, pixel_size: float) -> Self:
        """Return the pattern of Airy: a widefield microscope or a telescope in focus.

        Parameters
        ----------
        wavelength : float
            Of the light in vacuum, micrometres.
        numerical_aperture : float
            Of the objective.
        pixel_size : float
            Side of a fine pixel in the specimen, micrometres.

        Returns
        -------
        PointSpread
            Of two axes, integrated over the pixels, to the fifth dark ring.

        Raises
        ------
        InputError
            If a value is not physical.
        """
        check_lens(wavelength, numerical_aperture)
        return cls.airy_disk(
            _in_pixels(_dark_ring(wavelength, numerical_aperture), "pixel_size", pixel_size)
        )

    @classmethod
    def airy_disk(cls, radius: float) -> Self:
        """Return the pattern of Airy of a known size.

        Parameters
        ----------
        radius : float
            Of the first dark ring, in fine pixels.

        Returns
        -------
        PointSpread
            See `airy`.

        Raises
        ------
        InputError
            If the radius is not above 0, or hundreds of pixels.
        """
        if not radius > 0:
            msg = f"radius must be above 0 fine pixels, got {radius}"
            raise InputError(msg)
        side = _side(radius * FIFTH_DARK_RING)
        return cls(over_pixels(lambda distance: airy(distance / radius), (side, side), radius))

    @classmethod
    def gibson_lanni(
        cls,
        microscope: Microscope,
        pixel_size: float,
        *,
        plane_spacing: float | None = None,
        defocus: float = 0.0,
        shape: tuple[int, ...] | None = None,
    ) -> Self:
        """Return the aberrated pattern of a widefield microscope, in a plane or in space.

        The scalar model of Gibson and Lanni (1992), evaluated directly. The
        middle of the kernel is where the point looks sharpest, so that an image
        stays in place however deep the point lies.

        Parameters
        ----------
        microscope : Microscope
            The lens and what the light passes through.
        pixel_size : float
            Side of a fine pixel in the specimen, micrometres.
        plane_spacing : float, optional
            Distance of the planes, micrometres, for a kernel of three axes;
            the first goes deeper into the specimen.
        defocus : float
            How far the middle plane lies deeper than the sharpest one,
            micrometres.
        shape : tuple of int, optional
            Sides of the kernel, odd; as many as it takes to hold most of the
            light of a point in focus if left out.

        Returns
        -------
        PointSpread
            Of two axes, or of three if `plane_spacing` is given.

        Raises
        ------
        InputError
            If a size is not physical, or the shape does not fit.
        """
        ring = _dark_ring(microscope.wavelength, microscope.numerical_aperture)
        radius = _in_pixels(ring, "pixel_size", pixel_size)
        if plane_spacing is not None:
            _in_pixels(ring, "plane_spacing", plane_spacing)
        if not math.isfinite(defocus):
            msg = f"defocus must be a number of micrometres, got {defocus}"
            raise InputError(msg)
        ndim = 2 if plane_spacing is None else 3
        if shape is None:
            shape = gibson_lanni_shape(microscope, pixel_size, plane_spacing, defocus)
        if len(shape) != ndim or any(side < 1 or side % 2 == 0 for side in shape):
            msg = f"shape must hold {ndim} odd numbers, got {shape!r}"
            raise InputError(msg)
        planes: np.ndarray = np.zeros(1)
        if plane_spacing is not None:
            planes = (np.arange(shape[0]) - shape[0] // 2) * plane_spacing
        kernel = over_pixels(
            lambda distance: microscope.intensity(distance * pixel_size, planes + defocus),
            (shape[-2], shape[-1]),
            radius,
        )
        return cls(kernel.reshape(shape))

    @classmethod
    def measured(cls, values: np.ndarray, background: float = 0.0) -> Self:
        """Return what was measured, such as the mean image of small beads.

        Parameters
        ----------
        values : ndarray
            Axes as those of the image, every side odd, in pixels of the fine
            grid; the bead in the middle.
        background : float
            Value of the surroundings; it is subtracted, and what remains below
            zero is set to zero.

        Returns
        -------
        PointSpread

        Raises
        ------
        InputError
            If the brightest pixel is not in the middle: the kernel would move
            the image.
        """
        kernel = np.maximum(np.asarray(values, dtype=np.float64) - background, 0.0)
        spread = cls(kernel)
        brightest = np.unravel_index(int(kernel.argmax()), kernel.shape)
        middle = tuple(side // 2 for side in kernel.shape)
        if any(abs(int(b) - m) > 1 for b, m in zip(brightest, middle, strict=True)):
            msg = (
                f"the brightest pixel of the measured point spread function is at "
                f"{tuple(map(int, brightest))}, its middle is at {middle}: crop it around the point"
            )
            raise InputError(msg)
        return spread

    def apply(self, image: Tensor) -> Tensor:
        """Blur an image, which is continued by its edge pixels.

        Parameters
        ----------
        image : Tensor
            Shape (..., *spatial), floating point.

        Returns
        -------
        Tensor
            Same shape and dtype.
        """
        return convolve(image, self.kernel)

    def adjoint(self, image: Tensor) -> Tensor:
        """Apply the transposed operator, exact up to the borders.

        Parameters
        ----------
        image : Tensor
            Shape (..., *spatial), floating point.

        Returns
        -------
        Tensor
            Same shape and dtype.
        """
        return correlate(image, self.kernel)


def _dark_ring(wavelength: float, numerical_aperture: float) -> float:
    return FIRST_DARK_RING / (2 * math.pi) * wavelength / numerical_aperture


def _in_pixels(length: float, name: str, pixel: float) -> float:
    if not 0 < pixel < math.inf:
        msg = f"{name} must be a number of micrometres above 0, got {pixel}"
        raise InputError(msg)
    return length / pixel


def _side(reach: float) -> int:
    """Return the odd side of a kernel that reaches so many pixels from its middle."""
    if not 2 * reach <= LONGEST_SIDE:
        msg = (
            f"the point spread function would be {2 * reach:.0f} pixels wide, more than "
            f"{LONGEST_SIDE}: check that all lengths are in micrometres"
        )
        raise InputError(msg)
    return 2 * math.ceil(reach) + 1


def gibson_lanni_shape(
    microscope: Microscope,
    pixel_size: float,
    plane_spacing: float | None = None,
    defocus: float = 0.0,
) -> tuple[int, ...]:
    """Return sides that hold most of the light of a point in focus.

    Parameters
    ----------
    microscope : Microscope
        The lens and what the light passes through.
    pixel_size, plane_spacing, defocus : float
        See `PointSpread.gibson_lanni`.

    Returns
    -------
    tuple of int
        Odd: two sides, or three with `plane_spacing`.

    Raises
    ------
    InputError
        If a side would be hundreds of pixels long, or a size is not physical.
    """
    wavelength, aperture = microscope.wavelength, microscope.numerical_aperture
    index = microscope.immersion_index
    cone = math.tan(math.asin(aperture / index))
    ring = _dark_ring(wavelength, aperture) * FIFTH_DARK_RING
    if plane_spacing is None:
        side = _side(_in_pixels(ring + abs(defocus) * cone / 2, "pixel_size", pixel_size))
        return side, side
    axial_zero = wavelength / (index - math.sqrt(index**2 - aperture**2))
    # Half of the cone: towards its rim there is little light.
    wide = ring + (abs(defocus) + axial_zero) * cone / 2
    side = _side(_in_pixels(wide, "pixel_size", pixel_size))
    return _side(_in_pixels(1.5 * axial_zero, "plane_spacing", plane_spacing)), side, side
