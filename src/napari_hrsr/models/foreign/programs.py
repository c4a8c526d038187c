"""Networks that are programs of their authors': how they are packed, and told from weights."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.trust import TrustRequest

TORCHSCRIPT, PYTHON = "torchscript", "python"

KINDS: Mapping[str, str] = {TORCHSCRIPT: "TorchScript", PYTHON: "Python"}
"""What a program may be, with its name for people."""


@dataclass(frozen=True, slots=True)
class Program:
    """Code that makes a network.

    Attributes
    ----------
    kind : str
        `TORCHSCRIPT` or `PYTHON`.
    name : str
        Of its file, for people.
    content : bytes
        TorchScript, or what `pack_python` made.
    parts : tuple of (str, str)
        Name and sha256 of each of several files.
    """

    kind: str
    name: str
    content: bytes
    parts: tuple[tuple[str, str], ...] = ()

    def request(self) -> TrustRequest:
        """Return what to show the user before it is run."""
        digest = hashlib.sha256(self.content).hexdigest()
        return TrustRequest(
            self.name, digest, len(self.content), KINDS[self.kind], parts=self.parts
        )


def is_code(path: PurePosixPath) -> bool:
    """Tell by the name of a record in a zip of torch whether it holds code."""
    return "code" in path.parts[1:2] or path.name == "constants.pkl" or path.suffix == ".py"


def is_torchscript(content: bytes) -> bool:
    """Tell whether a file holds TorchScript; nothing of it is run.

    Parameters
    ----------
    content : bytes
        The file, whole.
    """
    if content[:4] != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(is_code(PurePosixPath(name)) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False


def pack_python(facts: Mapping[str, Any], weights: bytes) -> bytes:
    """Put a network that is written in Python into one file.

    Parameters
    ----------
    facts : mapping
        ``callable`` and its ``arguments``; ``source``, its text, or ``module``,
        which to import.
    weights : bytes
        A file of weights, as it is.
    """
    text = json.dumps(dict(facts), sort_keys=True).encode()
    return struct.pack("<I", len(text)) + text + weights


def unpack_python(name: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Undo `pack_python`.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        What `pack_python` made.

    Returns
    -------
    facts : dict
        As they were given.
    weights : bytes
        The file of weights.

    Raises
    ------
    ModelFileError
        If it is damaged.
    """
    try:
        (length,) = struct.unpack("<I", content[:4])
        facts = json.loads(content[4 : 4 + length])
        if not isinstance(facts, dict):
            raise ValueError("no facts")
    except (struct.error, ValueError, RecursionError) as error:
        msg = f"{name} is damaged: {error}"
        raise ModelFileError(msg) from None
    return facts, content[4 + length :]
