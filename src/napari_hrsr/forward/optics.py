"""Intensities in the image of a point, from wavelength, lens and refractive indices.

All lengths are micrometres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from napari_hrsr.errors import InputError

FIRST_DARK_RING = 3.8317059702075125
"""First zero of the Bessel function J1."""


@dataclass(frozen=True, slots=True)
class Microscope:
    """A widefield fluorescence microscope, as Gibson and Lanni describe it.

    The objective is corrected for its design values; every departure from them,
    and every micrometre of specimen of another index, adds spherical aberration.

    Attributes
    ----------
    wavelength : float
        Of the emitted light in vacuum.
    numerical_aperture : float
        Of the objective.
    depth : float
        Of the fluorescent point below the coverslip.
    specimen_index, immersion_index, coverslip_index : float
        Refractive indices.
    coverslip_thickness : float
        As it is.
    immersion_index_design, coverslip_index_design, coverslip_thickness_design : float, optional
        What the objective is made for; the actual value if left out.
    working_distance : float
        Thickness of the immersion medium that the objective is made for.

    Raises
    ------
    InputError
        If a value is not physical, with the name of the argument.
    """

    wavelength: float
    numerical_aperture: float
    depth: float = 0.0
    specimen_index: float = 1.33
    immersion_index: float = 1.515
    coverslip_index: float = 1.515
    coverslip_thickness: float = 170.0
    immersion_index_design: float | None = None
    coverslip_index_design: float | None = None
    coverslip_thickness_design: float | None = None
    working_distance: float = 150.0

    def __post_init__(self) -> None:
        check_lens(self.wavelength, self.numerical_aperture)
        for name in ("immersion_index", "coverslip_index", "coverslip_thickness"):
            if getattr(self, f"{name}_design") is None:
                object.__setattr__(self, f"{name}_design", getattr(self, name))
        for name in (
            "immersion_index",
            "coverslip_index",
            "immersion_index_design",
            "coverslip_index_design",
        ):
            index = getattr(self, name)
            if not self.numerical_aperture < index <= 4:
                msg = (
                    f"{name} must lie above the numerical aperture {self.numerical_aperture} "
                    f"and up to 4, got {index}"
                )
                raise InputError(msg)
        if not 1 <= self.specimen_index <= 4:
            msg = f"specimen_index must be 1 to 4, got {self.specimen_index}"
            raise InputError(msg)
        for name in (
            "depth",
            "coverslip_thickness",
            "coverslip_thickness_design",
            "working_distance",
        ):
            length = getattr(self, name)
            if not 0 <= length < math.inf:
                msg = f"{name} must be a number of micrometres from 0 up, got {length}"
                raise InputError(msg)

    def intensity(self, radii: np.ndarray, focus: np.ndarray) -> np.ndarray:
        """Return the scalar diffraction integral of Gibson and Lanni (1992), squared.

        Parameters
        ----------
        radii : ndarray
            Shape (radii,): distances from the optical axis.
        focus : ndarray
            Shape (planes,): how far the objective is moved towards the
            specimen from where the point looks sharpest.

        Returns
        -------
        ndarray
            Shape (planes, radii), in arbitrary units.
        """
        reach = float(np.max(np.abs(radii), initial=0.0)) * self._wave_number
        travel = float(np.max(np.abs(focus), initial=0.0)) * self._wave_number
        sharpest = self._sharpest()
        nodes = self._nodes(reach * self.numerical_aperture + travel * self.immersion_index)
        pupil = self._pupil(*nodes, focus + sharpest)
        argument = self._wave_number * self.numerical_aperture * nodes[0][:, None] * radii
        bessel = torch.special.bessel_j0(torch.from_numpy(argument)).numpy()
        return np.asarray(np.abs(pupil @ bessel) ** 2)

    @property
    def _wave_number(self) -> float:
        return 2 * math.pi / self.wavelength

    def _optical_path(self, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the path difference at paraxial focus, and its change with the focus.

        Both are micrometres, complex where the light in the specimen is
        evanescent; `rho` is the position in the pupil, 0 to 1.
        """
        sine = self.numerical_aperture * rho
        immersion_design = self.immersion_index_design or self.immersion_index
        coverslip_design = self.coverslip_index_design or self.coverslip_index
        thickness_design = self.coverslip_thickness_design or 0.0
        # The thickness of the immersion medium that brings the point to paraxial focus.
        immersion = self.immersion_index * (
            self.working_distance / immersion_design
            + thickness_design / coverslip_design
            - self.coverslip_thickness / self.coverslip_index
            - self.depth / self.specimen_index
        )
        along = _along_axis(self.immersion_index, sine)
        path = (
            self.depth * _along_axis(self.specimen_index, sine)
            + immersion * along
            + self.coverslip_thickness * _along_axis(self.coverslip_index, sine)
            - self.working_distance * _along_axis(immersion_design, sine)
            - thickness_design * _along_axis(coverslip_design, sine)
        )
        return path, -along

    def _pupil(self, rho: np.ndarray, weights: np.ndarray, focus: np.ndarray) -> np.ndarray:
        """Return the pupil function times the weights of the integral, shape (planes, rho)."""
        path, change = self._optical_path(rho)
        phase = self._wave_number * (path + focus[:, None] * change)
        return np.asarray(np.exp(1j * phase) * (weights * rho))

    def _nodes(self, phase: float) -> tuple[np.ndarray, np.ndarray]:
        """Return positions in the pupil that follow so many radians and the aberration.

        And the weights of the integral over them. The square root of the
        specimen has a kink where its light becomes evanescent; in the angles of
        the rays (real on this side of it, imaginary beyond) it is smooth.
        """
        path, _ = self._optical_path(np.linspace(0, 1, 200))
        total = phase + self._wave_number * float(np.ptp(path.real))
        nodes, weights = _quadrature(math.ceil((total + 32) / 64))
        ratio = self.numerical_aperture / self.specimen_index
        steepest = math.asin(min(1.0, ratio))
        angle = steepest * nodes
        rho = np.sin(angle) / ratio
        measure = np.cos(angle) / ratio * steepest * weights
        if ratio > 1:
            last = math.acosh(ratio)
            rho = np.concatenate([rho, np.cosh(last * nodes) / ratio])
            beyond = np.sinh(last * nodes) / ratio * last * weights
            measure = np.concatenate([measure, beyond])
        return rho, measure

    def _sharpest(self) -> float:
        """Return the focus with the highest intensity on the axis, against paraxial focus."""
        rho = np.linspace(0, 1, 400)
        path, change = self._optical_path(rho)
        # Where the rays of each zone of the pupil cross the axis.
        steps = np.diff(change.real)
        crossing = -np.diff(path.real)[steps > 0] / steps[steps > 0]
        depth_of_field = self.wavelength / float(np.ptp(change.real))
        # The outermost rays may cross it anywhere, and carry little light.
        low, high = (float(q) for q in np.quantile(crossing, (0.05, 0.95)))
        low, high = low - depth_of_field, high + depth_of_field
        nodes = self._nodes(self._wave_number * max(abs(low), abs(high)))
        for _ in range(3):
            candidates = np.linspace(
                low, high, max(41, math.ceil(20 * (high - low) / depth_of_field))
            )
            axis = np.abs(self._pupil(*nodes, candidates).sum(1))
            best, step = candidates[int(axis.argmax())], candidates[1] - candidates[0]
            low, high = best - step, best + step
        return float(best)


