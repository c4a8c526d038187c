"""Which files the user trusts to run their author's code.

Trust is given to one file by its digest, for this process; nothing in a file
can ask for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.reading import read_file

RISK = (
    "This file holds a program of its author's. Opened, it can do whatever you can do on this "
    "computer: read your files and send them away. napari-hrsr runs it in a process of its own, "
    "which may not write files and has limits to memory, but it cannot make it safe. Trust it "
    "only if you know where it came from and its digest is the one that was published there."
)

_trusted: set[str] = set()


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """What to show a user before code of somebody else's is run.

    Attributes
    ----------
    file : str
        Name of the file.
    sha256 : str
        Hexadecimal digest of its content.
    size : int
        Bytes.
    risk : str
        In words.
    """

    file: str
    sha256: str
    size: int
    risk: str


def ask_trust(path: str | Path) -> TrustRequest:
    """Return what the user must be shown before a file is trusted.

    Parameters
    ----------
    path : str or Path
        The file; nothing of it is run.

    Raises
    ------
    ModelFileError
        If it cannot be read.
    """
    path = Path(path)
    content = read_file(path)
    return TrustRequest(path.name, hashlib.sha256(content).hexdigest(), len(content), RISK)


def trust(sha256: str) -> None:
    """Trust the file with a digest until this process ends.

    Raises
    ------
    ModelFileError
        If it is no sha256.
    """
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        msg = f"{sha256[:80]!r} is no sha256 of a file: 64 hexadecimal digits in small letters"
        raise ModelFileError(msg)
    _trusted.add(sha256)


def is_trusted(content: bytes) -> bool:
    """Tell whether the user trusts a file with this content."""
    return bool(_trusted) and hashlib.sha256(content).hexdigest() in _trusted
