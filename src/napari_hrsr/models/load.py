"""Turn a name or a file into a model that can be run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import ModelError, ModelFileError
from napari_hrsr.models.catalog import LARGEST_FACTOR, WEIGHTS_FOLDER, find_spec
from napari_hrsr.models.compose import chain
from napari_hrsr.models.foreign.bioimage import ATTACHED
from napari_hrsr.models.foreign.containers import read_tensors
from napari_hrsr.models.foreign.loading import SUFFIXES, load_published
from napari_hrsr.models.foreign.opening import (
    PROGRAM_SUFFIXES,
    attached_model,
    is_wrapped,
    open_trusted,
    open_wrapped,
    restore_wrapped,
)
from napari_hrsr.models.foreign.packages import is_package
from napari_hrsr.models.foreign.programs import is_torchscript
from napari_hrsr.models.foreign.published import ARCHITECTURE, build_published, with_facts
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.foreign.trust import is_trusted, trust
from napari_hrsr.models.foreign.wrapped import WRAPPED
from napari_hrsr.models.header import is_ours, parse_spec
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.quantised import restore
from napari_hrsr.models.spec import ModelSpec, Upscaler, Weights

_LARGEST_ARGUMENT = 1024

ModelChoice = str | Path | Upscaler | Sequence[str | Path | Upscaler]
"""A model, or several that run one after another."""

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class NetworkUpscaler(nn.Module):
    """A network together with its facts.

    Parameters
    ----------
    network : torch.nn.Module
        Called as ``network(batch, noise)``.
    spec : ModelSpec
        What is known of it.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Upscale a batch; see `Upscaler`."""
        upscaled: Tensor = self.network(batch, noise)
        return upscaled


def load_model(
    name_or_path: str | Path, *, device: str = "cpu", trusted: str | None = None
) -> Upscaler:
    """Load a model.

    Parameters
    ----------
    name_or_path : str or Path
        A name that `list_models` knows, such names with ``+`` between for a
        chain of models, or the path of a file: a
        ``.safetensors`` file that napari-hrsr wrote, or a network that others
        published as ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt`` or ``.onnx``,
        or a package of the BioImage Model Zoo (folder, ``.zip`` or ``.yaml``).
    device : str
        Where to put it. A run makes its own copy on its own device, so this
        matters only to those who call the model themselves.
    trusted : str, optional
        The sha256 of a program whose author's code may be run, in a process of
        its own; see `napari_hrsr.models.foreign.asking.ask_trust`.

    Returns
    -------
    Upscaler
        In evaluation mode, in float32.

    Raises
    ------
    ModelError
        If there is no such model.
    ModelFileError
        If the file is damaged, holds more than weights, or its network is not known.
    """
    if trusted is not None:
        trust(trusted)
    text = str(name_or_path)
    by_suffix = isinstance(name_or_path, Path) or text.lower().endswith(
        (*SUFFIXES, *PROGRAM_SUFFIXES)
    )
    if by_suffix or is_package(Path(text)):
        path = Path(text)
        if is_wrapped(path):
            attached = attached_model(path)
            if attached is None:
                return open_wrapped(path)[0]
            path, content = path / ATTACHED, attached
        else:
            content = read_file(path)
        if is_torchscript(content) and is_trusted(hashlib.sha256(content).hexdigest()):
            return open_trusted(path, content)[0]
        if not is_ours(path.name, content):
            return load_published(path, content).to(resolve_device(device))
        spec = _spec_in_file(path, content)
    else:
        spec = find_spec(text)
        if spec.parts:
            return chain(*(load_model(part.name, device=device) for part in spec.parts))
        content = b"" if spec.weights is None else _read_weights(spec.weights)
    if spec.architecture == WRAPPED:
        name = Path(spec.weights.file if spec.weights else spec.name).name
        return restore_wrapped(name, spec, content)
    if spec.architecture == ARCHITECTURE:
        name = spec.weights.file if spec.weights else spec.name
        published = build_published(
            Path(name).name, read_tensors(Path(name).name, content), len(content)
        )
        return with_facts(published, spec).to(resolve_device(device))
    if spec.weights is None:
        network = build_network(spec.architecture, spec.arguments)
    else:
        network = _build_for_weights(spec, content)
        _fill(network, spec.weights.file, content)
    model = NetworkUpscaler(network, spec).eval().requires_grad_(False)
    return model.to(resolve_device(device))


def load_chain(models: ModelChoice, *, device: str = "cpu") -> Upscaler:
    """Load a model, or several as one that runs them one after another.

    Parameters
    ----------
    models : str, Path, Upscaler, or a sequence of them
        As `load_model` takes them, or loaded already.
    device : str
        As for `load_model`.

    Returns
    -------
    Upscaler
        Of several models their chain; see `napari_hrsr.models.compose.chain`.

    Raises
    ------
    ModelError
        If there is no such model, or they do not fit together.
    """
    if isinstance(models, Upscaler):
        return models
    if isinstance(models, str | Path):
        return load_model(models, device=device)
    if not isinstance(models, Sequence):
        msg = f"a model is a name, a file, an Upscaler, or a list of them, got {models!r}"
        raise ModelError(msg)
    loaded = [load_chain(model, device=device) for model in models]
    return loaded[0] if len(loaded) == 1 else chain(*loaded)


def _read_weights(weights: Weights) -> bytes:
    path = WEIGHTS_FOLDER / weights.file
    content = read_file(path)
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        msg = (
            f"{path.name} is not the file that was published: reinstall the package"
            if path.parent == WEIGHTS_FOLDER
            else f"{path.name} was changed while it was read: try again"
        )
        raise ModelFileError(msg)
    return content


def _spec_in_file(path: Path, content: bytes) -> ModelSpec:
    weights = Weights(path.name, hashlib.sha256(content).hexdigest(), len(content))
    return replace(parse_spec(path.name, content), weights=weights)


def _build_for_weights(spec: ModelSpec, content: bytes) -> nn.Module:
    """Build the network that a file's facts describe, if it is one that the file can fill."""
    name = spec.weights.file if spec.weights else spec.name
    numbers = [n for n in spec.arguments.values() if isinstance(n, int)]
    if any(n > _LARGEST_ARGUMENT for n in numbers) or max(spec.scale) > LARGEST_FACTOR:
        msg = f"{name} describes a network of absurd size"
        raise ModelFileError(msg)
    try:
        with torch.device("meta"):
            outline = build_network(spec.architecture, spec.arguments)
        size = sum(weight.numel() for weight in outline.parameters())
        # A stored number takes a byte or more.
        if size > len(content):
            msg = f"{name} is too small for its network of {size} numbers, or it is cut off"
            raise ModelFileError(msg)
        network = build_network(spec.architecture, spec.arguments)
    except ModelFileError:
        raise
    except (ModelError, RuntimeError) as error:
        msg = f"{name} describes a network that cannot be built: {error}"
        raise ModelFileError(msg) from None
    scale, halo = (getattr(network, key, getattr(spec, key)) for key in ("scale", "halo"))
    if scale != spec.scale or not _covers(spec.halo, halo):
        msg = f"{name} states a factor or a halo that its network does not have"
        raise ModelFileError(msg)
    return network


def _covers(stated: tuple[int, ...] | None, true: tuple[int, ...] | None) -> bool:
    """Tell whether a halo is large enough; None is unbounded."""
    if stated is None or true is None:
        return stated is None
    return all(a >= b for a, b in zip(stated, true, strict=True))


def _fill(network: nn.Module, name: str, content: bytes) -> None:
    """Load checked tensors into a network."""
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError) as error:
        msg = f"{name} is damaged: {error}"
        raise ModelFileError(msg) from None
    tensors = restore(name, tensors)
    for key, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            msg = f"{name}: tensor {key!r} has type {tensor.dtype}, expected floating point"
            raise ModelFileError(msg)
        if not bool(torch.isfinite(tensor).all()):
            msg = f"{name}: tensor {key!r} holds NaN or infinite values"
            raise ModelFileError(msg)
    try:
        network.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        msg = f"{name} does not fit its network: {reason}"
        raise ModelFileError(msg) from None
