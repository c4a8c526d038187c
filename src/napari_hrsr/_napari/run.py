"""What happens in the worker thread: requests in, small events out, no exception ever.

napari's generator workers swallow a RuntimeError and then never finish, so
every failure leaves this module as an event.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrsr.errors import CancelledError, HrsrError, PausedError
from napari_hrsr.metadata import ImageMetadata

if TYPE_CHECKING:
    from napari_hrsr.jobs import Job
    from napari_hrsr.upscaling import TileDone

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One layer to upscale, with everything that was chosen for it.

    Attributes
    ----------
    name : str
        Name of the source layer.
    source : array-like
        Its pixels, by reference.
    axes : str
        Their names.
    metadata : ImageMetadata
        Voxel size and origin, for a result on disk.
    options : dict
        Keyword arguments of `jobs.plan_job`.
    intensity, noise
        As `api.settle_intensity` takes them.
    held_to : tuple of float, optional
        Hold the result to its source, behind a blur of this width in source
        pixels (empty: none); not where None.
    path : Path, optional
        The OME-Zarr to write to; in memory where None.
    centre : tuple of float, optional
        Where the user is looking, in pixels of the source; tiles near it come
        first.
    scheduler : str
        Address of a dask scheduler whose workers compute; this computer where
        empty.
    plain : bool
        As for `cluster.Workers`.
    file : Path, optional
        Where the layer was opened from.
    """

    name: str
    source: Any
    axes: str
    metadata: ImageMetadata
    options: dict[str, Any]
    intensity: str = "channel"
    noise: str | float = "auto"
    held_to: tuple[float, ...] | None = None
    path: Path | None = None
    centre: tuple[float, ...] | None = None
    scheduler: str = ""
    plain: bool = False
    file: Path | None = None


