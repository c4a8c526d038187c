"""Fourier ring and shell correlation: up to which frequency two images agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation.images import (
    Image,
    check_image,
    check_same_shape,
    check_voxel_size,
)
from napari_hrsr.evaluation.ring_curve import RingCorrelation, smooth
from napari_hrsr.evaluation.rings import Rings, Window, faded, sort_frequencies, spectrum


def correlate_rings(
    first: Any,
    second: Any,
    *,
    voxel_size: float | Sequence[float] | None = None,
    window: Window = "tukey",
) -> RingCorrelation:
    """Correlate two images of one scene, ring by ring.

    Saxton and Baumeister (1982), van Heel et al. (1982) and, in 3D, Harauz and
    van Heel (1986), with the real part in the numerator. The two must have
    independent noise: two recordings, or the results a network makes of each.
    Against a truth the same curve says how far a result is right. A crossing
    among the first dozen rings is some per cent too high: rings are then wide
    against the fall of the curve, and a larger field helps.

    Parameters
    ----------
    first, second : array-like
        Shape (Y, X) or (Z, Y, X), the same; gain and offset do not matter.
    voxel_size : float or sequence of float, optional
        World units per pixel, per axis; 1 if left out.
    window : str
        How both are faded out: ``"tukey"``, ``"hann"`` or ``"none"``.

    Returns
    -------
    RingCorrelation

    Raises
    ------
    InputError
        If the curve would mean nothing, with the reason.
    """
    a, b = check_image(first, "first image"), check_image(second, "second image")
    check_same_shape(a, b, "second image")
    _refuse_the_same(a, b)
    sizes = check_voxel_size(voxel_size, a.ndim)
    rings = sort_frequencies(a.shape, sizes)
    sums = _sums(rings, faded(a, window), faded(b, window))
    return _curve(rings, sums, rings.nyquist, single=False)


def correlate_halves(
    image: Any,
    *,
    voxel_size: float | Sequence[float] | None = None,
    window: Window = "tukey",
    network_output: bool,
    check: Callable[[], None] = lambda: None,
) -> RingCorrelation:
    """Correlate two halves of one image, whose pixels alternate along diagonals.

    Koho et al. (2019): of every 2 x 2 pixels the two on one diagonal are held
    against each other, and so are the other two. That needs noise that is
    independent from pixel to pixel, as in a raw camera image, and detail no
    finer than some four pixels: what is finer folds over in the halves, and the
    answer is then too good, or the Nyquist frequency. A volume's slices are
    measured together: the answer is the resolution within them, since only that
    was calibrated.

    Parameters
    ----------
    image : array-like
        Shape (Y, X) or (Z, Y, X).
    voxel_size : float or sequence of float, optional
        World units per pixel, per axis; 1 if left out.
    window : str
        How it is faded out: ``"tukey"``, ``"hann"`` or ``"none"``.
    network_output : bool
        Whether a network, an interpolation or a filter made the image. Such an
        image is refused.
    check : callable
        Called between slices; may raise to stop.

    Returns
    -------
    RingCorrelation

    Raises
    ------
    InputError
        If the curve would mean nothing, with the reason.
    """
    if network_output:
        msg = (
            "the ring correlation of a single image is meaningless for the output of a network: "
            "neighbouring pixels share what the network made up, and agree on it. Run the network "
            "on two independent recordings and correlate the two results"
        )
        raise InputError(msg)
    values = check_image(image, "image")
    sizes = check_voxel_size(voxel_size, values.ndim)[-2:]
    rows, columns = (n - n % 2 for n in values.shape[-2:])
    rings = sort_frequencies((rows // 2, columns // 2), [2 * s for s in sizes])
    sums = np.zeros((3, len(rings.frequency)))
    planes = values.reshape(-1, *values.shape[-2:])[:, :rows, :columns]
    for plane in planes:
        check()
        whole = faded(plane, window)
        for shift in (0, 1):
            first, second = whole[::2, shift::2], whole[1::2, 1 - shift :: 2]
            sums += _sums(rings, first - first.mean(), second - second.mean())
    return _curve(rings, sums, tuple(0.5 / s for s in sizes), single=True)


def _refuse_the_same(a: Image, b: Image) -> None:
    deviation_a, deviation_b = a - a.mean(), b - b.mean()
    shared = float((deviation_a * deviation_b).sum())
    if shared > (1 - 1e-13) * float(np.sqrt((deviation_a**2).sum() * (deviation_b**2).sum())):
        msg = (
            "the two images are the same, up to gain and offset: they agree at all frequencies, "
            "noise included, which says nothing. Give two independent recordings"
        )
        raise InputError(msg)


def _sums(rings: Rings, a: Image, b: Image) -> Image:
    """Return what a correlation is made of: shared power, and that of each image."""
    first, second = spectrum(a), spectrum(b)
    shared = rings.total(first.real * second.real + first.imag * second.imag)
    powers = [rings.total(s.real**2 + s.imag**2) for s in (first, second)]
    return np.stack([shared, *powers])


def _curve(
    rings: Rings, sums: Image, nyquist: tuple[float, ...], *, single: bool
) -> RingCorrelation:
    scale = np.sqrt(sums[1] * sums[2])
    correlation = np.divide(sums[0], scale, out=np.zeros(len(scale)), where=scale > 0).clip(-1, 1)
    smoothed = smooth(correlation, rings.members)
    return RingCorrelation(
        rings.frequency, correlation, smoothed, rings.members, nyquist, single=single
    )
