"""From frames in files to one finer image in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_hrsr.axes import check_names
from napari_hrsr.errors import InputError
from napari_hrsr.file_results import Report, check_paths, into_file
from napari_hrsr.files import ImageFile, check_output, read_image, write_image
from napari_hrsr.frames.fusing import Fusion, plan_fusion, run_fusion
from napari_hrsr.frames.jobs import FusionJob
from napari_hrsr.frames.stack import FRAME_AXIS, FrameStack, open_stack
from napari_hrsr.frames.wishing import make_wishes, without_axis
from napari_hrsr.metadata import ImageMetadata, upscaled_metadata

if TYPE_CHECKING:
    from napari_hrsr.jobs import Job


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose; as for `fuse_frames`.

    Attributes
    ----------
    scale, shifts, psf, noise, method, axes, reference, transform, refine, motion
        As for `fuse_frames`.
    strength, tile, device, dtype
        Likewise.
    moving : Path or None
        File for the map of what moved.
    overwrite : bool
        Replace existing results.
    """

    scale: int | Sequence[int] = 2
    shifts: Any = None
    psf: Any = None
    noise: float | None = None
    method: str = "robust"
    axes: str | None = None
    reference: int | None = None
    transform: str = "translation"
    refine: bool | None = None
    motion: bool = True
    strength: float | None = None
    tile: int | Sequence[int] | None = None
    device: str = "auto"
    dtype: str | None = None
    moving: Path | None = None
    overwrite: bool = False


def fuse_file(
    sources: Sequence[Path],
    target: Path,
    settings: Settings,
    *,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Fusion:
    """Fuse frames in files into a file, in flat memory.

    Parameters
    ----------
    sources : sequence of Path
        One file with an axis of frames, or one a frame. Frames whose files say
        that they lie at different places of the world are taken to lie there.
    target : Path
        The suffix says its format.
    settings : Settings
        What the user chose.
    report, cancelled : callable
        As for `upscale_file`.

    Returns
    -------
    Fusion
        Without its data, which are in the file.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it.
    """
    images = [read_image(source) for source in sources]
    targets = [target] if settings.moving is None else [target, settings.moving]
    for source in sources:
        for path in targets:
            check_paths(source, path, overwrite=settings.overwrite)
    stack, metadata = _opened(images, settings.axes)
    shifts = settings.shifts if settings.shifts is not None else _world_shifts(images, stack)
    wishes = make_wishes(
        stack,
        settings.scale,
        shifts=shifts,
        motions=None,
        psf=settings.psf,
        noise=settings.noise,
        method=settings.method,
        reference=settings.reference,
        transform=settings.transform,
        refine=settings.refine,
        motion=settings.motion,
        strength=settings.strength,
        device=settings.device,
    )
    # The memory that a result takes is checked, or avoided, by `into_file`.
    job = plan_fusion(stack, wishes, tile=settings.tile, dtype=settings.dtype, out=target)
    placed = upscaled_metadata(metadata, job.factor, job.origin)
    check_output(target, placed, job.dtype)
    where = _map_metadata(metadata, job)
    if settings.moving is not None:
        check_output(settings.moving, where, np.float32)
    made: list[Fusion] = []

    def run(out: Any) -> dict[str, Any]:
        made.append(run_fusion(job, out, metadata, report, cancelled, name=images[0].name))
        return made[0].record

    into_file(
        target,
        cast("Job", job),
        placed,
        run,
        overwrite=settings.overwrite,
        report=report,
        cancelled=cancelled,
    )
    if settings.moving is not None:
        write_image(
            settings.moving,
            made[0].moving.astype(np.float32),
            where,
            record=made[0].record,
            overwrite=settings.overwrite,
        )
    return made[0]


def read_shifts(path: Path) -> np.ndarray:
    """Read known shifts from a text file: a line a frame, a number an axis.

    Parameters
    ----------
    path : Path
        Numbers are separated by commas or blanks.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    try:
        lines = [line.replace(",", " ").split() for line in path.read_text().splitlines()]
        return np.array([[float(word) for word in line] for line in lines if line], float)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        msg = f"{path.name} holds no shifts, a line a frame with a number an axis: {error}"
        raise InputError(msg) from None


def _opened(images: Sequence[ImageFile], axes: str | None) -> tuple[FrameStack, ImageMetadata]:
    """Return the frames, and the metadata of one of them."""
    metadata = images[0].metadata
    if axes is not None:
        metadata = metadata.with_axes(check_names(axes, images[0].data.ndim))
    elif len(images) == 1 and FRAME_AXIS not in metadata.axes:
        metadata = _frames_guessed(metadata)
    if len(images) > 1:
        names = tuple(image.name for image in images)
        return open_stack([image.data for image in images], metadata.axes, names), metadata
    stack = open_stack(images[0].data, metadata.axes)
    return stack, without_axis(metadata, FRAME_AXIS)


def _frames_guessed(metadata: ImageMetadata) -> ImageMetadata:
    """Refuse to guess which axis holds the frames, with what would say it."""
    first = metadata.axes[0] if len(metadata.axes) > 2 else ""
    hint = f", for example --axes {FRAME_AXIS + metadata.axes[1:]}" if first else ""
    msg = (
        f"the file's axes are {metadata.axes}, none of which holds frames (T): name them{hint}, "
        "or give one file a frame"
    )
    raise InputError(msg)


def _world_shifts(images: Sequence[ImageFile], stack: FrameStack) -> Any:
    """Return where files say that their frames lie, None if all say the same."""
    if len(images) < 2:
        return None
    first = images[0].metadata
    places = np.array([image.metadata.translate for image in images])[:, list(stack.spatial)]
    scale = np.array(first.scale)[list(stack.spatial)]
    if any(not np.allclose(i.metadata.scale, first.scale, rtol=1e-3) for i in images):
        msg = "the files have different pixel sizes: bring them to one pixel size first"
        raise InputError(msg)
    if np.allclose(places, places[0], atol=1e-6 * float(scale.min())):
        return None
    return (places[0] - places) / scale


def _map_metadata(metadata: ImageMetadata, job: FusionJob) -> ImageMetadata:
    spatial = job.stack.spatial
    return ImageMetadata(
        "".join(metadata.axes[a] for a in spatial),
        tuple(metadata.scale[a] for a in spatial),
        tuple(metadata.translate[a] for a in spatial),
        tuple(metadata.units[a] for a in spatial),
        metadata.affine,
    )
