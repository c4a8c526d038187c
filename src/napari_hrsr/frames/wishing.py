"""What somebody asks for, checked before any pixel is read."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel, PointSpread
from napari_hrsr.frames.motions import Motion, about_centre, translation
from napari_hrsr.frames.preparing import Wishes
from napari_hrsr.frames.stack import FRAME_AXIS, FrameStack, open_stack
from napari_hrsr.frames.tiles import METHODS
from napari_hrsr.frames.turning import TRANSFORMS
from napari_hrsr.geometry import Floats, linear_matrix
from napari_hrsr.layers import is_layer, layer_axes, layer_metadata, layer_source
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import check_source

LARGEST_SCALE = 8


def open_frames(
    frames: Any, axes: str | None
) -> tuple[FrameStack, tuple[Any, ...], ImageMetadata | None]:
    """Open frames: arrays or layers, together or apart.

    Parameters
    ----------
    frames, axes
        As for `fuse_frames`.

    Returns
    -------
    stack : FrameStack
        The frames.
    layers : tuple of napari layers
        One a frame; empty for anything else.
    metadata : ImageMetadata or None
        Of a frame, where it is known.

    Raises
    ------
    InputError
        If they cannot be fused.
    """
    if is_layer(frames):
        ndim = frames.ndim
        if axes is None and ndim in (3, 4):
            axes = FRAME_AXIS + "ZYX"[-(ndim - 1) :]
        axes = layer_axes(frames, axes)
        stack = open_stack(layer_source(frames), axes)
        metadata = without_axis(layer_metadata(frames, axes), FRAME_AXIS)
        return stack, (), metadata
    if isinstance(frames, (list, tuple)) and frames and all(is_layer(f) for f in frames):
        axes = layer_axes(frames[0], axes)
        names = tuple(f"layer {str(f.name)!r}" for f in frames)
        stack = open_stack([layer_source(f) for f in frames], axes, names)
        return stack, tuple(frames), layer_metadata(frames[0], axes)
    return open_stack(frames, axes), (), None


def without_axis(metadata: ImageMetadata, letter: str) -> ImageMetadata:
    """Return metadata without one axis.

    Parameters
    ----------
    metadata : ImageMetadata
        Of all frames.
    letter : str
        The axis.
    """
    place = metadata.axes.index(letter)

    def rest(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(v for a, v in enumerate(values) if a != place)

    return ImageMetadata(
        metadata.axes.replace(letter, ""),
        rest(metadata.scale),
        rest(metadata.translate),
        rest(metadata.units),
        metadata.affine,
        metadata.channels,
    )


def layer_motions(layers: Sequence[Any], stack: FrameStack) -> tuple[Motion, ...] | None:
    """Return how layers lie on the first one in the world, None if all lie alike.

    Parameters
    ----------
    layers : sequence of napari layers
        One a frame.
    stack : FrameStack
        The frames.
    """
    if not layers:
        return None
    worlds = []
    for layer in layers:
        n = layer.ndim
        world: Floats = np.eye(n + 1)
        world[:n, :n] = linear_matrix(layer.scale, layer.rotate, layer.shear)
        world[:n, n] = layer.translate
        worlds.append(np.asarray(layer.affine.affine_matrix) @ world)
    if all(np.allclose(w, worlds[0], rtol=1e-9, atol=1e-9) for w in worlds):
        return None
    picked = [*stack.spatial, len(worlds[0]) - 1]
    motions = []
    for world in worlds:
        matrix = np.linalg.solve(world, worlds[0])
        motions.append(about_centre(np.asarray(matrix[np.ix_(picked, picked)]), stack.extent))
    return tuple(motions)


def make_wishes(
    stack: FrameStack,
    scale: int | Sequence[int],
    *,
    shifts: Any,
    motions: tuple[Motion, ...] | None,
    psf: Any,
    noise: float | str | None,
    method: str,
    reference: int | None,
    transform: str,
    refine: bool | None,
    motion: bool,
    strength: float | None,
    device: str,
) -> Wishes:
    """Check what is asked for.

    Parameters
    ----------
    stack : FrameStack
        The frames.
    motions : tuple of Motion, optional
        From the layers' places in the world.
    scale, shifts, psf, noise, method, reference, transform, refine, motion, strength, device
        As for `fuse_frames`.

    Raises
    ------
    InputError
        With what makes no sense.
    """
    factor = _factor(scale, len(stack.extent))
    if method not in METHODS:
        msg = f"method is one of {', '.join(METHODS)}, got {method!r}"
        raise InputError(msg)
    if transform not in TRANSFORMS:
        msg = f"transform is one of {', '.join(TRANSFORMS)}, got {transform!r}"
        raise InputError(msg)
    if reference is not None and not -len(stack) <= reference < len(stack):
        msg = f"reference is the number of a frame, 0 to {len(stack) - 1}, got {reference}"
        raise InputError(msg)
    reference = None if reference is None else reference % len(stack)
    if shifts is not None:
        motions = _given(shifts, stack, reference or 0)
        # Shifts are stated against one frame, so that one it stays.
        reference = reference or 0
    elif motions is not None:
        reference = reference or 0
        motions = _against(motions, reference, stack)
    turned = transform != "translation" or not all(m.is_translation for m in motions or ())
    if turned and len(factor) > 2:
        msg = (
            "volumes can only be moved against each other, not turned or stretched: choose "
            "transform='translation', or lay them on each other with another tool first"
        )
        raise InputError(msg)
    level = None if noise in (None, "auto") else _number("noise", noise, least=0.0)
    smooth = None if strength is None else _number("strength", strength, least=1e-6)
    return Wishes(
        model=_model(psf, factor),
        reference=reference,
        motions=motions,
        refine=motions is None if refine is None else bool(refine),
        transform=transform,
        noise=level,
        method=method,
        motion=motion,
        strength=smooth,
        device=_device(device, transform, motions),
    )


def result_dtype(stack: FrameStack, wanted: Any, out: Any) -> np.dtype[Any]:
    """Return the data type of the result.

    Parameters
    ----------
    stack : FrameStack
        The frames.
    wanted, out
        As for `fuse_frames`.

    Raises
    ------
    InputError
        If there is no such type for images.
    """
    if out is not None and hasattr(out, "dtype"):
        given: np.dtype[Any] = np.dtype(out.dtype)
        return given
    if wanted is None:
        return stack.dtype
    try:
        dtype: np.dtype[Any] = np.dtype(wanted)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        msg = f"the result cannot have type {wanted!r}: use an integer or floating-point type"
        raise InputError(msg)
    return dtype


def check_out(out: Any, shape: tuple[int, ...]) -> None:
    """Refuse an output that the result does not fit.

    Parameters
    ----------
    out : array-like
        Where to write.
    shape : tuple of int
        Of the result.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    check_source(out)
    if tuple(out.shape) != shape:
        msg = f"out has shape {tuple(out.shape)}, the result needs {shape}"
        raise InputError(msg)
    if not hasattr(out, "__setitem__") or hasattr(out, "dask"):
        msg = "out must be a numpy or zarr array, or a path: dask arrays cannot be written to"
        raise InputError(msg)
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        msg = "out is read-only"
        raise InputError(msg)


