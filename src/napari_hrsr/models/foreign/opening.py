"""Open ONNX files and packages of the BioImage Model Zoo, and keep them as installed models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.bioimage import ATTACHED, load_package
from napari_hrsr.models.foreign.inferring import check_given, measured, read_sidecar
from napari_hrsr.models.foreign.onnx_files import load_onnx
from napari_hrsr.models.foreign.package_weights import make_run
from napari_hrsr.models.foreign.packages import is_package, open_package
from napari_hrsr.models.foreign.programs import KINDS, Program
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.foreign.trusted import load_trusted
from napari_hrsr.models.foreign.wrapped import WRAPPED, WrappedNetwork, wrapping_from_text
from napari_hrsr.models.header import METADATA_KEY, parse_spec
from napari_hrsr.models.spec import ModelSpec, Weights, spec_to_dict

PROGRAM_SUFFIXES = (".onnx", ".zip", ".yaml", ".yml")
"""What networks of other programs come in, beside files of weights."""

_STORED = "content"


def is_wrapped(path: Path) -> bool:
    """Tell whether a path is an ONNX file or a package, by its name or what a folder holds."""
    return path.suffix.lower() in PROGRAM_SUFFIXES or is_package(path)


def attached_model(path: Path) -> bytes | None:
    """Return our own file in a package that napari-hrsr wrote, None in any other.

    Raises
    ------
    ModelFileError
        If the package is damaged or refused.
    """
    if path.suffix.lower() == ".onnx":
        return None
    _, description, read = open_package(path)
    return read(ATTACHED) if ATTACHED.encode() in description else None


def open_wrapped(
    path: Path,
    given: Mapping[str, Any] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[WrappedNetwork, bytes]:
    """Open a network that another program wrote, and measure its receptive field.

    Parameters
    ----------
    path : Path
        ``.onnx``; a folder, ``.zip`` or ``.yaml`` of the BioImage Model Zoo.
    given : mapping, optional
        Of ONNX files: factor, channels and others, see `inferring.read_sidecar`.
    cancelled : callable
        Polled while the network is measured.

    Returns
    -------
    WrappedNetwork
        Ready to run.
    bytes
        Its weights, see `keep_wrapped`.

    Raises
    ------
    ModelFileError
        With the reason, if it is refused.
    CancelledError
        If `cancelled` said so.
    """
    if path.suffix.lower() == ".onnx":
        content = read_file(path)
        facts = read_sidecar(path) | check_given(path.name, given or {})
        model = load_onnx(path.name, content, facts)
    else:
        _, description, read = open_package(path)
        model, files = load_package(path.name, description, read)
        (content,) = files.values()
    model = measured(model, content, path.name, cancelled)
    digest = hashlib.sha256(content).hexdigest()
    spec = replace(model.spec, weights=Weights(path.name, digest, len(content)))
    return WrappedNetwork(model.run, model.wrapping, spec), content


def open_trusted(
    path: Path,
    content: bytes,
    given: Mapping[str, Any] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[WrappedNetwork, bytes]:
    """Open TorchScript that the user trusts; as `open_wrapped`.

    Parameters
    ----------
    path : Path
        The file; facts may lie beside it, as for ONNX.
    content : bytes
        What was read of it.
    given : mapping, optional
        As for `open_wrapped`.
    cancelled : callable
        As for `open_wrapped`.
    """
    facts = read_sidecar(path) | check_given(path.name, given or {})
    model = load_trusted(path.name, content, facts)
    model = measured(model, content, path.name, cancelled)
    weights = Weights(path.name, hashlib.sha256(content).hexdigest(), len(content))
    return WrappedNetwork(model.run, model.wrapping, replace(model.spec, weights=weights)), content


def keep_wrapped(spec: ModelSpec, content: bytes) -> bytes:
    """Return a safetensors file of ours that holds a network of somebody else's."""
    stored = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    facts = json.dumps(spec_to_dict(replace(spec, weights=None)))
    return save({_STORED: stored}, {METADATA_KEY: facts})


def restore_wrapped(name: str, spec: ModelSpec, content: bytes) -> WrappedNetwork:
    """Rebuild a network from what `keep_wrapped` made.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    spec : ModelSpec
        From its header.
    content : bytes
        The file, whole.

    Raises
    ------
    ModelFileError
        If it is damaged or refused.
    """
    wrapping = wrapping_from_text(name, spec.arguments.get("wrapping"))
    run = make_run(name, str(spec.arguments.get("runs")), _stored(name, content))
    return WrappedNetwork(run, wrapping, spec)


def stored_program(name: str, content: bytes) -> Program | None:
    """Return the code in what `keep_wrapped` made; None where there is none.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    content : bytes
        A file of ours, whole.

    Raises
    ------
    ModelFileError
        If it is damaged.
    """
    spec = parse_spec(name, content)
    runs = str(spec.arguments.get("runs"))
    if spec.architecture != WRAPPED or runs not in KINDS:
        return None
    return Program(runs, name, _stored(name, content))


def _stored(name: str, content: bytes) -> bytes:
    try:
        stored = load(content)[_STORED]
    except Exception as error:
        msg = f"{name} is damaged: {error}"
        raise ModelFileError(msg) from None
    if stored.dtype != torch.uint8 or stored.ndim != 1:
        msg = f"{name} is damaged: it holds no file"
        raise ModelFileError(msg)
    return stored.numpy().tobytes()
