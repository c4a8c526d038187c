"""What every evaluation asks of its images, and the grids they lie on."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import CancelledError, InputError

Cancelled = threading.Event | Callable[[], bool]
Image = NDArray[np.float64]

LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue, as scikit-image's `rgb2gray` has them (Rec. 709)."""

_ROUNDING = 1e-6


def check_image(image: Any, name: str, *, rgb: bool = False) -> Image:
    """Return an image as numbers that can be measured.

    Parameters
    ----------
    image : array-like
        Shape (Y, X) or (Z, Y, X); with `rgb` also a last axis of 3 or 4 samples.
    name : str
        What it is called in an error.
    rgb : bool
        Whether the last axis holds colours; they become their luminance.

    Returns
    -------
    ndarray
        float64, 2 or 3 axes, finite and not constant.

    Raises
    ------
    InputError
        If it cannot be measured, with the reason.
    """
    given = np.asarray(image)
    if given.dtype.kind not in "buif":
        msg = f"the {name} holds {given.dtype}, which is no real number: convert it first"
        raise InputError(msg)
    values = given.astype(np.float64)
    if rgb:
        if values.ndim < 3 or values.shape[-1] not in (3, 4):
            msg = f"the {name} has shape {values.shape}: its last axis should hold 3 or 4 colours"
            raise InputError(msg)
        values = values[..., :3] @ np.array(LUMINANCE)
    if values.ndim not in (2, 3) or not values.size:
        msg = (
            f"the {name} has shape {values.shape}, but 2 or 3 spatial axes are needed: "
            "take one channel and one time point, or say rgb=True"
        )
        raise InputError(msg)
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        msg = (
            f"the {name} has {broken} pixels that are not finite (NaN or infinite): "
            "crop or fill them"
        )
        raise InputError(msg)
    if values.min() == values.max():
        msg = (
            f"the {name} is {values.flat[0]:g} everywhere: "
            "a constant image holds nothing to measure"
        )
        raise InputError(msg)
    return values


def check_same_shape(result: Image, other: Image, name: str) -> None:
    """Refuse an image of another shape than the result's.

    Raises
    ------
    InputError
        With both shapes.
    """
    if result.shape != other.shape:
        msg = (
            f"the {name} has shape {other.shape} but the result {result.shape}: "
            "crop or resample one of them to the grid of the other"
        )
        raise InputError(msg)


def check_voxel_size(voxel_size: float | Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    """Return one voxel size per axis.

    Parameters
    ----------
    voxel_size : float, sequence of float or None
        In world units; None for 1.
    ndim : int
        Number of axes.

    Raises
    ------
    InputError
        If the count is wrong, or one is not above 0.
    """
    if voxel_size is None:
        voxel_size = 1.0
    sizes = (voxel_size,) * ndim if isinstance(voxel_size, int | float) else tuple(voxel_size)
    if len(sizes) != ndim or not all(math.isfinite(s) and s > 0 for s in sizes):
        msg = f"voxel_size must hold {ndim} numbers above 0, one an axis, got {voxel_size!r}"
        raise InputError(msg)
    return tuple(float(s) for s in sizes)


def check_factor(
    result: Sequence[int], source: Sequence[int], factor: float | Sequence[float] | None
) -> tuple[float, ...]:
    """Return how many pixels of the result a pixel of the source holds, per axis.

    Parameters
    ----------
    result, source : sequence of int
        Shapes.
    factor : float, sequence of float or None
        None to read it off the shapes, which then must be multiples.

    Raises
    ------
    InputError
        If shapes and factor do not belong together.
    """
    if len(result) != len(source):
        msg = f"the result has {len(result)} axes and the source {len(source)}: give both alike"
        raise InputError(msg)
    if factor is None:
        if any(r % s for r, s in zip(result, source, strict=True)):
            msg = (
                f"the result's shape {tuple(result)} is no multiple of the source's "
                f"{tuple(source)}: crop them to the same field, or give the factor"
            )
            raise InputError(msg)
        return tuple(r / s for r, s in zip(result, source, strict=True))
    factors = (factor,) * len(source) if isinstance(factor, int | float) else tuple(factor)
    if len(factors) != len(source) or not all(math.isfinite(f) and f > 0 for f in factors):
        msg = f"factor must hold {len(source)} numbers above 0, one an axis, got {factor!r}"
        raise InputError(msg)
    expected = tuple(math.ceil(n * f - _ROUNDING) for n, f in zip(source, factors, strict=True))
    if expected != tuple(result):
        msg = (
            f"a source of shape {tuple(source)} at factor {factor} gives {expected}, "
            f"but the result has shape {tuple(result)}"
        )
        raise InputError(msg)
    return tuple(float(f) for f in factors)


def whole(factor: Sequence[float]) -> tuple[int, ...]:
    """Return the factors as whole numbers.

    Raises
    ------
    InputError
        If one is not whole.
    """
    if any(abs(f - round(f)) > _ROUNDING for f in factor):
        msg = f"this needs whole factors from 1 up, got {tuple(factor)}"
        raise InputError(msg)
    return tuple(round(f) for f in factor)


def as_callable(cancelled: Cancelled | None) -> Callable[[], None]:
    """Return what raises `CancelledError` once the run is cancelled.

    Parameters
    ----------
    cancelled : threading.Event, callable or None
        Set, or returning True, to stop.
    """
    asked: Callable[[], bool]
    if cancelled is None:
        asked = _never
    else:
        asked = cancelled.is_set if isinstance(cancelled, threading.Event) else cancelled

    def check() -> None:
        if asked():
            msg = "the evaluation was cancelled"
            raise CancelledError(msg)

    return check


def _never() -> bool:
    return False


def plain(value: Any) -> Any:
    """Turn numbers, arrays and tuples into what JSON can hold.

    NaN becomes None and infinity the text ``"infinity"``, which JSON lacks.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else "infinity" if value > 0 else "-infinity"
    return value
