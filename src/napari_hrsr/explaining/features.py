"""What the layers of a network make of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_hrsr.errors import InputError
from napari_hrsr.explaining.probing import Probe, prepare, stop_if
from napari_hrsr.intensity import Intensity
from napari_hrsr.jobs import Region
from napari_hrsr.models.load import load_model
from napari_hrsr.models.spec import Upscaler

_LARGEST = 2**20
"""Pixels of the source that feature maps are made of at most."""

RESULT = "result"
"""Name of the layer that is the network's result."""

_TRIED = 16
"""Pixels along each axis of the image that tells which layers there are."""


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """A layer of a network whose result is an image.

    Attributes
    ----------
    name : str
        Within the network.
    kind : str
        Its class.
    channels : int
        Maps that it makes.
    factor : tuple of float
        Pixels of its maps in a pixel of the source, per spatial axis.
    """

    name: str
    kind: str
    channels: int
    factor: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """The maps of one layer.

    Attributes
    ----------
    layer : NetworkLayer
        Where they were taken.
    data : ndarray
        Shape (channels, *spatial), float32, in the network's own units.
    start : tuple of float
        Where the first outer edge of the maps lies, source pixels, per spatial
        axis.
    """

    layer: NetworkLayer
    data: NDArray[np.float32]
    start: tuple[float, ...]


def list_layers(model: str | Path | Upscaler) -> list[NetworkLayer]:
    """List the layers of a network whose results are images, in the order of computing.

    Layers that are run more than once for an image are left out, as they have
    no one result.

    Parameters
    ----------
    model : str, Path or Upscaler
        A model, its name or its file.

    Returns
    -------
    list of NetworkLayer
        The last one is the result.
    """
    upscaler = model if isinstance(model, Upscaler) else load_model(model)
    spec = upscaler.spec
    shape = [
        max(-(-_TRIED // m) * m, -(-least // m) * m)
        for m, least in zip(spec.multiple, spec.minimum, strict=True)
    ]
    image = np.random.default_rng(0).random((*shape, spec.channels)).astype(np.float32)
    probe = prepare(
        upscaler, image if spec.channels > 1 else image[..., 0], None,
        axes="ZYX"[-spec.ndim :] + ("S" if spec.channels > 1 else ""),
        intensity=None, largest=_LARGEST, whole=True,
    )  # fmt: skip
    return [layer for layer, _ in _record(probe).values()]


def default_layer(layers: Sequence[NetworkLayer]) -> str:
    """Name the layer that is shown where none is named: the last one with the most maps."""
    most = max(layer.channels for layer in layers)
    return [layer.name for layer in layers if layer.channels == most][-1]


def feature_maps(
    model: str | Path | Upscaler,
    image: Any,
    layer: str | None = None,
    *,
    region: Region | None = None,
    axes: str | None = None,
    intensity: Intensity | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> FeatureMaps:
    """Compute what one layer of a network makes of an image.

    Parameters
    ----------
    model : str, Path or Upscaler
        A model, its name or its file.
    image : array-like
        The source; its range and noise are measured once, as for a run.
    layer : str, optional
        A name from `list_layers`; that of `default_layer` if left out.
    region : sequence of (int, int) or None, optional
        Part of the image, per axis; on axes that are looped over the first
        index counts. None for all; at most a million pixels.
    axes : str, optional
        One letter per axis of the image.
    intensity : Intensity, optional
        As it was measured for a run.
    cancelled : callable
        Polled between steps.

    Returns
    -------
    FeatureMaps
        They equal those of a run on the whole image, whatever the region is.

    Raises
    ------
    InputError
        If the region does not fit, or there is no such layer.
    """
    probe = prepare(
        model, image, region, axes=axes, intensity=intensity, largest=_LARGEST, whole=True,
        cancelled=cancelled,
    )  # fmt: skip
    stop_if(cancelled)
    recorded = _record(probe)
    stop_if(cancelled)
    if layer is None:
        layer = default_layer([info for info, _ in recorded.values()])
    if layer not in recorded:
        msg = f"there is no layer {layer!r} with an image in it; there are: {', '.join(recorded)}"
        raise InputError(msg)
    info, maps = recorded[layer]
    crop, start = [], []
    for (a, b), (r, _), factor in zip(probe.region, probe.read, info.factor, strict=True):
        # Coarser maps are taken whole where the region cuts their pixels.
        first = int((a - r) * factor + 1e-6)
        stop = -int(-(b - r) * factor // 1)
        crop.append(slice(first, stop))
        start.append(r + first / factor)
    data = maps[0].numpy()[(slice(None), *crop)]
    return FeatureMaps(info, np.ascontiguousarray(data, dtype=np.float32), tuple(start))


def _record(probe: Probe) -> dict[str, tuple[NetworkLayer, Tensor]]:
    """Run the network once, and keep what every layer makes."""
    calls: dict[str, list[Tensor]] = {}
    kinds: dict[str, str] = {}
    hooks = []

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                # Networks reuse the memory of values in between.
                calls.setdefault(name, []).append(output.detach().clone())

        return hook

    if isinstance(probe.model, nn.Module):
        inner = getattr(probe.model, "network", probe.model)
        for name, module in inner.named_modules():
            if name:
                kinds[name] = type(module).__name__
                hooks.append(module.register_forward_hook(keep(name)))
    try:
        with torch.no_grad():
            result = probe.run(probe.batch)
    finally:
        for hook in hooks:
            hook.remove()
    recorded = {}
    for name, outputs in calls.items():
        info = _describe(name, kinds[name], outputs[0], probe.batch)
        if len(outputs) == 1 and info is not None:
            recorded[name] = (info, outputs[0])
    info = _describe(RESULT, "result", result, probe.batch)
    if info is not None:
        recorded[RESULT] = (info, result)
    return recorded


def _describe(name: str, kind: str, output: Tensor, batch: Tensor) -> NetworkLayer | None:
    """Describe an output, or None if it is no image of the whole input."""
    if output.ndim != batch.ndim or len(output) != len(batch):
        return None
    factors = []
    for got, given in zip(output.shape[2:], batch.shape[2:], strict=True):
        factor = Fraction(got, given)
        if factor.numerator != 1 and factor.denominator != 1:
            return None
        factors.append(float(factor))
    return NetworkLayer(name, kind, int(output.shape[1]), tuple(factors))
