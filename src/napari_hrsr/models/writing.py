"""Write a small file whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name once it is complete, replacing one of that name.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    content : bytes
        All of it.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    number, partial = tempfile.mkstemp(".partial", ".", path.absolute().parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
