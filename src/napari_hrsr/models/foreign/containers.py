"""Tensors out of a file that somebody else wrote: ``.safetensors``, or a zip of ``torch.save``.

The zip is checked before torch sees it: its records are stored, not
compressed, so that they cannot grow; their checksums are right, which torch
does not look at; and there is no code among them. What torch then reads, it
reads with ``weights_only``, and there is no second attempt without.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from napari_hrsr.errors import ModelFileError, UntrustedError
from napari_hrsr.models.foreign.programs import is_code
from napari_hrsr.models.foreign.trust import refusal
from napari_hrsr.models.header import parse_header

MOST_TENSORS = 20_000
DEEPEST_INDEX = 1000
"""Largest number in the name of a tensor: builders of networks count up to it."""

_LARGEST_PICKLE = 16 * 2**20
_DEEPEST = 3
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.int64, torch.int32, torch.bool, torch.uint8)
_WRAPPERS = (
    "params_ema", "params-ema", "params", "state_dict_ema", "model_state_dict", "state_dict",
    "ema", "generator", "netG", "net_g", "model", "net", "weights",
)  # fmt: skip
"""Under which keys programs keep the weights of a network; averaged ones first."""


def read_tensors(name: str, content: bytes) -> dict[str, Tensor]:
    """Return the named tensors in a file.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        The file, whole.

    Returns
    -------
    dict of str to Tensor
        Dense, finite, on the CPU; floating point, but for counters and tables of
        indices, which are whole numbers.

    Raises
    ------
    ModelFileError
        With the reason, if the file is damaged, holds code or anything else
        than the weights of a network.
    """
    if content[:4] == b"PK\x03\x04":
        found = _read_zip(name, content)
    elif is_legacy_pickle(content):
        msg = (
            f"{name} has the format from before torch 1.6, which cannot be checked before it is "
            f"read: make a safe copy of it with 'napari-hrsr models convert {name}', and open that"
        )
        raise ModelFileError(msg)
    else:
        found = _read_safetensors(name, content)
    tensors = dict(_tensors(name, _unwrapped(found)))
    if not tensors:
        msg = f"{name} holds no weights of a network"
        raise ModelFileError(msg)
    check_tensors(name, tensors, len(content))
    return tensors


def is_legacy_pickle(content: bytes) -> bool:
    """Tell whether a file has a format from before torch 1.6: a bare pickle, or a tar of several.

    Parameters
    ----------
    content : bytes
        The file, or its first 512 bytes.
    """
    pickled = content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return pickled or content[257:262] == b"ustar"


def check_tensors(name: str, tensors: Mapping[str, Tensor], size: int) -> None:
    """Refuse tensors that no file of weights of this size should hold.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    tensors : mapping of str to Tensor
        What was read.
    size : int
        Of the file, in bytes.

    Raises
    ------
    ModelFileError
        If there are too many, or one is sparse, of another type than weights
        have, infinite or NaN, or larger than its place in the file.
    """
    if len(tensors) > MOST_TENSORS:
        msg = f"{name} holds {len(tensors)} tensors: too many for a network"
        raise ModelFileError(msg)
    total = 0
    for key, tensor in tensors.items():
        if any(
            int(number) > DEEPEST_INDEX for number in re.findall(r"(?<![^.])\d{1,9}(?![^.])", key)
        ):
            msg = f"{name} numbers a layer {key[:80]!r}: no network has so many"
            raise ModelFileError(msg)
        if re.search(r"\d{10}", key):
            msg = f"{name} names a tensor {key[:80]!r}: no network has so many layers"
            raise ModelFileError(msg)
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
            msg = f"{name}: tensor {key!r} is not dense"
            raise ModelFileError(msg)
        if tensor.dtype not in _FLOATS + _INTEGERS:
            kind = str(tensor.dtype).removeprefix("torch.")
            msg = f"{name}: tensor {key!r} has type {kind}, expected floating point"
            raise ModelFileError(msg)
        # A stride of zero makes a few numbers look like many.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            msg = f"{name}: tensor {key!r} is larger than its numbers in the file"
            raise ModelFileError(msg)
        total += tensor.numel() * tensor.element_size()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            msg = f"{name}: tensor {key!r} holds NaN or infinite values"
            raise ModelFileError(msg)
    if total > size:
        msg = f"{name} is smaller than its tensors: the same numbers are used several times"
        raise ModelFileError(msg)


def _read_safetensors(name: str, content: bytes) -> dict[str, Tensor]:
    header = parse_header(name, content)
    if len(header) > MOST_TENSORS + 1:
        msg = f"{name} holds {len(header)} tensors: too many for a network"
        raise ModelFileError(msg)
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        msg = f"{name} is damaged: {error}"
        raise ModelFileError(msg) from None


def _read_zip(name: str, content: bytes) -> Any:
    _check_zip(name, content)
    try:
        # The content, never the path: by the path torch would choose a reader by the suffix.
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if "weights_only" in reason or "Unsupported" in reason:
            reason = "it holds other things than weights, which might run code when read"
        msg = f"{name} cannot be read: {reason}"
        raise ModelFileError(msg) from None


def _check_zip(name: str, content: bytes) -> None:
    """Refuse a zip that could grow, that is damaged, or that carries code."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
            _check_records(name, records, len(content))
            broken = archive.testzip()
    except ModelFileError:
        raise
    except Exception as error:
        msg = f"{name} is damaged, or it is cut off: {error}"
        raise ModelFileError(msg) from None
    if broken is not None:
        msg = f"{name} is damaged: the checksum of its record {broken!r} is wrong"
        raise ModelFileError(msg)


def _check_records(name: str, records: list[zipfile.ZipInfo], size: int) -> None:
    names = [record.filename for record in records]
    if len(records) > 2 * MOST_TENSORS or len(set(names)) != len(names):
        msg = f"{name} has too many records, or two of one name"
        raise ModelFileError(msg)
    for record in records:
        path = PurePosixPath(record.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in record.filename:
            msg = f"{name} holds a record outside its folder: {record.filename[:80]!r}"
            raise ModelFileError(msg)
        if is_code(path):
            raise UntrustedError(refusal(name))
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            msg = f"{name} is compressed or encrypted, which torch.save never does"
            raise ModelFileError(msg)
        if path.suffix == ".pkl" and record.file_size > _LARGEST_PICKLE:
            msg = f"{name} describes too much: {record.file_size} bytes beside its weights"
            raise ModelFileError(msg)
    roots = {PurePosixPath(n).parts[0] for n in names if not n.startswith(".")}
    if len(roots) != 1 or f"{next(iter(roots))}/data.pkl" not in names:
        msg = f"{name} is a zip, but not one that torch.save wrote"
        raise ModelFileError(msg)
    if sum(record.file_size for record in records) > size:
        msg = f"{name} states more bytes than it has"
        raise ModelFileError(msg)


def _unwrapped(found: Any) -> Any:
    """Take the weights out of what programs put around them."""
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping):
            return found
        if any(isinstance(value, Tensor) for value in found.values()):
            return found
        inner = next((found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None and len(found) == 1:
            inner = next(iter(found.values()))
        if inner is None:
            return found
        found = inner
    return found


def _tensors(name: str, found: Any) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(found, Mapping):
        msg = f"{name} holds a {type(found).__name__}, expected the named weights of a network"
        raise ModelFileError(msg)
    for key, value in found.items():
        if isinstance(value, Tensor):
            if not isinstance(key, str):
                msg = f"{name} has a tensor whose name is no text: {str(key)[:80]!r}"
                raise ModelFileError(msg)
            yield key, value
