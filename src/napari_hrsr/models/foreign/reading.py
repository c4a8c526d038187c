"""Read a file of a model whole, so that what was checked is what is used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from napari_hrsr.errors import ModelFileError

LARGEST_FILE = 8 * 2**30
"""Bytes. The largest published networks for images hold some hundred million numbers."""


def read_file(path: Path) -> bytes:
    """Read a regular file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ModelFileError
        If it cannot be read, is too large, or is a pipe, a folder or a device.
    """
    try:
        # Opening a pipe would otherwise wait for ever for somebody to write to it.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        number = os.open(path, flags)
        with os.fdopen(number, "rb") as file:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
                msg = f"{path.name} is not a regular file"
                raise ModelFileError(msg)
            if status.st_size > LARGEST_FILE:
                msg = f"{path.name} is too large for a file of weights: {status.st_size} bytes"
                raise ModelFileError(msg)
            return file.read()
    except IsADirectoryError:
        msg = f"{path.name} is not a regular file"
        raise ModelFileError(msg) from None
    except (OSError, ValueError) as error:
        msg = f"cannot read {path.name}: {getattr(error, 'strerror', None) or error}"
        raise ModelFileError(msg) from None
