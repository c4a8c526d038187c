"""From somebody else's file to an Upscaler, and into the list of installed models."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_hrsr.errors import CancelledError, ModelFileError
from napari_hrsr.models.foreign.containers import read_tensors
from napari_hrsr.models.foreign.published import PublishedNetwork, build_published, with_facts
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.receptive_field import ReceptiveField, measure_receptive_field
from napari_hrsr.models.spec import ModelSpec, Weights

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


def load_published(path: Path, content: bytes | None = None) -> PublishedNetwork:
    """Load a network that somebody else published.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a ``.pth``, ``.pt`` or ``.ckpt`` of torch 1.6
        or later, with the weights of a network that spandrel knows.
    content : bytes, optional
        The file, where it has been read.

    Returns
    -------
    PublishedNetwork
        In evaluation mode, in float32, its receptive field measured.

    Raises
    ------
    ModelFileError
        With the reason, if the file is damaged, holds anything else than
        weights, or belongs to a network that cannot be used.
    """
    content = read_file(path) if content is None else content
    model, _ = build_from(path.name, content)
    digest = hashlib.sha256(content).hexdigest()
    spec = replace(model.spec, weights=Weights(path.name, digest, len(content)))
    return with_facts(model, spec)


def build_from(
    name: str, content: bytes, cancelled: Callable[[], bool] = lambda: False
) -> tuple[PublishedNetwork, Mapping[str, Tensor]]:
    """Build a network and measure its receptive field; return it with its tensors.

    Parameters
    ----------
    name : str
        Of the file.
    content : bytes
        The file, whole.
    cancelled : callable
        Polled while the network is measured.

    Raises
    ------
    ModelFileError
        As `load_published`.
    CancelledError
        If `cancelled` said so.
    """
    tensors = read_tensors(name, content)
    model = build_published(name, tensors, len(content))
    arguments = dict(model.spec.arguments) | {"features": _tried(name, model)}
    model = with_facts(model, replace(model.spec, arguments=arguments))
    return with_facts(model, with_field(model.spec, _field(content, model, cancelled))), tensors


def _tried(name: str, model: PublishedNetwork) -> int:
    """Run a network once on a small image; return the numbers it holds per pixel at its widest."""
    spec = model.spec
    most = 0

    def note(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal most
        if isinstance(output, Tensor):
            most = max(most, output.numel())

    hooks = [part.register_forward_hook(note) for part in model.network.modules()]
    side = max(-(-max(m, 16) // k) * k for m, k in zip(spec.minimum, spec.multiple, strict=True))
    image = torch.linspace(0, 1, side).expand(1, spec.channels, side, side)
    try:
        with torch.inference_mode():
            result = model(image)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        msg = f"{name} cannot be run on an image of {side} x {side} pixels: {reason}"
        raise ModelFileError(msg) from None
    finally:
        for hook in hooks:
            hook.remove()
    expected = (1, spec.channels, side * spec.scale[0], side * spec.scale[1])
    if tuple(result.shape) != expected:
        msg = f"{name} makes {tuple(result.shape)} of {tuple(image.shape)}, not {expected}"
        raise ModelFileError(msg)
    if not bool(torch.isfinite(result).all()):
        msg = f"{name} makes NaN or infinite values of an image: its weights are damaged"
        raise ModelFileError(msg)
    return math.ceil(most / side**2)


def with_field(spec: ModelSpec, field: ReceptiveField) -> ModelSpec:
    """Return the facts with what was measured of the receptive field."""
    arguments = dict(spec.arguments) | {"field": _in_words(field)}
    return replace(spec, halo=field.halo, multiple=field.multiple, arguments=arguments)


def _in_words(field: ReceptiveField) -> str:
    if field.halo is None:
        return f"unbounded, residual {field.residual:.1e} at a margin of 32 pixels"
    kind = "bounded" if field.bounded else "fading"
    return f"{kind}, residual {field.residual:.1e}"


_measured: dict[str, ReceptiveField] = {}
"""By the sha256 of a file: measuring takes seconds."""


def _field(
    content: bytes, model: PublishedNetwork, cancelled: Callable[[], bool]
) -> ReceptiveField:
    digest = hashlib.sha256(content).hexdigest()
    if digest not in _measured:
        # Between the layers too: one run of a large network may take a minute.
        hooks = [
            part.register_forward_pre_hook(functools.partial(_check, cancelled))
            for part in model.network.modules()
        ]
        try:
            _measured[digest] = measure_receptive_field(model, cancelled=cancelled)
        finally:
            for hook in hooks:
                hook.remove()
    return _measured[digest]


def _check(cancelled: Callable[[], bool], part: nn.Module, inputs: object) -> None:
    if cancelled():
        msg = "cancelled while the receptive field was measured"
        raise CancelledError(msg)
