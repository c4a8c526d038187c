"""Detail beyond the source's band that nothing in the source supports."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.fft
import torch
from scipy.ndimage import gaussian_filter

from napari_hrsr.evaluation.blur_fitting import best_blur, image_pair
from napari_hrsr.evaluation.consistency import check_instrument, measured_noise
from napari_hrsr.evaluation.decorrelation import decorrelate
from napari_hrsr.evaluation.images import Image, check_voxel_size, plain
from napari_hrsr.evaluation.rings import SHORTEST
from napari_hrsr.forward import ForwardModel

WINDOW = 1.5
"""Standard deviation of the window in which energies are compared, pixels of the source."""

_ROLL_OFF = 0.1
"""Half the width of a band's edges, over the cut-off: sharp ones would ring."""

_FIELD = 32
"""Pixels of the source, along each axis, of the scene that holds a point."""


@dataclass(frozen=True, slots=True, eq=False)
class UnsupportedDetail:
    """How much of a result's finest detail nothing in the source speaks for.

    Attributes
    ----------
    excess : ndarray
        Shape of the result, from 0 up: local root mean square of the detail
        beyond the source's band that is not supported, in standard deviations
        of the source's noise.
    share : float
        Energy of the unsupported detail, where that is stronger than the noise,
        over that of all detail beyond the source's band, 0 to 1.
    outside : float
        Share of pixels with unsupported detail stronger than the noise, 0 to 1.
    created : float
        Energy of all detail beyond the source's band over that of the result
        without its mean, 0 to 1.
    support : float
        Energy that a point has beyond the band, over what its image in the
        source has in the octave below the cut-off: the most that is supported.
    cutoff : tuple of float
        Where the source's band ends, per axis, cycles per world unit.
    limited_by_sampling : bool
        Whether that is the source's Nyquist frequency on every axis.
    noise : float
        Standard deviation of the source's noise, in its units.
    forward : ForwardModel
        The instrument.
    fitted : bool
        Whether the width of that model's blur was fitted.
    """

    excess: Image
    share: float
    outside: float
    created: float
    support: float
    cutoff: tuple[float, ...]
    limited_by_sampling: bool
    noise: float
    forward: ForwardModel
    fitted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, without the map, in values that JSON can hold."""
        names = ("share", "outside", "created", "support", "cutoff", "limited_by_sampling", "noise")
        written: dict[str, Any] = plain(
            {name: getattr(self, name) for name in names}
            | {"psf_sigma": self.forward.psf_sigma, "fitted": self.fitted}
        )
        return written


def unsupported_detail(
    result: Any,
    source: Any,
    *,
    factor: float | Sequence[float] | None = None,
    forward: ForwardModel | None = None,
    noise: float | None = None,
    voxel_size: float | Sequence[float] | None = None,
    check: Callable[[], None] = lambda: None,
) -> UnsupportedDetail:
    """Find detail that a result has, and its source gives no reason for.

    Edges, lines and points continue beyond the band that the source has
    recorded, at the place where they are seen in it. Nothing that exists is
    sharper than a point. So the energy beyond the band that a point would have
    is taken as the most that structure in the octave below the cut-off
    supports, at each place; noise supports nothing. What exceeds that by more
    than the source's noise is counted.

    This is a lower bound. Where the source has strong structure, false detail
    beyond the band cannot be told from true detail; and false detail within the
    band is the business of `check_consistency`. Aliasing of a source that was
    sampled without a blur counts as structure.

    Parameters
    ----------
    result, source : array-like
        2 or 3 spatial axes, the result larger by `factor`.
    factor : float or sequence of float, optional
        Whole; read off the shapes if left out.
    forward : ForwardModel, optional
        The instrument. Left out: pixels integrate over their area, behind a
        Gaussian blur of the width that fits best.
    noise : float, optional
        Standard deviation of the source's noise, in its units; measured if left
        out.
    voxel_size : float or sequence of float, optional
        World units per pixel of the result, per axis; 1 if left out.
    check : callable
        Called between steps; may raise to stop.

    Returns
    -------
    UnsupportedDetail

    Raises
    ------
    InputError
        If the images do not belong together, or the noise cannot be measured.
    """
    fine, coarse, factors = image_pair(result, source, factor)
    sizes = check_voxel_size(voxel_size, fine.ndim)
    check_instrument(forward, noise, factors)
    if noise is None:
        noise = measured_noise(source)
    fitted = forward is None
    if forward is None:
        sigma = best_blur(fine, coarse, ForwardModel(factors), scaled=False, check=check)
        forward = replace(ForwardModel(factors), psf_sigma=sigma)
    band = _Band(factors, _recorded(coarse, check))
    support = _point_support(band, forward, check)
    check()
    beyond = band.beyond(fine)
    check()
    below = band.below(coarse)
    created = float((beyond**2).mean()) / float(fine.var())
    energy = band.local(beyond**2)
    check()
    # White noise spreads evenly over the source's frequencies.
    seen = np.maximum(band.local(below**2) - noise**2 * band.share_below(coarse.shape), 0.0)
    check()
    unsupported = np.maximum(energy - support * seen, 0.0)
    counted = unsupported > noise**2
    total = float(energy.sum())
    pitch = [s * k for s, k in zip(sizes, factors, strict=True)]
    return UnsupportedDetail(
        excess=np.sqrt(unsupported) / noise,
        share=float(unsupported[counted].sum()) / total if total > 0 else 0.0,
        outside=float(counted.mean()),
        created=created,
        support=support,
        cutoff=tuple(0.5 * c / p for c, p in zip(band.cutoff, pitch, strict=True)),
        limited_by_sampling=min(band.cutoff) >= 1,
        noise=noise,
        forward=forward,
        fitted=fitted,
    )


@dataclass(frozen=True, slots=True)
class _Band:
    """The frequencies that a source has recorded.

    Images are taken to go on as in a mirror: cosine transforms of source and
    result then have the same functions, centred alike, and no jump at borders.
    """

    factor: tuple[int, ...]
    cutoff: tuple[float, ...]
    """Over the source's Nyquist frequency, per axis."""

    def beyond(self, fine: Image) -> Image:
        """Return what a result has beyond the cut-off."""
        transform = scipy.fft.dctn(fine, norm="ortho")
        transform *= _rise(self._radius(fine.shape, self.factor), 1.0)
        return np.asarray(scipy.fft.idctn(transform, norm="ortho", overwrite_x=True))

    def below(self, coarse: Image) -> Image:
        """Return the octave below the cut-off of a source, on the grid of the result."""
        transform = scipy.fft.dctn(coarse, norm="ortho") * self._octave(coarse.shape)
        shape = [n * k for n, k in zip(coarse.shape, self.factor, strict=True)]
        padded = np.zeros(shape)
        padded[tuple(slice(n) for n in coarse.shape)] = transform
        padded *= math.sqrt(math.prod(self.factor))
        return np.asarray(scipy.fft.idctn(padded, norm="ortho", overwrite_x=True))

    def share_below(self, shape: Sequence[int]) -> float:
        """Return the share of white noise's energy that is in that octave."""
        return float((self._octave(shape) ** 2).mean())

    def local(self, energy: Image) -> Image:
        """Average around each pixel of the result."""
        return np.asarray(gaussian_filter(energy, [WINDOW * k for k in self.factor]))

    def _octave(self, shape: Sequence[int]) -> Image:
        radius = self._radius(shape, (1,) * len(shape))
        return _rise(radius, 0.5) - _rise(radius, 1.0)

    def _radius(self, shape: Sequence[int], factor: Sequence[int]) -> Image:
        """Return each frequency over the cut-off, of the axis where that is the largest."""
        radius = np.zeros((1,) * len(shape))
        for axis, (n, k, c) in enumerate(zip(shape, factor, self.cutoff, strict=True)):
            along = np.arange(n) / n * k / c
            radius = np.maximum(
                radius, along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            )
        return radius


