"""Which units of a run are written: one small file each, with checksums.

A unit counts as written only if every chunk file that it names is there with
the length and the checksum that it had, so that neither a power cut nor a
changed file can pass for a result.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hrsr.errors import OutputError

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Entry:
    """A unit that is written.

    Attributes
    ----------
    unit : int
        Its number.
    files : dict of str to (int, int)
        Length and CRC-32 of every file, by its name within the store.
    difference : float
        See `upscaling.TileDone`.
    precision : str
        What it was computed in.
    """

    unit: int
    files: dict[str, tuple[int, int]]
    difference: float = 0.0
    precision: str = "float32"


class Ledger:
    """The folder of these files.

    Parameters
    ----------
    folder : Path
        Of the files; made where it is missing.
    store : Path
        Folder of the result that they speak of.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder = folder
        self._store = store
        folder.mkdir(exist_ok=True)

    def mark(self, unit: int, files: list[Path], difference: float, precision: str) -> Entry:
        """Record that a unit is written, for good.

        Parameters
        ----------
        unit : int
            Its number.
        files : list of Path
            What it has written.
        difference : float
            See `Entry`.
        precision : str
            See `Entry`.

        Raises
        ------
        OutputError
            If a file is missing, or the record cannot be written.
        """
        try:
            sums = {path.relative_to(self._store).as_posix(): _checksum(path) for path in files}
        except FileNotFoundError as error:
            msg = f"a chunk of the result has vanished while it was written: {error.filename}"
            raise OutputError(msg) from error
        entry = Entry(unit, sums, difference, precision)
        content = {
            "unit": unit, "difference": difference, "precision": precision,
            "files": {name: list(found) for name, found in sums.items()},
        }  # fmt: skip
        write_durably(self._path(unit), json.dumps(content).encode())
        return entry

    def entries(self) -> Iterator[Entry]:
        """Yield what the records say, without a look at the chunks."""
        for path in sorted(self._folder.glob("*.json")):
            entry = _read(path)
            if entry is not None:
                yield entry

    def is_marked(self, unit: int) -> bool:
        """Tell whether a unit is recorded."""
        return self._path(unit).exists()

    def count(self) -> int:
        """Count the units that are recorded."""
        return count_entries(self._folder)

    def holds(self, entry: Entry) -> bool:
        """Tell whether the chunks of a unit are there as they were written."""
        try:
            return all(
                _checksum(self._store / name) == found for name, found in entry.files.items()
            )
        except OSError:
            return False

    def forget(self, unit: int) -> None:
        """Remove the record of a unit."""
        self._path(unit).unlink(missing_ok=True)

    def _path(self, unit: int) -> Path:
        return self._folder / f"{unit:06d}.json"


def count_entries(folder: Path) -> int:
    """Count the records in a folder; none if it is not there."""
    try:
        # Not `glob`, which fails when another process removes the folder meanwhile.
        return sum(name.endswith(".json") for name in os.listdir(folder))
    except FileNotFoundError:
        return 0


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file that is there with all of its content, or not at all.

    Also after a power cut: file and folder are flushed.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        msg = f"cannot write {path.name}: {error.strerror or error}"
        raise OutputError(msg) from error


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(path: Path) -> tuple[int, int]:
    length, total = 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            length += len(block)
            total = zlib.crc32(block, total)
    return length, total


def _read(path: Path) -> Entry | None:
    """Read a record; None where it is torn."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        files = {str(k): (int(n), int(crc)) for k, (n, crc) in content["files"].items()}
        return Entry(
            int(content["unit"]), files, float(content["difference"]), str(content["precision"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
