"""A run whose tiles are computed by the workers of a dask scheduler, told as events."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrsr._napari.run import Cancel, Event, Finished, Prepared, Request, Status, wait_shown
from napari_hrsr.errors import PausedError

if TYPE_CHECKING:
    from napari_hrsr.runs.stored import StoredRun
    from napari_hrsr.upscaling import TileDone

_END = object()


def run_on_cluster(number: int, request: Request, cancel: Cancel) -> Iterator[Event | TileDone]:
    """Have one layer upscaled by workers, into an OME-Zarr that they can reach.

    Parameters
    ----------
    number : int
        Of the request.
    request : Request
        With a path and a scheduler.
    cancel : Cancel
        Polled between units; what workers have written is kept if it says so.

    Yields
    ------
    Status, Prepared, TileDone or Finished
        As `run.run_requests`.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it.
    """
    from napari_hrsr.cluster import Workers, check_workers, connected
    from napari_hrsr.files import open_levels
    from napari_hrsr.files.ome_zarr import partial_name
    from napari_hrsr.files.partial import check_space
    from napari_hrsr.runs.folder import claim_folder, clear_folder
    from napari_hrsr.runs.leading import explained, finish_file
    from napari_hrsr.runs.locks import held
    from napari_hrsr.runs.stored import begin_run, needed_space

    assert request.path is not None
    workers = Workers(scheduler=request.scheduler, plain=request.plain)
    check_workers(workers)
    stop = cancel.event.is_set
    with contextlib.ExitStack() as stack:
        source = _find_file(request)
        if source is None:
            yield Status(number, "Writing the layer where workers can read it")
            source = _copied(request, stop)
            stack.callback(_remove_copy, source, request.path)
        yield Status(number, "Measuring range and noise")
        folder = partial_name(request.path)
        stack.enter_context(claim_folder(folder))
        stack.enter_context(explained(folder))
        stack.enter_context(held(folder, "run"))
        run = begin_run(folder, source, request.path, _settings(request), cancelled=stop)
        check_space(folder.parent, needed_space(run, len(run.units)))
        shown = threading.Event()
        yield Prepared(number, run.job, run.store.array, run.manifest.record, shown)
        wait_shown(shown, cancel)
        with connected(workers) as compute:
            done = 0
            for tile in _steps(run, compute, cancel):
                done = tile.done
                yield tile
        if done < run.job.total:
            if not cancel.keep:
                clear_folder(folder)
                yield Finished(number, complete=False, kept=False, record={})
                return
            msg = f"cancelled after {done} of {run.job.total} tiles"
            raise PausedError(
                f"{msg}; {folder.name} keeps them: go on with napari-hrsr upscale "
                f"{source.name} {request.path.name} --resume"
            )
        yield Status(number, "Writing the overview levels")
        record = finish_file(
            run, request.path, overwrite=True, report=lambda *_: None, cancelled=stop
        )
        yield Finished(number, True, True, record, open_levels(request.path))


def _settings(request: Request) -> Any:
    from napari_hrsr.file_planning import Settings
    from napari_hrsr.forward import Instrument

    options = request.options
    region = options.get("region")
    return Settings(
        model=options["model"],
        axes=request.axes,
        tile=options.get("tile"),
        device=options.get("device"),
        precision=options.get("precision"),
        noise=None if request.noise == "auto" else float(request.noise),
        intensity=request.intensity,
        dtype=options.get("dtype"),
        consistent=None if request.held_to is None else Instrument(request.held_to),
        region=None if region is None else tuple(region),
        overwrite=True,
    )


def _steps(run: StoredRun, compute: Any, cancel: Cancel) -> Iterator[TileDone]:
    """Turn what `compute` tells in its thread into records of tiles."""
    from napari_hrsr.upscaling import TileDone

    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            compute(run, list(range(len(run.units))), told.put, cancel.event.is_set)
        except BaseException as error:
            failed.append(error)
        finally:
            told.put(_END)

    thread = threading.Thread(target=work, name="hrsr-cluster")
    thread.start()
    done, total = 0, run.job.total
    try:
        while (tiles := told.get()) is not _END:
            done += tiles
            yield TileDone(0, done, total, ())
    finally:
        if thread.is_alive():
            cancel.event.set()
        thread.join()
    if failed:
        raise failed[0]


def _find_file(request: Request) -> Path | None:
    """Return the file of the layer, if it still holds just what the layer shows."""
    from napari_hrsr.errors import HrsrError
    from napari_hrsr.files import read_image
    from napari_hrsr.runs.identity import sample_pixels

    if request.file is None or not request.file.exists():
        return None
    with contextlib.suppress(HrsrError):
        image = read_image(request.file)
        if (
            tuple(image.data.shape) == tuple(request.source.shape)
            and image.data.dtype == request.source.dtype
            and image.metadata.scale == request.metadata.scale
            and sample_pixels(image.data) == sample_pixels(request.source)
        ):
            return request.file
    return None


def _copied(request: Request, stop: Any) -> Path:
    """Write the layer into a file beside the result."""
    from napari_hrsr.files import write_image

    assert request.path is not None
    copy = request.path.with_name(f".{request.path.name}.source.ome.zarr")
    shutil.rmtree(copy, ignore_errors=True)
    write_image(copy, request.source, request.metadata, cancelled=stop)
    return copy


def _remove_copy(copy: Path, result: Path) -> None:
    """Remove a copy, unless a run that was paused needs it."""
    from napari_hrsr.files.ome_zarr import partial_name

    if not partial_name(result).exists():
        shutil.rmtree(copy, ignore_errors=True)
