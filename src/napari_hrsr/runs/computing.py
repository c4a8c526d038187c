"""The units of a run, computed: one after another here, or one of them anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_hrsr.errors import CancelledError
from napari_hrsr.jobs import start_job
from napari_hrsr.runs.stored import StoredRun
from napari_hrsr.upscaling import TileDone

STOP = "stop"
"""Name of a file in the folder of a run that asks every process at work on it to stop."""


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit has been written and recorded.

    Attributes
    ----------
    unit : int
        Its number.
    tiles : int
        How many tiles it holds.
    seconds : float
        What it took; 0 if another process had written it.
    """

    unit: int
    tiles: int
    seconds: float


class _Unit:
    """What the tiles of a unit have shown so far."""

    def __init__(self, run: StoredRun) -> None:
        self._run = run
        self._files: dict[Path, None] = {}
        self._difference = 0.0
        self._precision = ""
        self._done = 0

    def add(self, tile: TileDone) -> bool:
        """Take note of a written tile; tell whether it was the last one."""
        self._files |= dict.fromkeys(self._run.store.files_of(tile.region))
        self._difference = max(self._difference, tile.difference)
        if self._precision != "float32":
            self._precision = tile.precision
        self._done += 1
        unit = self._run.units.of_tile(tile.index)
        if self._done < len(self._run.units[unit]):
            return False
        self._run.ledger.mark(unit, list(self._files), self._difference, self._precision)
        return True


def compute_units(
    run: StoredRun, units: Sequence[int], *, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[TileDone]:
    """Compute units one after another, as one run of the generator.

    Parameters
    ----------
    run : StoredRun
        The run.
    units : sequence of int
        Which ones.
    cancelled : callable
        Polled between tiles. Units whose tiles are all written are recorded.

    Yields
    ------
    TileDone
        As `upscaling.upscale_tiles`.
    """
    for unit in units:
        run.clear(unit)
    tiles = [tile for unit in units for tile in run.units[unit]]
    open_units: dict[int, _Unit] = {}
    started = start_job(run.job, run.store.array, run.intensity, indices=tiles, cancelled=cancelled)
    for tile in started:
        number = run.units.of_tile(tile.index)
        if open_units.setdefault(number, _Unit(run)).add(tile):
            del open_units[number]
        yield tile


def run_unit(
    run: StoredRun, unit: int, *, cancelled: Callable[[], bool] = lambda: False
) -> UnitDone:
    """Compute one unit, unless it is written already.

    Parameters
    ----------
    run : StoredRun
        The run, opened by this process.
    unit : int
        Its number.
    cancelled : callable
        Polled between tiles.

    Returns
    -------
    UnitDone
        When its record is on disk.

    Raises
    ------
    CancelledError
        If `cancelled` returned True, or the run was asked to stop.
    """
    count = len(run.units[unit])
    if run.ledger.is_marked(unit):
        return UnitDone(unit, count, 0.0)
    started = time.perf_counter()

    def stop() -> bool:
        return cancelled() or is_stopped(run.folder)

    done = sum(1 for _ in compute_units(run, [unit], cancelled=stop))
    if done < count:
        msg = f"cancelled after {done} of {count} tiles of a unit"
        raise CancelledError(msg)
    return UnitDone(unit, count, time.perf_counter() - started)


def ask_to_stop(folder: Path) -> None:
    """Ask every process at work on a run to stop between two tiles."""
    (folder / STOP).touch()


def is_stopped(folder: Path) -> bool:
    """Tell whether the processes at work on a run were asked to stop."""
    return (folder / STOP).exists()


def tiles_in(run: StoredRun, units: Iterable[int]) -> int:
    """Count the tiles of units."""
    return sum(len(run.units[unit]) for unit in units)