def _rise(radius: Image, at: float) -> Image:
    """Rise from 0 to 1 around a frequency."""
    part = np.clip((radius / at - 1) / (2 * _ROLL_OFF) + 0.5, 0.0, 1.0)
    return np.asarray(np.sin(0.5 * np.pi * part) ** 2)


def _recorded(coarse: Image, check: Callable[[], None]) -> tuple[float, ...]:
    """Return where the source's structure ends, over its Nyquist frequency, per axis."""
    cutoff = [1.0] * coarse.ndim
    if min(coarse.shape[-2:]) >= SHORTEST:
        found = decorrelate(coarse, check=check)
        if not math.isnan(found.cutoff):
            # Decorrelation looks within slices only.
            cutoff[-2:] = [min(1.0, found.cutoff / found.nyquist)] * 2
    return tuple(cutoff)


def _point_support(band: _Band, forward: ForwardModel, check: Callable[[], None]) -> float:
    """Return the energy of a point beyond the band, over that of its image below the cut-off."""
    shape = [_FIELD * k for k in forward.factor]
    ratios = []
    # A point may lie anywhere in a pixel: the place that shows least of it counts.
    for offsets in itertools.product(*[sorted({0, k // 2}) for k in forward.factor]):
        check()
        scene = np.zeros(shape)
        scene[tuple(n // 2 + o for n, o in zip(shape, offsets, strict=True))] = 1.0
        image = forward.apply(torch.from_numpy(scene)).numpy()
        beyond, below = band.local(band.beyond(scene) ** 2), band.local(band.below(image) ** 2)
        ratios.append(float(beyond.max() / below.max()))
    return max(ratios)
