"""Units of work: runs of tiles that are written, recorded and handed out together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from napari_hrsr.errors import InputError

MOST_UNITS = 10_000


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a run: consecutive tiles, ``size`` at a time.

    Attributes
    ----------
    tiles : int
        Number of tiles of the run.
    size : int
        Tiles in a unit; the last one may have fewer.
    """

    tiles: int
    size: int

    def __len__(self) -> int:
        return -(-self.tiles // self.size)

    def __getitem__(self, unit: int) -> range:
        if not 0 <= unit < len(self):
            msg = f"unit {unit} of {len(self)}"
            raise IndexError(msg)
        return range(unit * self.size, min(self.tiles, (unit + 1) * self.size))

    def __iter__(self) -> Iterator[range]:
        return (self[unit] for unit in range(len(self)))

    def of_tile(self, tile: int) -> int:
        """Return the unit that a tile belongs to."""
        return tile // self.size


def group_tiles(tiles: int, batch: int) -> Units:
    """Group the tiles of a run into at most `MOST_UNITS` units.

    Units hold whole batches, so that a network is given the same batches
    whoever computes them, and in whatever order.

    Parameters
    ----------
    tiles : int
        How many there are.
    batch : int
        Tiles that the network is given at once.
    """
    batches = math.ceil(tiles / batch)
    return Units(tiles, batch * max(1, math.ceil(batches / MOST_UNITS)))


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the units: every ``count``-th one.

    Attributes
    ----------
    number : int
        Which share, from 1.
    count : int
        How many shares there are.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, unit: int) -> bool:
        """Tell whether a unit is in this share."""
        return unit % self.count == self.number - 1


def parse_part(text: str) -> Part:
    """Read a share such as ``"2/8"``.

    Raises
    ------
    InputError
        If it is none.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        msg = f"a part is its number and their count, such as 1/8 to 8/8, got {text!r}"
        raise InputError(msg)
    return Part(int(found[1]), int(found[2]))
