"""Open a live view of an image or a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.forward import ForwardModel, Instrument
from napari_hrsr.intensity import Intensity, Per
from napari_hrsr.jobs import plan_job
from napari_hrsr.layers import is_layer, layer_axes, layer_source
from napari_hrsr.lazy.levels import add_levels
from napari_hrsr.lazy.live import LiveView
from napari_hrsr.lazy.viewed_tiles import view_tile
from napari_hrsr.memory import free_memory
from napari_hrsr.models.load import ModelChoice

_SHARE = 8
_MOST, _LEAST = 2**30, 2**26
_FEWEST_TILES = 4


def live_view(
    image: Any,
    model: ModelChoice | None = None,
    *,
    axes: str | None = None,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    dtype: Any = None,
    consistent: bool | ForwardModel | Instrument = False,
    memory: int | None = None,
) -> LiveView:
    """Upscale an image only where it is looked at.

    Parameters
    ----------
    image : array-like or napari Image layer
        As for `api.upscale`, of any size.
    model, axes, device, precision, intensity, noise, dtype, consistent
        As for `api.upscale`. Models that give values of their own cannot be
        looked at in this way.
    tile : int or sequence of int, optional
        Longest tile in source pixels; by default small ones.
    memory : int, optional
        Most bytes that are kept of what was computed and read; by default an
        eighth of what is free, up to one gigabyte.

    Returns
    -------
    LiveView
        Started; close it after use, or use it in a ``with`` statement.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it, before any work starts.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hrsr import live_view
    >>> image = np.zeros((60, 80), np.uint16)
    >>> with live_view(image, "cubic-2x2") as view:
    ...     early = np.asarray(view.array[:20, :20])  # interpolated, and asked for
    ...     done = view.wait()
    ...     late = np.asarray(view.array[:20, :20])  # computed
    >>> late.shape
    (20, 20)
    """
    coarser: Sequence[Any] = ()
    if is_layer(image):
        axes = layer_axes(image, axes, model)
        coarser = list(image.data[1:]) if image.multiscale else ()
        image = layer_source(image)
    return open_view(
        image,
        model,
        coarser=coarser,
        axes=axes,
        tile=tile,
        device=device,
        precision=precision,
        intensity=intensity,
        noise=noise,
        dtype=dtype,
        consistent=consistent,
        memory=memory,
    )


def open_view(
    image: Any,
    model: ModelChoice | None = None,
    *,
    coarser: Sequence[Any] = (),
    tile: int | Sequence[int] | None = None,
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    memory: int | None = None,
    **options: Any,
) -> LiveView:
    """Open a live view of an array whose coarser levels may be known.

    Parameters
    ----------
    image : array-like
        The finest level.
    coarser : sequence of array
        The others, finest first.
    model, tile, intensity, noise, memory
        As for `live_view`.
    **options
        Of `jobs.plan_job`.

    Raises
    ------
    HrsrError
        As for `live_view`.
    """
    job = plan_job(image, model, tile=tile, **options)
    if not job.model.spec.restored:
        msg = (
            f"model {job.model.spec.name!r} gives values of its own, which cannot be shown "
            "beside the image's: upscale the image, or a part of it, instead"
        )
        raise ModelError(msg)
    if tile is None:
        chosen = view_tile(job.model.spec, job.axes.pick_spatial(job.source.shape))
        if chosen is not None:
            job = plan_job(image, job.model, tile=chosen, **options)
    if memory is None:
        memory = max(_LEAST, min(_MOST, free_memory() // _SHARE))
    view = LiveView(job, memory, intensity=intensity, noise=noise)
    if _FEWEST_TILES * view.tiles.nbytes > view.cache.limit:
        msg = (
            f"a tile of the result takes {view.tiles.nbytes / 1e6:.0f} MB, and {memory / 1e6:.0f} "
            "MB may be kept: choose smaller tiles, or more memory"
        )
        raise InputError(msg)
    add_levels(view, coarser)
    view.start()
    return view
