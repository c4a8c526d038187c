"""Which pixels are accepted, how a part of an image is read, how a result is rounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import HrsrError, InputError

EXACT_IN_FLOAT32 = 2**24
"""Integers below this are exact in float32."""


def check_source(source: Any) -> Any:
    """Refuse what is not an image; convert lists to arrays, copy nothing else.

    Parameters
    ----------
    source : array-like
        numpy, memory map, zarr or dask array, or nested lists of numbers.

    Returns
    -------
    array
        With ``shape``, ``dtype`` and slicing.

    Raises
    ------
    InputError
        With the reason and the remedy.
    """
    if source is None:
        msg = "there is no image: got None"
        raise InputError(msg)
    if isinstance(source, np.ma.MaskedArray):
        msg = "masked arrays are not supported: fill the mask first, with image.filled(value)"
        raise InputError(msg)
    refuse_live_view(source)
    source = _as_array(source)
    _check_dtype(np.dtype(source.dtype))
    if any(isinstance(n, float) and math.isnan(n) for n in source.shape):
        msg = "the dask array's shape is unknown: call its compute_chunk_sizes() first"
        raise InputError(msg)
    if len(source.shape) < 2:
        msg = f"an image needs at least 2 axes (Y, X), got shape {tuple(source.shape)}"
        raise InputError(msg)
    if 0 in source.shape:
        msg = f"the image is empty: its shape is {tuple(source.shape)}"
        raise InputError(msg)
    return source


def refuse_live_view(source: Any) -> None:
    """Raise InputError for an array that is computed only where it is looked at."""
    if getattr(source, "is_live_view", False):
        msg = (
            "this is a live view, which holds only what has been looked at: "
            "take its source, or compute all of it first, with Run"
        )
        raise InputError(msg)


def _as_array(source: Any) -> Any:
    """Convert what is no array, or whose data type is not numpy's: lists, torch tensors."""
    try:
        np.dtype(source.dtype)
        source.shape  # noqa: B018
    except (AttributeError, TypeError):
        try:
            return np.asarray(source)
        except (TypeError, ValueError, RuntimeError) as error:
            msg = f"not an image: {error}"
            raise InputError(msg) from None
    return source


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind == "b":
        msg = "this is a mask (bool), not an image: super-resolution needs grey values"
    elif dtype.kind == "c":
        msg = "complex images are not supported: take np.abs(image) or one part of it first"
    elif dtype.kind not in "iuf" or dtype.itemsize > 8:
        msg = f"pixels of type {dtype} are not supported: convert the image to float32"
    else:
        return
    raise InputError(msg)


def needs_every_value(dtype: Any) -> bool:
    """Tell whether an image of this type may hold values that cannot be used."""
    dtype = np.dtype(dtype)
    return bool(dtype.kind == "f" or dtype.itemsize > 2)


def check_block(block: NDArray[Any], key: tuple[Any, ...]) -> None:
    """Refuse values that cannot be used.

    Parameters
    ----------
    block : ndarray
        Part of an image.
    key : tuple of int and slice
        Where it was read, for the message.

    Raises
    ------
    InputError
        If a value is NaN or infinite, or an integer too large to be exact in
        float32.
    """
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(block.astype(np.float32, copy=False))
        if bad.any():
            index = _absolute(np.argwhere(bad)[0].tolist(), key)
            msg = (
                "the image holds NaN, infinite or enormous values, "
                f"{int(bad.sum())} of them in the first place that was found, at index {index}: "
                "replace them, for example with np.nan_to_num(image)"
            )
            raise InputError(msg)
        return
    largest = max(abs(int(block.max())), abs(int(block.min())))
    if largest >= EXACT_IN_FLOAT32:
        msg = (
            f"the image holds the value {largest}, which float32 cannot represent exactly "
            f"(limit {EXACT_IN_FLOAT32}): rescale it, or convert it to float32"
        )
        raise InputError(msg)


def _absolute(index: list[int], key: tuple[Any, ...]) -> tuple[int, ...]:
    within = iter(index)
    return tuple(
        int(next(within) + (k.start or 0)) if isinstance(k, slice) else int(k) for k in key
    )


def _describe(key: tuple[Any, ...]) -> str:
    parts = [f"{k.start or 0}:{k.stop or ''}" if isinstance(k, slice) else str(k) for k in key]
    return f"[{', '.join(parts)}]"


def read_block(source: Any, key: tuple[Any, ...]) -> NDArray[Any]:
    """Read part of any array-like into memory, in native byte order.

    Raises
    ------
    InputError
        If it cannot be read, for example from a damaged file.
    """
    try:
        block = source[key]
        if hasattr(block, "compute"):
            # The caller already runs in a thread of its own.
            block = block.compute(scheduler="synchronous")
        block = np.asarray(block)
    except HrsrError:
        raise
    except Exception as error:
        msg = f"the image cannot be read at {_describe(key)}: {str(error) or type(error).__name__}"
        raise InputError(msg) from error
    return block if block.dtype.isnative else block.astype(block.dtype.newbyteorder("="))


def cast_values(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round and clip to a data type; never wrap around.

    Parameters
    ----------
    values : ndarray of float32
        In the image's units.
    dtype : numpy.dtype
        Of the result.
    """
    if dtype.kind == "f":
        limit = np.finfo(dtype)
        if limit.bits < 32:
            values = np.clip(values, float(limit.min), float(limit.max))
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if limits.max < EXACT_IN_FLOAT32:
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    wide = np.rint(values.astype(np.float64))
    # The largest float64 not above the limit: 2**63 itself would wrap.
    top = np.nextafter(float(limits.max), 0.0) if limits.max > 2**53 else float(limits.max)
    return np.clip(wide, float(limits.min), top).astype(dtype)
