"""The folder of a run: made, claimed, cleared, and removed when it holds nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from napari_hrsr.errors import OutputError
from napari_hrsr.files.partial import cannot_write, check_folder
from napari_hrsr.runs.computing import STOP
from napari_hrsr.runs.ledger import count_entries
from napari_hrsr.runs.locks import is_live
from napari_hrsr.runs.manifest import FILE
from napari_hrsr.runs.stored import DONE, STORE


@contextlib.contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """Make the folder of a run; remove it at the end if nothing in it is worth keeping.

    Parameters
    ----------
    folder : Path
        Of the run, beside its result.

    Raises
    ------
    OutputError
        If it cannot be made, or it is not the folder of a run.
    """
    check_folder(folder.parent)
    try:
        # Private, as it names files; what is in it, the result above all, is as usual.
        folder.mkdir(0o700, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    _check_ours(folder)
    try:
        yield
    finally:
        if not count_written(folder) and not _is_live(folder):
            shutil.rmtree(folder, ignore_errors=True)


def count_written(folder: Path) -> int:
    """Count the units that a run has recorded."""
    return count_entries(folder / DONE)


def is_unfinished(folder: Path) -> bool:
    """Tell whether there is a run to go on with."""
    return (folder / FILE).exists() and (folder / STORE).exists()


def remove_folder(folder: Path) -> None:
    """Remove the folder of a run that is finished."""
    # First, so that what is left after a crash is not taken for a run.
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep_folder(folder: Path) -> None:
    """Remove what a process that was killed has left of a run that is finished."""
    if folder.exists() and not _is_live(folder):
        _check_ours(folder)
        remove_folder(folder)


def clear_folder(folder: Path) -> None:
    """Remove everything that a run has written, but not its locks."""
    (folder / FILE).unlink(missing_ok=True)
    for name in (STORE, DONE):
        shutil.rmtree(folder / name, ignore_errors=True)


def _is_live(folder: Path) -> bool:
    return any(map(is_live, folder.glob("*.lock")))


def _check_ours(folder: Path) -> None:
    """Refuse a folder in which something else lies than runs put there."""
    known = {FILE, STORE, DONE, STOP}
    for path in folder.iterdir():
        if path.name not in known and path.suffix not in (".lock", ".partial"):
            msg = (
                f"{folder.name} holds {path.name}, which is none of this run's files: wait if "
                "another program is writing it, else delete that folder or choose another name"
            )
            raise OutputError(msg)