def check_lens(wavelength: float, numerical_aperture: float) -> None:
    """Refuse a wavelength or a numerical aperture that no microscope has.

    Parameters
    ----------
    wavelength : float
        Micrometres.
    numerical_aperture : float
        Of the objective.

    Raises
    ------
    InputError
        If one is out of range.
    """
    if not 0.1 <= wavelength <= 20:
        msg = f"wavelength must be 0.1 to 20 micrometres, got {wavelength}: green light is 0.52"
        raise InputError(msg)
    if not 0 < numerical_aperture <= 2:
        msg = f"numerical_aperture must be above 0 and up to 2, got {numerical_aperture}"
        raise InputError(msg)


def airy(distance: np.ndarray) -> np.ndarray:
    """Evaluate the diffraction pattern of a round aperture (Airy 1835).

    Parameters
    ----------
    distance : ndarray
        In radii of the first dark ring.

    Returns
    -------
    ndarray
        Intensities; 1 in the middle.
    """
    v = np.maximum(np.abs(distance) * FIRST_DARK_RING, 1e-6)
    return np.asarray((2 * torch.special.bessel_j1(torch.from_numpy(v)).numpy() / v) ** 2)


def over_pixels(
    profile: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int], detail: float
) -> np.ndarray:
    """Integrate a round pattern over the areas of pixels.

    Parameters
    ----------
    profile : callable
        Takes increasing distances from the middle in pixels, shape (distances,),
        and returns intensities of shape (..., distances).
    shape : tuple of int
        Rows and columns, odd.
    detail : float
        Size in pixels of the smallest structure in the pattern.

    Returns
    -------
    ndarray
        Shape (..., *shape): means over the pixels.
    """
    # Odd, so that the middle of a pixel is among the samples.
    fine = 2 * math.ceil(min(max(4 / detail, 1.0), 12.0)) + 1
    rows, columns = ((np.arange(size * fine) - (size * fine - 1) / 2) / fine for size in shape)
    distance = np.hypot(rows[:, None], columns)
    samples = np.linspace(0, distance.max(), math.ceil(distance.max() / detail * 60) + 2)
    intensities = profile(samples)
    planes = [
        np.interp(distance, samples, line).reshape(shape[0], fine, shape[1], fine).mean((1, 3))
        for line in intensities.reshape(-1, len(samples))
    ]
    return np.stack(planes).reshape(*intensities.shape[:-1], *shape)


def _along_axis(index: float, sine: np.ndarray) -> np.ndarray:
    """Return the component of the wave vector along the axis, in waves."""
    return np.asarray(np.sqrt(index**2 - sine**2 + 0j))


@lru_cache(maxsize=16)
def _quadrature(parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on 0 to 1: Gauss and Legendre's, in equal parts."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    starts = np.arange(parts)[:, None]
    return ((starts + (nodes + 1) / 2) / parts).ravel(), np.tile(weights / (2 * parts), parts)
