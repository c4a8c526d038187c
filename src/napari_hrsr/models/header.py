"""The facts in the header of a safetensors file, read without its tensors and without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.spec import ModelSpec, spec_from_dict

METADATA_KEY = "napari_hrsr"
"""Where a safetensors file of ours keeps its `ModelSpec`, as JSON."""

_LARGEST_HEADER = 16 * 2**20


def read_header(path: Path) -> bytes:
    """Return the first bytes of a file: the length of its header and the header.

    Raises
    ------
    ModelFileError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            return start + file.read(min(int.from_bytes(start, "little"), _LARGEST_HEADER))
    except OSError as error:
        msg = f"cannot read {path.name}: {error.strerror or error}"
        raise ModelFileError(msg) from None


def parse_header(name: str, content: bytes) -> Mapping[str, Any]:
    """Return the header at the start of some bytes.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        The file, or its beginning.

    Raises
    ------
    ModelFileError
        If it is cut off or damaged.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LARGEST_HEADER, len(content) - 8):
        msg = f"{name} is not a safetensors file, or it is cut off"
        raise ModelFileError(msg)
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        msg = f"{name} has a damaged header"
        raise ModelFileError(msg)
    return header


def is_ours(name: str, content: bytes) -> bool:
    """Tell whether a file was written by napari-hrsr.

    Parameters
    ----------
    name : str
        Of the file.
    content : bytes
        The file, or its beginning.

    Raises
    ------
    ModelFileError
        If it is called safetensors and is none.
    """
    if not name.lower().endswith(".safetensors"):
        return False
    metadata = parse_header(name, content).get("__metadata__")
    return isinstance(metadata, dict) and METADATA_KEY in metadata


def parse_spec(name: str, content: bytes) -> ModelSpec:
    """Return the facts in the header, without those of the file itself.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        The file, or its beginning.

    Raises
    ------
    ModelFileError
        If there are none, or they are not understood.
    """
    metadata = parse_header(name, content).get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if text is None:
        msg = f"{name} names no network: it was not written by napari-hrsr"
        raise ModelFileError(msg)
    try:
        return spec_from_dict(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        msg = f"{name} describes its network in a way that is not understood: {error}"
        raise ModelFileError(msg) from None