class Cancel:
    """A request to stop, and whether to keep what is done."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.keep = False

    def __call__(self, *, keep: bool = False) -> None:
        self.keep = keep
        self.event.set()


@dataclass(frozen=True, slots=True)
class Status:
    """Something to tell before the first tile or after the last."""

    number: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The result exists, still empty, and will be filled once it is `shown`."""

    number: int
    job: Job
    data: Any
    record: dict[str, Any]
    shown: threading.Event


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """One request has ended.

    Attributes
    ----------
    number : int
        Which one.
    complete, kept : bool
        Whether all tiles were computed, and whether the result stays.
    record : dict
        How it was made.
    levels : tuple of array
        Of a result on disk.
    remark : str
        What its tiles showed that a user should know; mostly empty.
    """

    number: int
    complete: bool
    kept: bool
    record: dict[str, Any]
    levels: tuple[Any, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """One request has failed, for this reason."""

    number: int
    message: str


Event = Status | Prepared | Finished | Failed


def run_requests(requests: Sequence[Request], cancel: Cancel) -> Iterator[Event | TileDone]:
    """Upscale one layer after another.

    Parameters
    ----------
    requests : sequence of Request
        What to do.
    cancel : Cancel
        Polled between tiles.

    Yields
    ------
    Status, Prepared, TileDone, Finished or Failed
        For every request that was begun, in this order; the last one is
        `Finished` or `Failed`.
    """
    for number, request in enumerate(requests):
        if cancel.event.is_set():
            return
        try:
            yield from _carry_out(number, request, cancel)
        except GeneratorExit:
            raise
        except PausedError as error:
            yield Failed(number, f"{request.name}: {error}")
        except CancelledError:
            yield Finished(number, complete=False, kept=False, record={})
        except HrsrError as error:
            yield Failed(number, f"{request.name}: {error}")
        except BaseException as error:
            logger.exception("upscaling %s failed", request.name)
            yield Failed(
                number,
                f"{request.name}: unexpected {type(error).__name__}: {error}. "
                "Nothing was changed; the log has the details",
            )


def _carry_out(number: int, request: Request, cancel: Cancel) -> Iterator[Event | TileDone]:
    if not request.scheduler:
        return _run(number, request, cancel)
    from napari_hrsr._napari.cluster_run import run_on_cluster

    return run_on_cluster(number, request, cancel)


def _run(number: int, request: Request, cancel: Cancel) -> Iterator[Event | TileDone]:
    yield Status(number, "Loading the model")
    import contextlib

    import numpy as np

    from napari_hrsr.api import check_memory, create_zarr, settle_intensity
    from napari_hrsr.files import open_levels
    from napari_hrsr.forward import Instrument
    from napari_hrsr.jobs import describe_job, plan_job, start_job
    from napari_hrsr.projection_weight import settle_projection
    from napari_hrsr.watching import Watched

    held = False if request.held_to is None else Instrument(request.held_to)
    job = plan_job(request.source, axes=request.axes, consistent=held, **request.options)
    if request.path is None:
        check_memory(job)
    yield Status(number, "Measuring range and noise")
    intensity = settle_intensity(
        job, request.intensity, request.noise, cancelled=cancel.event.is_set
    )
    if job.consistent is not None:
        yield Status(number, "Measuring the agreement with the source")
        job = settle_projection(job, intensity, cancelled=cancel.event.is_set)
    record = describe_job(job, intensity, source_name=request.name)
    with contextlib.ExitStack() as stack:
        result = None
        if request.path is not None:
            result = stack.enter_context(create_zarr(request.path, job, request.metadata))
        data = np.zeros(job.shape, job.dtype) if result is None else result.array
        shown = threading.Event()
        yield Prepared(number, job, data, record, shown)
        wait_shown(shown, cancel)
        order = nearest_first(job, request.centre)
        done = 0
        seen = Watched(job)
        tiles = start_job(job, data, intensity, indices=order, cancelled=cancel.event.is_set)
        for tile in seen.through(tiles):
            done = tile.done
            yield tile
        record = seen.added_to(record)
        complete = done == job.total
        kept = complete or (cancel.keep and done > 0)
        if not complete:
            record = {**record, "complete": False}
        levels: tuple[Any, ...] = ()
        if result is not None and kept:
            yield Status(number, "Writing the overview levels")
            (result.finish if complete else result.keep)(record)
            levels = open_levels(result.path)
        yield Finished(number, complete, kept, record, levels, seen.told())


def wait_shown(shown: threading.Event, cancel: Cancel, most: float = 10.0) -> None:
    """Leave the processor to the window while it makes the new layer.

    Parameters
    ----------
    shown : Event
        Set when it is there.
    cancel : Cancel
        Ends the wait.
    most : float
        Seconds.
    """
    for _ in range(int(most / 0.05)):
        if shown.wait(0.05) or cancel.event.is_set():
            return


def nearest_first(job: Job, centre: Sequence[float] | None, most: int = 20_000) -> list[int] | None:
    """Order a job's tiles by their distance from where the user looks.

    Parameters
    ----------
    job : Job
        The run.
    centre : sequence of float, optional
        In pixels of the source, one per axis of the image.
    most : int
        Runs with more tiles keep their natural order.
    """
    import numpy as np

    if centre is None or job.total > most:
        return None
    axes = job.axes
    tiles = np.array(
        [[(span.body_start + span.body_stop) / 2 for span in spans] for spans in job.plan]
    )
    away = np.linalg.norm(tiles - [centre[axis] for axis in axes.spatial], axis=1)
    lengths = axes.pick_looped(job.shape)
    starts = axes.pick_looped(job.start)
    here = [centre[axis] for axis in axes.looped]
    distance = away
    if lengths:
        loops = np.array(list(np.ndindex(*lengths)), dtype=float)
        # Another slice is never nearer than any tile of this one.
        slices = np.abs(loops + starts - here).sum(axis=1) * (away.max() + 1)
        distance = (slices[:, None] + away[None]).ravel()
    return [int(i) for i in np.argsort(distance, kind="stable")]
