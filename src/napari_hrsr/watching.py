"""What a run shows about itself while its tiles are computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari_hrsr.crossfading import Crossfade
from napari_hrsr.jobs import Job
from napari_hrsr.upscaling import TileDone


class Watched:
    """Takes note of each tile: called with its record.

    Parameters
    ----------
    job : Job
        The run.

    Attributes
    ----------
    difference : float
        Largest difference between tiles that were faded into each other so
        far, in the image's units.
    fell_back : bool
        Whether half precision did not hold what the network computes, so that
        tiles were computed in float32.
    """

    def __init__(self, job: Job) -> None:
        self._asked = str(job.placement.dtype).removeprefix("torch.")
        self._faded = job.model.spec.halo is None and len(job.plan) > 1
        self._width = Crossfade(job.plan).width
        self.difference = 0.0
        self.fell_back = False

    def __call__(self, tile: TileDone) -> None:
        """Take note of a tile."""
        self.difference = max(self.difference, tile.difference)
        self.fell_back = self.fell_back or tile.precision != self._asked

    def through(self, tiles: Iterator[TileDone]) -> Iterator[TileDone]:
        """Pass the records of tiles on, and take note of each."""
        for tile in tiles:
            self(tile)
            yield tile

    def added_to(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a run with what its tiles showed.

        Parameters
        ----------
        record : dict
            From `jobs.describe_job`.
        """
        found = dict(record)
        if self._faded:
            found["fading"] = {"width": list(self._width), "difference": self.difference}
        if self.fell_back:
            found["precision"] = "float32"
            found["precision_note"] = (
                f"{self._asked} did not hold what the network computes, so it went on in float32"
            )
        return found

    def told(self) -> str:
        """Say what a user should know of it, in a line; empty where there is nothing."""
        parts = []
        if self._faded:
            parts.append(f"tiles differ by at most {self.difference:.3g}")
        if self.fell_back:
            parts.append(f"{self._asked} overflowed: computed in float32")
        return "; ".join(parts)
