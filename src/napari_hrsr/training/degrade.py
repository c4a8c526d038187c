"""Random but realistic ways to record a fine image on a coarse grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, get_args

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.forward import (
    ForwardModel,
    Microscope,
    PointSpread,
    Sampling,
    SliceProfile,
    gibson_lanni_shape,
)
from napari_hrsr.training.measured_point_spread import read_point_spread
from napari_hrsr.training.ranges import (
    chosen,
    drawn,
    drawn_log,
    one_of,
    plain,
    some_of,
    within,
    within_range,
)
from napari_hrsr.training.recording import Degradation, NoiseKind, degrade

__all__ = ["Degradation", "Degradations", "NoiseKind", "degrade"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Degradations:
    """What instruments and noise are drawn from: how an unknown image may have been made.

    The defaults are what was measured to serve light microscopy: three draws
    in ten are antialiased bicubic sampling, four pixel areas, and three a
    Gaussian point spread function before pixel areas; four in ten are noisy.
    Every range is ``(low, high)``.

    Attributes
    ----------
    bicubic, area, point, k_space : float
        Weights of the kinds of sampling (see `ForwardModel`), on the axes that
        are not sliced.
    point_spread_share : float
        Share, 0 to 1, of the draws with a point spread function.
    noisy_point_spread_share : float or None
        The same where there is noise; by default `point_spread_share`. What is
        noisy is mostly from a microscope, which blurs, and noise hides from the
        network whether it did.
    point_spread_before : tuple of str
        The kinds of sampling that may have one.
    gaussian, airy, gibson_lanni, measured : float
        Weights of the kinds of point spread function.
    point_spread_file : str
        Image of the measured one, with pixels as large as the fine ones (see
        `read_point_spread`).
    point_spread_sha256 : str
        Digest of that file, written when a run starts: a run goes on with what
        it began with, or not at all.
    gaussian_sigma : tuple
        Standard deviation in fine pixels: one range for the same on all axes,
        or a tuple of ranges, one an axis, drawn one by one.
    airy_radius : tuple of float
        First dark ring in fine pixels.
    wavelength, numerical_aperture, specimen_index, depth, defocus : tuple of float
        For Gibson and Lanni's model (see `Microscope`), micrometres.
    immersion_index, pixel_size, plane_spacing : float
        For the same; the sizes of a fine pixel, micrometres.
    slice_axis : int or None
        Axis along which slices were taken. Along it the profile of the slice
        stands for the point spread function too.
    slice_profiles : tuple of str
        ``"gaussian"`` and ``"box"``, with equal chances.
    slice_fwhm : tuple of float
        Width of the profile against the distance of the slices.
    apodisation : tuple of float
        Tapered fraction of the recorded band, where k-space is truncated.
    noisy_share : float
        Share, 0 to 1, of the draws with noise.
    photons : tuple of float
        Photons at white, log-uniform; infinite for no shot noise.
    read_noise : tuple of float
        Standard deviation against white, log-uniform; ``(0, 0)`` for none.
    noise : str
        ``"gaussian"``, or ``"rician"`` as in MRI: no photons are counted then.

    Raises
    ------
    InputError
        If a value makes no sense, with the name of the attribute.
    """

    bicubic: float = 0.3
    area: float = 0.7
    point: float = 0.0
    k_space: float = 0.0
    point_spread_share: float = 3 / 7
    noisy_point_spread_share: float | None = None
    point_spread_before: tuple[Sampling, ...] = ("area", "point")
    gaussian: float = 1.0
    airy: float = 0.0
    gibson_lanni: float = 0.0
    measured: float = 0.0
    point_spread_file: str = ""
    point_spread_sha256: str = ""
    gaussian_sigma: Range | tuple[Range, ...] = (0.3, 1.0)
    airy_radius: Range = (0.8, 2.8)
    wavelength: Range = (0.45, 0.65)
    numerical_aperture: Range = (0.8, 1.3)
    specimen_index: Range = (1.33, 1.47)
    depth: Range = (0.0, 5.0)
    defocus: Range = (-0.2, 0.2)
    immersion_index: float = 1.515
    pixel_size: float = 0.1
    plane_spacing: float = 0.3
    slice_axis: int | None = None
    slice_profiles: tuple[SliceProfile, ...] = ("gaussian", "box")
    slice_fwhm: Range = (0.7, 1.1)
    apodisation: Range = (0.0, 0.0)
    noisy_share: float = 0.4
    photons: Range = (50.0, 2000.0)
    read_noise: Range = (0.002, 0.04)
    noise: NoiseKind = "gaussian"

    def __post_init__(self) -> None:
        for f in fields(self):
            # TOML and JSON have lists where this has tuples.
            object.__setattr__(self, f.name, plain(getattr(self, f.name)))
        for name, (low, high) in _NUMBERS.items():
            within(name, getattr(self, name), low, high)
        if self.noisy_point_spread_share is not None:
            within("noisy_point_spread_share", self.noisy_point_spread_share, 0.0, 1.0)
        for names in (("bicubic", "area", "point", "k_space"), _KINDS):
            if not any(getattr(self, name) for name in names):
                msg = f"one of {', '.join(names)} must be above 0: nothing could be drawn"
                raise InputError(msg)
        for name, (low, high) in _RANGES.items():
            within_range(name, getattr(self, name), low, high)
        for sigma in self._sigmas():
            within_range("gaussian_sigma", sigma, 0.0, 30.0)
        some_of("point_spread_before", self.point_spread_before, get_args(Sampling))
        some_of("slice_profiles", self.slice_profiles, get_args(SliceProfile))
        if not self.slice_profiles:
            msg = "slice_profiles must name at least one profile"
            raise InputError(msg)
        one_of("noise", self.noise, get_args(NoiseKind))
        if self.slice_axis is not None:
            within("slice_axis", self.slice_axis, 0, 2, whole=True)
        for name in ("photons", "read_noise"):
            if getattr(self, name)[0] == 0 < getattr(self, name)[1]:
                msg = f"{name} is drawn log-uniformly: a range cannot start at 0"
                raise InputError(msg)
        if self.gibson_lanni:
            self._check_microscopes()
        if bool(self.measured) != bool(self.point_spread_file):
            msg = "a measured point spread function needs its file and a weight: give both"
            raise InputError(msg)

    def draw(self, rng: np.random.Generator, scale: tuple[int, ...]) -> Degradation:
        """Draw an instrument and, for a part of the draws, noise.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        scale : tuple of int
            Fine pixels in a coarse one, per axis.

        Returns
        -------
        Degradation

        Raises
        ------
        InputError
            If `slice_axis` or `gaussian_sigma` does not fit the number of axes.
        """
        ndim = len(scale)
        sliced = self._sliced(scale)
        share = self.point_spread_share
        noisy: bool | None = None
        if self.noisy_point_spread_share is not None:
            # Drawn first only where the rest depends on it: other runs go on as they began.
            noisy = rng.random() < self.noisy_share
            share = self.noisy_point_spread_share if noisy else share
        sampling = chosen(rng, {kind: getattr(self, name) for name, kind in _SAMPLINGS.items()})
        sigma: tuple[float, ...] = ()
        spread: PointSpread | None = None
        if sampling in self.point_spread_before and rng.random() < share:
            kind = chosen(rng, {name: getattr(self, name) for name in _KINDS})
            if kind == "gaussian":
                sigma = self._draw_sigma(rng, ndim, sliced)
            else:
                spread = self._draw_point_spread(rng, kind, ndim, sliced)
        fwhm, profile = 0.0, self.slice_profiles[0]
        if sliced is not None:
            fwhm = drawn(rng, self.slice_fwhm) * scale[sliced]
            profile = self.slice_profiles[int(rng.integers(len(self.slice_profiles)))]
        apodisation = drawn(rng, self.apodisation) if sampling == "k-space" else 0.0
        instrument = ForwardModel(
            factor=scale,
            psf_sigma=sigma,
            sampling=sampling,
            slice_axis=sliced,
            slice_fwhm=fwhm,
            slice_profile=profile,
            point_spread=spread,
            apodisation=apodisation,
        )
        if noisy is None:
            noisy = rng.random() < self.noisy_share
        if not noisy:
            return Degradation(instrument)
        photons = drawn_log(rng, self.photons) if self.noise == "gaussian" else math.inf
        return Degradation(instrument, photons, drawn_log(rng, self.read_noise), self.noise)

    def measured_point_spread(self, ndim: int, sliced: int | None = None) -> PointSpread:
        """Return the measured point spread function.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.
        sliced : int, optional
            An axis along which the profile of slices stands for it.

        Raises
        ------
        InputError
            If its file cannot be used; see `read_point_spread`.
        """
        spread = read_point_spread(self.point_spread_file, ndim, self.point_spread_sha256)
        return spread if sliced is None else PointSpread(spread.kernel.sum(sliced, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists that TOML can hold; what is None is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _lists(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s plain values; what is left out has its default.

        Parameters
        ----------
        values : Mapping
            By attribute.

        Returns
        -------
        Degradations

        Raises
        ------
        InputError
            If an attribute is unknown, or a value makes no sense.
        """
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                msg = f"unknown degradation setting {name!r}; known are {', '.join(known)}"
                raise InputError(msg)
        return cls(**values)

    def _sigmas(self) -> tuple[Any, ...]:
        value: Any = self.gaussian_sigma
        per_axis = isinstance(value, tuple) and any(isinstance(entry, tuple) for entry in value)
        return value if per_axis else (value,)

    def _sliced(self, scale: tuple[int, ...]) -> int | None:
        if self.slice_axis is None:
            return None
        if self.slice_axis >= len(scale):
            last = len(scale) - 1
            msg = f"slice_axis must be 0 to {last} for {len(scale)} axes, got {self.slice_axis}"
            raise InputError(msg)
        return self.slice_axis if scale[self.slice_axis] > 1 else None

    def _draw_sigma(
        self, rng: np.random.Generator, ndim: int, sliced: int | None
    ) -> tuple[float, ...]:
        ranges = self._sigmas()
        if len(ranges) == 1:
            sigma = (drawn(rng, ranges[0]),) * ndim
        elif len(ranges) == ndim:
            sigma = tuple(drawn(rng, limits) for limits in ranges)
        else:
            msg = f"gaussian_sigma holds {len(ranges)} ranges for {ndim} axes: give one, or {ndim}"
            raise InputError(msg)
        return tuple(0.0 if axis == sliced else s for axis, s in enumerate(sigma))

    def _draw_point_spread(
        self, rng: np.random.Generator, kind: str, ndim: int, sliced: int | None
    ) -> PointSpread:
        if kind == "measured":
            return self.measured_point_spread(ndim, sliced)
        free = [axis for axis in range(ndim) if axis != sliced]
        if kind == "airy":
            kernel = PointSpread.airy_disk(drawn(rng, self.airy_radius)).kernel
        else:
            microscope = Microscope(
                wavelength=drawn(rng, self.wavelength),
                numerical_aperture=drawn(rng, self.numerical_aperture),
                depth=drawn(rng, self.depth),
                specimen_index=drawn(rng, self.specimen_index),
                immersion_index=self.immersion_index,
            )
            kernel = PointSpread.gibson_lanni(
                microscope,
                self.pixel_size,
                plane_spacing=self.plane_spacing if len(free) == 3 else None,
                defocus=drawn(rng, self.defocus),
            ).kernel
        # Where fewer axes are free, a line of points stands for the point.
        while kernel.ndim > len(free):
            kernel = kernel.sum(0)
        shape = [1] * ndim
        for axis, side in zip(free[len(free) - kernel.ndim :], kernel.shape, strict=True):
            shape[axis] = side
        return PointSpread(kernel.reshape(shape))

    def _check_microscopes(self) -> None:
        """Refuse ranges of which a draw could fail, before a training starts."""
        for aperture in self.numerical_aperture:
            microscope = Microscope(
                self.wavelength[1], aperture, immersion_index=self.immersion_index
            )
            defocus = max(map(abs, self.defocus))
            gibson_lanni_shape(microscope, self.pixel_size, self.plane_spacing, defocus)


_SAMPLINGS: dict[str, Sampling] = {
    "bicubic": "bicubic",
    "area": "area",
    "point": "point",
    "k_space": "k-space",
}
_KINDS = ("gaussian", "airy", "gibson_lanni", "measured")
_NUMBERS = {
    **dict.fromkeys((*_SAMPLINGS, *_KINDS), (0.0, 1e6)),
    "point_spread_share": (0.0, 1.0),
    "immersion_index": (1.0, 4.0),
    "pixel_size": (1e-3, 1e3),
    "plane_spacing": (1e-3, 1e3),
    "noisy_share": (0.0, 1.0),
}
_RANGES = {
    "airy_radius": (0.05, 25.0),
    "wavelength": (0.1, 20.0),
    "numerical_aperture": (0.01, 2.0),
    "specimen_index": (1.0, 4.0),
    "depth": (0.0, 1000.0),
    "defocus": (-1000.0, 1000.0),
    "slice_fwhm": (0.05, 10.0),
    "apodisation": (0.0, 1.0),
    "photons": (1e-3, math.inf),
    "read_noise": (0.0, 100.0),
}


def _lists(value: Any) -> Any:
    return [_lists(entry) for entry in value] if isinstance(value, tuple) else value
