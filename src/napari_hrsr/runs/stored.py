"""A run in its folder: begun, found again, and finished."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_hrsr.errors import InputError, ModelError, ResumeError
from napari_hrsr.file_planning import Settings, plan_file, settle_file
from napari_hrsr.file_results import Report
from napari_hrsr.files import OmeZarrStore, check_output, read_image
from napari_hrsr.files.ome_zarr import image_name, take_name
from napari_hrsr.files.ome_zarr_store import PYRAMID_SHARE
from napari_hrsr.files.partial import cannot_write, check_cancelled, check_space
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import Job, describe_job
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.projection_weight import settle_projection
from napari_hrsr.replay import recipe_from_record
from napari_hrsr.runs.identity import changes, identify
from napari_hrsr.runs.ledger import Entry, Ledger
from napari_hrsr.runs.manifest import (
    Manifest,
    changed_record,
    changed_settings,
    read_manifest,
    summarise,
    write_manifest,
)
from napari_hrsr.runs.units import Part, Units, group_tiles
from napari_hrsr.upscaling import TileDone
from napari_hrsr.watching import Watched

STORE = "image.zarr"
DONE = "done"

_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class StoredRun:
    """A run whose result lies on disk, unit by unit.

    Attributes
    ----------
    folder : Path
        Of the run; see the package.
    manifest : Manifest
        As it was begun.
    job : Job
        Ready to start.
    intensity : Intensity
        Range and noise of the source.
    metadata : ImageMetadata
        Of the result.
    store : OmeZarrStore
        What is written into.
    ledger : Ledger
        Which units are written.
    units : Units
        The units.
    fresh : bool
        Whether nothing can have been written yet.
    """

    folder: Path
    manifest: Manifest
    job: Job
    intensity: Intensity
    metadata: ImageMetadata
    store: OmeZarrStore
    ledger: Ledger
    units: Units
    fresh: bool = False

    def files_of(self, unit: int) -> list[Path]:
        """List the chunk files that a unit writes; no other unit touches them."""
        files = {
            path: None
            for tile in self.units[unit]
            for path in self.store.files_of(self.job.region_of(tile))
        }
        return list(files)

    def clear(self, unit: int) -> None:
        """Remove what an earlier process may have left of a unit."""
        for path in () if self.fresh else self.files_of(unit):
            path.unlink(missing_ok=True)

    def unfinished(
        self,
        part: Part | None = None,
        *,
        report: Report = lambda what, done, total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """List the units that are not there as they were written, in their order.

        Parameters
        ----------
        part : Part, optional
            Only units of this share.
        report, cancelled : callable
            As for `upscale_file.upscale_file`; every chunk that is written is
            read once.

        Raises
        ------
        CancelledError
            If `cancelled` returned True.
        """
        wanted = [unit for unit in range(len(self.units)) if part is None or part.holds(unit)]
        entries = {entry.unit: entry for entry in self.ledger.entries()}
        missing = []
        for done, unit in enumerate(wanted, 1):
            check_cancelled(cancelled)
            entry = entries.get(unit)
            if entry is None or not self.ledger.holds(entry):
                self.ledger.forget(unit)
                missing.append(unit)
            report("Checking", done, len(wanted))
        return missing

    def record(self) -> dict[str, Any]:
        """Return the record of the result, with what the units showed."""
        seen = Watched(self.job)
        for entry in self.ledger.entries():
            seen(_as_tile(entry))
        return seen.added_to(self.manifest.record)


def begin_run(
    folder: Path,
    source: Path,
    target: Path,
    settings: Settings,
    *,
    report: Report = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> StoredRun:
    """Plan a run, measure its source, and write down both.

    Parameters
    ----------
    folder : Path
        For the run; it exists.
    source, target : Path
        The image and its result.
    settings : Settings
        What the user chose.
    report, cancelled : callable
        As for `upscale_file.upscale_file`.

    Returns
    -------
    StoredRun
        No unit of which is written.

    Raises
    ------
    HrsrError
        With what is wrong and what to do about it.
    """
    image = read_image(source)
    job, metadata = plan_file(image.data, image.metadata, settings)
    check_output(target, metadata, job.dtype)
    check_space(target.parent, int(job.nbytes * PYRAMID_SHARE))
    identity = identify(source, image.data)
    job, intensity = settle_file(job, settings, report=report, cancelled=cancelled)
    units = group_tiles(job.total, job.placement.batch)
    manifest = Manifest(
        source=str(source.resolve()),
        identity=identity,
        settings=summarise(settings),
        record=describe_job(job, intensity, source_name=image.name),
        batch=job.placement.batch,
        unit=units.size,
    )
    try:
        shutil.rmtree(folder / STORE, ignore_errors=True)
        store = OmeZarrStore.create(
            folder / STORE,
            shape=job.shape,
            dtype=job.dtype,
            chunks=job.chunks,
            metadata=metadata,
            shards=job.shards,
        )
    except OSError as error:
        raise cannot_write(target, error) from error
    ledger = Ledger(folder / DONE, store.path)
    for entry in ledger.entries():
        ledger.forget(entry.unit)
    write_manifest(folder, manifest)
    return StoredRun(folder, manifest, job, intensity, metadata, store, ledger, units, fresh=True)


def reopen_run(
    folder: Path, *, source: Path | None = None, settings: Settings | None = None
) -> StoredRun:
    """Open a run that was begun, with the numbers that were measured then.

    Parameters
    ----------
    folder : Path
        Of the run.
    source : Path, optional
        The image; by default where it was.
    settings : Settings, optional
        What the user chooses now; it must be what was chosen then.

    Returns
    -------
    StoredRun
        To go on with.

    Raises
    ------
    ResumeError
        If the source, a choice, a model or the version is not the same, with
        what differs.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        msg = f"{folder.name} holds no run"
        raise InputError(msg)
    if settings is not None:
        _refuse(folder, changed_settings(manifest.settings, summarise(settings)), "other choices")
    source = Path(manifest.source) if source is None else source
    image = read_image(source)
    differs = changes(manifest.identity, identify(source, image.data))
    _refuse(folder, differs, f"{source.name} is not what it was")
    recipe = recipe_from_record(manifest.record, folder.name)
    models = manifest.settings["model"]
    if models is not None:
        recipe = replace(recipe, model=tuple(models))
    known = Settings(recipe=recipe)
    try:
        job, metadata = plan_file(image.data, image.metadata, known)
    except ModelError as error:
        raise _refusal(folder, [str(error)], "the model is not what it was") from error
    job = replace(job, placement=replace(job.placement, batch=manifest.batch))
    job, intensity = _settled(job, known)
    now = describe_job(job, intensity, source_name=manifest.record["source"])
    _refuse(folder, changed_record(manifest.record, now), "it would be computed differently now")
    store = OmeZarrStore.reopen(folder / STORE, metadata)
    ledger = Ledger(folder / DONE, store.path)
    units = Units(job.total, manifest.unit)
    return StoredRun(folder, manifest, job, intensity, metadata, store, ledger, units)