def _factor(scale: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    try:
        given: Any = scale if isinstance(scale, (list, tuple, np.ndarray)) else (scale,) * ndim
        factor = tuple(operator.index(k) for k in given)
    except TypeError:
        factor = ()
    if len(factor) != ndim or not all(1 <= k <= LARGEST_SCALE for k in factor) or max(factor) < 2:
        msg = (
            f"scale is a whole number from 2 to {LARGEST_SCALE}, or one for each of the {ndim} "
            f"axes of space (1 keeps an axis), got {scale!r}"
        )
        raise InputError(msg)
    return factor


def _model(psf: Any, factor: tuple[int, ...]) -> ForwardModel:
    if psf is None:
        return ForwardModel(factor)
    if isinstance(psf, PointSpread):
        return ForwardModel(factor, point_spread=psf)
    try:
        values = np.asarray(psf, float)
    except (TypeError, ValueError):
        msg = f"psf is a width in pixels, a kernel or a PointSpread, got {psf!r}"
        raise InputError(msg) from None
    if values.ndim >= 2:
        return ForwardModel(factor, point_spread=PointSpread(values))
    widths = np.broadcast_to(values, (len(factor),)) if values.size in (1, len(factor)) else None
    if widths is None or not (np.isfinite(widths).all() and (widths >= 0).all()):
        msg = f"psf is one width in pixels from 0 up, or one for each axis of space, got {psf!r}"
        raise InputError(msg)
    return ForwardModel(
        factor, psf_sigma=tuple(float(w * k) for w, k in zip(widths, factor, strict=True))
    )


def _given(shifts: Any, stack: FrameStack, reference: int) -> tuple[Motion, ...]:
    wanted = (len(stack), len(stack.extent))
    try:
        values = np.asarray(shifts, float)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != wanted or not np.isfinite(values).all():
        msg = (
            f"shifts are {wanted[0]} rows, one a frame, of {wanted[1]} numbers, one an axis of "
            f"space in pixels, got {np.shape(shifts)}"
        )
        raise InputError(msg)
    return tuple(translation(s - values[reference]) for s in values)


def _against(motions: tuple[Motion, ...], reference: int, stack: FrameStack) -> tuple[Motion, ...]:
    """State motions against another frame."""
    if reference == 0:
        return motions
    n = len(stack.extent)
    matrices = []
    for m in motions:
        matrix = np.eye(n + 1)
        matrix[:n, :n] = m.matrix
        matrix[:n, n] = m.to_frame(np.zeros(n))
        matrices.append(matrix)
    inverse = np.linalg.inv(matrices[reference])
    return tuple(about_centre(m @ inverse, stack.extent) for m in matrices)


def _number(what: str, value: Any, *, least: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number < math.inf:
        msg = f"{what} is a number from {least:g} up, got {value!r}"
        raise InputError(msg)
    return number


def _device(device: str, transform: str, motions: Sequence[Motion] | None) -> torch.device:
    turned = transform != "translation" or not all(m.is_translation for m in motions or ())
    # Sparse matrices are multiplied by SciPy.
    return torch.device("cpu") if turned and device == "auto" else resolve_device(device)
