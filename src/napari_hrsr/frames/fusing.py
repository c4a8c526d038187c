"""What people call: fuse several frames into one finer image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.api import as_callable, check_memory, opened_output
from napari_hrsr.devices import check_tile, float32_means_float32
from napari_hrsr.errors import CancelledError
from napari_hrsr.frames.jobs import FusionJob
from napari_hrsr.frames.phases import Phases
from napari_hrsr.frames.preparing import Prepared, Report, Wishes, prepare
from napari_hrsr.frames.reporting import describe_fusion, explain
from napari_hrsr.frames.showing import reporting
from napari_hrsr.frames.stack import FrameStack
from napari_hrsr.frames.tiles import TILE, fuse_tile
from napari_hrsr.frames.wishing import (
    check_out,
    layer_motions,
    make_wishes,
    open_frames,
    result_dtype,
)
from napari_hrsr.memory import keep_memory
from napari_hrsr.metadata import ImageMetadata, plain_metadata
from napari_hrsr.pixels import cast_values
from napari_hrsr.tiling import plan_tiles

if TYPE_CHECKING:
    from napari_hrsr.jobs import Job

FUSING = "Fusing"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """A fused image, and what is known of it.

    Attributes
    ----------
    data : array
        On the reference's grid, refined: same outer edges.
    shifts : ndarray, shape (frames, axes)
        Frame k shows at ``x + shifts[k]`` what the reference shows at x, in
        pixels; NaN for frames that were left out.
    left_out : dict
        Frames that were left out, and why.
    reference : int
        The frame that all others were laid on.
    phases : Phases
        Where the frames that were fused sample the scene.
    message : str
        What to know of the result, for people.
    moving : ndarray
        Shape of a frame (of one channel: the largest of all): part of the
        frames that was not used, 0 where all were fused and 1 where only the
        reference was.
    record : dict
        How the result was made, in values that JSON can hold.
    """

    data: Any
    shifts: Floats
    left_out: dict[int, str]
    reference: int
    phases: Phases
    message: str
    moving: Any
    record: dict[str, Any]


def fuse_frames(
    frames: Any,
    scale: int | Sequence[int] = 2,
    *,
    shifts: Any = None,
    psf: Any = None,
    noise: float | str | None = None,
    method: str = "robust",
    axes: str | None = None,
    reference: int | None = None,
    transform: str = "translation",
    refine: bool | None = None,
    motion: bool = True,
    strength: float | None = None,
    tile: int | Sequence[int] | None = None,
    device: str = "auto",
    dtype: Any = None,
    out: Any = None,
    progress: Report | bool | None = None,
    cancelled: Any = None,
) -> Fusion:
    """Fuse several frames of one scene into one finer image.

    Frames that see a scene at different fractions of a pixel hold together
    what none of them holds alone (Farsiu et al. 2004). They are laid on the
    reference to a small part of a pixel (Guizar-Sicairos et al. 2008, then
    jointly with the result), frames that do not fit are left out, and the fine
    image is found that explains them best.

    ::

        reference   |     o     |     o     |      result: same outer edges,
        result      |  x  |  x  |  x  |  x  |      `scale` pixels in one

    Parameters
    ----------
    frames : array-like, napari Image layer, or a sequence of either
        One array with the axes (T, Y, X) or (T, Z, Y, X), or others with
        `axes`; or one array or layer a frame. It is never changed.
    scale : int or sequence of int
        Fine pixels in a pixel of the frames; one number, or one an axis.
    shifts : array-like, shape (frames, axes), optional
        Where frames are known to lie: frame k shows at ``x + shifts[k]`` what
        the reference shows at x, in pixels. Found if left out; for layers that
        lie differently in the world, taken from there.
    psf : float, sequence of float, array or PointSpread, optional
        Blur of the instrument, which is undone as far as noise allows: standard
        deviation of a Gaussian in pixels of the frames, or a kernel on the
        fine grid with odd sides. The area of a pixel is always allowed for.
    noise : float or "auto", optional
        Standard deviation in the units of the frames; measured by default.
    method : {"robust", "average", "shift-and-add", "drizzle"}
        ``"robust"``: reconstruction. The others are the simple ways: average
        of the interpolated frames, of their pixels at the nearest fine pixel,
        or of drops of 0.7 pixels (Fruchter and Hook 2002).
    axes : str, optional
        One letter per axis: T the frames, Z Y X space; any others are looped
        over, with the motions that all of them share.
    reference : int, optional
        The frame that the result lies on. By default the first, or, if fewer
        than half of the others fit it, the one that most fit.
    transform : {"translation", "rigid", "affine"}
        How frames may lie on each other.
    refine : bool, optional
        Whether motions are improved jointly with the result. By default if
        they were not given.
    motion : bool
        Whether parts of the scene that move fall back to the reference.
    strength : float, optional
        How smooth the result shall be, in place of choosing it by held-out
        frames: about 10 is usual.
    tile : int or sequence of int, optional
        Longest tile in pixels of the frames. Tiles agree with the whole to 0.1
        per cent of the range (root mean square), and 2 in the worst pixel.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    dtype : optional
        Of the result, by default that of the frames; rounded and clipped.
    out : array-like, str or Path, optional
        Where to write the result: an array of the right shape, or the path of
        an OME-Zarr to create. By default a new numpy array.
    progress : callable or bool, optional
        Called with what is being done and how many parts are done of how many;
        True shows bars in the terminal.
    cancelled : threading.Event or callable, optional
        Stops the run.

    Returns
    -------
    Fusion
        The image, the shifts, what was left out, and what to know of it.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it, before any work starts.
    CancelledError
        If `cancelled` stopped it.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hrsr import fuse_frames
    >>> frame = np.random.default_rng(0).normal(100, 20, (40, 40))
    >>> fusion = fuse_frames(np.stack([frame] * 4))
    >>> fusion.data.shape
    (80, 80)
    >>> fusion.message[:59]
    'The 4 frames sample the scene at the same places (phases di'
    """
    stack, layers, axes_metadata = open_frames(frames, axes)
    motions = layer_motions(layers, stack)
    wishes = make_wishes(
        stack,
        scale,
        shifts=shifts,
        motions=motions,
        psf=psf,
        noise=noise,
        method=method,
        reference=reference,
        transform=transform,
        refine=refine,
        motion=motion,
        strength=strength,
        device=device,
    )
    job = plan_fusion(stack, wishes, tile=tile, dtype=dtype, out=out)
    metadata = axes_metadata or plain_metadata(stack.axes)
    with reporting(progress) as report:
        return run_fusion(job, out, metadata, report, as_callable(cancelled))


def plan_fusion(
    stack: FrameStack,
    wishes: Wishes,
    *,
    tile: int | Sequence[int] | None = None,
    dtype: Any = None,
    out: Any = None,
) -> FusionJob:
    """Check all that can be checked without reading pixels, and plan tiles.

    Parameters
    ----------
    stack, wishes
        Frames, and what is wanted of them.
    tile, dtype, out
        As for `fuse_frames`.

    Raises
    ------
    InputError
        If something does not fit.
    """
    ndim = len(stack.extent)
    longest = TILE[ndim] if tile is None else check_tile(tile, ndim)
    plan = plan_tiles(stack.extent, longest, halo=(0,) * ndim)
    job = FusionJob(stack, wishes, plan, result_dtype(stack, dtype, out))
    if out is None:
        check_memory(cast("Job", job))
    elif not isinstance(out, (str, Path)):
        check_out(out, job.shape)
    return job


def run_fusion(
    job: FusionJob,
    out: Any,
    metadata: ImageMetadata,
    report: Report,
    cancelled: Callable[[], bool],
    *,
    name: str = "",
) -> Fusion:
    """Run a job to its end.

    Parameters
    ----------
    job : FusionJob
        The run.
    out : array-like, str, Path or None
        As for `fuse_frames`.
    metadata : ImageMetadata
        Of the reference frame.
    report, cancelled : callable
        As for `prepare`.
    name : str
        Of the source's file or layer; never a path.

    Raises
    ------
    CancelledError
        If `cancelled` returned True.
    """
    with (
        keep_memory(),
        float32_means_float32(),
        opened_output(out, cast("Job", job), metadata) as (target, finish),
    ):
        prepared = prepare(job.stack, job.wishes, report, cancelled)
        record = describe_fusion(job, prepared, name)
        moving = _write_tiles(job, prepared, target, report, cancelled)
        share = float((moving > 0).mean())
        record["moving"] = share
        message = explain(job, prepared, share)
        record["message"] = message
        data = finish(record, cancelled)
    shifts = np.full((len(job.stack), len(job.stack.extent)), np.nan)
    shifts[list(prepared.scene.kept)] = prepared.scene.shifts
    return Fusion(
        data,
        shifts,
        prepared.selection.left_out,
        prepared.selection.reference,
        prepared.phases,
        message,
        moving,
        record,
    )


def _write_tiles(
    job: FusionJob,
    prepared: Prepared,
    target: Any,
    report: Report,
    cancelled: Callable[[], bool],
) -> NDArray[np.float16]:
    moving = np.zeros(job.stack.extent, np.float16)
    report(FUSING, 0, job.total)
    work = itertools.product(np.ndindex(job.stack.looped), range(len(job.plan)))
    for done, (index, number) in enumerate(work):
        if cancelled():
            msg = f"cancelled after {done} of {job.total} tiles"
            raise CancelledError(msg)
        spans = job.plan[number]
        values, part = fuse_tile(prepared.scene, index, spans, prepared.recipe, cancelled)
        where = [
            slice(s.body_start * k, s.body_stop * k)
            for s, k in zip(spans, job.wishes.model.factor, strict=True)
        ]
        target[job.stack.key(index, where)] = cast_values(values, job.dtype)
        body = tuple(slice(s.body_start, s.body_stop) for s in spans)
        moving[body] = np.maximum(moving[body], part)
        report(FUSING, done + 1, job.total)
    return moving