def finish_image(
    run: StoredRun,
    target: Path,
    *,
    overwrite: bool,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Make an OME-Zarr of a run whose units are all written, and give it its name.

    Parameters
    ----------
    run : StoredRun
        Of which every unit is written.
    target : Path
        The result.
    overwrite : bool
        Replace an existing result.
    cancelled : callable
        Polled between chunks of the smaller levels.

    Returns
    -------
    dict
        The record of how it was made.

    Raises
    ------
    OutputError
        If chunks are missing, or the disk is full.
    """
    record = run.record()
    try:
        run.store.check_written()
        run.store.sweep()
        run.store.describe(record, image_name(target), cancelled)
        take_name(run.store.path, target, overwrite=overwrite)
    except OSError as error:
        raise cannot_write(target, error) from error
    return record


def needed_space(run: StoredRun, missing: int) -> int:
    """Estimate the bytes that a run has still to write.

    Parameters
    ----------
    run : StoredRun
        The run.
    missing : int
        Units that are not written yet.
    """
    share = missing / len(run.units)
    return math.ceil(run.job.nbytes * (share + PYRAMID_SHARE - 1))


def _settled(job: Job, known: Settings) -> tuple[Job, Intensity]:
    """Take every number from the recipe; the source was checked when they were measured."""
    assert known.recipe is not None
    intensity = known.recipe.intensity
    return settle_projection(job, intensity, known=known.recipe.consistent), intensity


def _as_tile(entry: Entry) -> TileDone:
    return TileDone(entry.unit, 0, 0, (), entry.difference, entry.precision)


def _refuse(folder: Path, differs: list[str], what: str) -> None:
    if differs:
        raise _refusal(folder, differs, what)


def _refusal(folder: Path, differs: list[str], what: str) -> ResumeError:
    more = f", and {len(differs) - _SHOWN} more" if len(differs) > _SHOWN else ""
    return ResumeError(
        f"cannot go on with {folder.name}: {what}: {'; '.join(differs[:_SHOWN])}{more}. "
        "Undo the change, or begin anew with --restart"
    )
