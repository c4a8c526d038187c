"""Where the result sits in the world: on the source, edge on edge.

A source pixel of width ``s`` is replaced by ``k`` pixels of width ``s / k``
that fill the same interval. World positions belong to pixel *centres*, so
the first centre moves::

        source      |     o     |     o     |        centres at 0, s
        result      |  x  |  x  |  x  |  x  |        centres at -s/4, s/4, ...

by ``(1 - k) / (2 k)`` source pixels on each axis, along the image's own
axes, that is through the full linear part of its transform.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def linear_matrix(scale: ArrayLike, rotate: ArrayLike | None, shear: ArrayLike | None) -> Floats:
    """Compose ``rotate @ shear @ diag(scale)``, as napari does.

    Parameters
    ----------
    scale : array-like, shape (n,)
        Pixel size per axis.
    rotate : array-like, optional
        Rotation matrix (n, n), or an angle in degrees in the plane of the
        last two axes.
    shear : array-like, optional
        The ``n (n - 1) / 2`` entries above the diagonal of a unit upper
        triangular matrix, row by row, or the matrix (n, n) itself.

    Returns
    -------
    ndarray, shape (n, n)
        Takes pixel offsets to world offsets.
    """
    scale = np.asarray(scale, dtype=float)
    n = len(scale)
    return _rotation(rotate, n) @ _shear(shear, n) @ np.diag(scale)


def upscaled_scale_translate(
    scale: ArrayLike,
    translate: ArrayLike,
    rotate: ArrayLike | None = None,
    shear: ArrayLike | None = None,
    factor: ArrayLike = 2,
    start: ArrayLike = 0,
) -> tuple[Floats, Floats]:
    """Scale and translation that lay an upscaled image exactly on its source.

    Rotation, shear and any further affine transform stay as they are.

    Parameters
    ----------
    scale, translate : array-like, shape (n,)
        The source's pixel size and the world position of its first pixel's
        centre, in any unit.
    rotate, shear : array-like, optional
        The source's rotation and shear, as `linear_matrix` takes them.
    factor : array-like
        Upscaling factor, one number or one per axis (1 on axes that were not
        upscaled).
    start : array-like
        First source pixel of the upscaled region, one number or one per axis.

    Returns
    -------
    scale, translate : ndarray, shape (n,)
        For the result.

    Examples
    --------
    >>> scale, translate = upscaled_scale_translate([3.0, 1.0], [0.0, 0.0], factor=2)
    >>> scale.tolist(), translate.tolist()
    ([1.5, 0.5], [-0.75, -0.25])
    """
    scale = np.asarray(scale, dtype=float)
    translate = np.asarray(translate, dtype=float)
    shift = _shift(factor, start, len(scale))
    factors = np.broadcast_to(np.asarray(factor, dtype=float), scale.shape)
    return scale / factors, translate + linear_matrix(scale, rotate, shear) @ shift


def upscaled_affine(affine: ArrayLike, factor: ArrayLike, start: ArrayLike = 0) -> Floats:
    """Homogeneous matrix (n + 1, n + 1) of the result, from the source's.

    Parameters
    ----------
    affine : array-like, shape (n + 1, n + 1)
        Takes homogeneous pixel coordinates of the source to the world.
    factor, start : array-like
        As in `upscaled_scale_translate`, in the order of the matrix's columns.
    """
    affine = np.asarray(affine, dtype=float)
    n = len(affine) - 1
    factors = np.broadcast_to(np.asarray(factor, dtype=float), (n,))
    result = affine.copy()
    result[:n, :n] = affine[:n, :n] / factors
    result[:n, n] += affine[:n, :n] @ _shift(factor, start, n)
    return result


def scaled_point(point: Sequence[float], factor: ArrayLike, start: ArrayLike = 0) -> Floats:
    """Pixel coordinates in the result of a point given in pixels of the source."""
    factors = np.broadcast_to(np.asarray(factor, dtype=float), (len(point),))
    offset = np.asarray(point, dtype=float) - np.asarray(start, dtype=float)
    moved: Floats = (offset + 0.5) * factors - 0.5
    return moved


def _shift(factor: ArrayLike, start: ArrayLike, n: int) -> Floats:
    factors = np.broadcast_to(np.asarray(factor, dtype=float), (n,))
    first = np.broadcast_to(np.asarray(start, dtype=float), (n,))
    shift: Floats = first + (1 - factors) / (2 * factors)
    return shift


def _rotation(rotate: ArrayLike | None, n: int) -> Floats:
    matrix = np.eye(n)
    if rotate is None:
        return matrix
    given: Floats = np.asarray(rotate, dtype=float)
    if given.ndim == 2:
        return given
    if given.size != 1:
        msg = f"rotate must be a matrix or one angle, got shape {given.shape}"
        raise ValueError(msg)
    angle = np.deg2rad(given.item())
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[n - 2 :, n - 2 :] = [[cos, -sin], [sin, cos]]
    return matrix


def _shear(shear: ArrayLike | None, n: int) -> Floats:
    matrix = np.eye(n)
    if shear is None:
        return matrix
    given: Floats = np.asarray(shear, dtype=float)
    if given.ndim == 2:
        return given
    matrix[np.triu_indices(n, 1)] = given
    return matrix
