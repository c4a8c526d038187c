"""What every trainable network must keep, checked in one way for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from napari_hrsr import upscale
from napari_hrsr.models.header import METADATA_KEY
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.models.spec import ModelSpec, spec_to_dict

SCALES = [(2, 2), (3, 1), (4, 1, 1), (1, 2, 2), (2, 2, 2)]


def untrained(architecture: str, scale: tuple[int, ...], **arguments: Any) -> nn.Module:
    """A network as training starts with it."""
    torch.manual_seed(0)
    return build_network(architecture, {"ndim": len(scale), "scale": scale, **arguments})


def scrambled(architecture: str, scale: tuple[int, ...], **arguments: Any) -> nn.Module:
    """A network in evaluation mode whose every weight matters."""
    network = untrained(architecture, scale, **arguments).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return network


def check_untrained_is_cubic(network: nn.Module) -> None:
    scale: tuple[int, ...] = network.scale  # type: ignore[assignment]
    channels: int = network.channels  # type: ignore[assignment]
    x = torch.rand(2, channels, *(7, 5, 6)[: len(scale)])
    expected = Interpolation(len(scale), scale, "cubic")(x)
    assert torch.equal(network(x, torch.tensor(0.1)), expected)


def check_learns(network: nn.Module) -> None:
    """A few steps of training bring the result nearer to something that is not interpolation."""
    scale: tuple[int, ...] = network.scale  # type: ignore[assignment]
    channels: int = network.channels  # type: ignore[assignment]
    x = torch.rand(2, channels, *(8,) * len(scale))
    noise = torch.full((2, 1, *(1,) * len(scale)), 0.05)
    truth = Interpolation(len(scale), scale, "cubic")(x).square()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (network(x, noise) - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if losses[-1] < 0.3 * losses[0]:
            break
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    assert losses[-1] < 0.3 * losses[0]


def check_halo(network: nn.Module) -> None:
    """Output pixels depend on source pixels as far as the halo says, and no farther."""
    network = network.double()
    scale: tuple[int, ...] = network.scale  # type: ignore[assignment]
    halos: tuple[int, ...] = network.halo  # type: ignore[assignment]
    channels: int = network.channels  # type: ignore[assignment]
    for axis, (halo, k) in enumerate(zip(halos, scale, strict=True)):
        shape = [3] * len(scale)
        middle = halo + 2
        shape[axis] = 2 * middle + 1
        x = torch.rand(1, channels, *shape, dtype=torch.float64, requires_grad=True)
        result = network(x, torch.tensor(0.1)).narrow(2 + axis, middle * k, k)
        (slope,) = torch.autograd.grad((result * torch.rand_like(result)).sum(), x)
        matters = slope.movedim(2 + axis, 0).flatten(1).ne(0).any(dim=1).tolist()
        expected = [abs(i - middle) <= halo for i in range(shape[axis])]
        assert matters == expected, f"axis {axis}"


def check_noise(architecture: str, **arguments: Any) -> None:
    """The level is a scalar or a plane and matters, unless the network does not take it."""
    network = scrambled(architecture, (2, 3), **arguments)
    x = torch.rand(2, 1, 8, 8)
    level = torch.full((2, 1, 1, 1), 0.1)
    with torch.no_grad():
        told, scalar = network(x, level), network(x, torch.tensor(0.1))
        plane, row = network(x, level.expand(2, 1, 8, 8)), network(x, level.expand(2, 1, 1, 8))
        none, zero = network(x), network(x, torch.zeros(2, 1, 1, 1))
        deaf = scrambled(architecture, (2, 3), noise_input=False, **arguments)
        assert all(torch.allclose(told, other) for other in (scalar, plane, row))
        assert torch.equal(none, zero)
        assert not torch.allclose(told, none)
        assert torch.equal(deaf(x, level), deaf(x))


def check_a_batch_changes_nothing(network: nn.Module) -> None:
    """One image alone, in a batch, with gradients and in another layout: the same numbers."""
    scale: tuple[int, ...] = network.scale  # type: ignore[assignment]
    channels: int = network.channels  # type: ignore[assignment]
    layout = torch.channels_last if len(scale) == 2 else torch.channels_last_3d
    x = torch.rand(1, channels, *(8, 9, 10)[: len(scale)])
    before = x.clone()
    noise = torch.full((1, 1, *(1,) * len(scale)), 0.05)
    with_gradient = network(x, noise).detach()
    with torch.no_grad():
        alone = network(x, noise)
        batch = network(x.expand(3, *x.shape[1:]), noise)
        last = network(x.contiguous(memory_format=layout), noise)
    assert torch.equal(x, before)
    for other in (batch[:1], last, with_gradient):
        assert torch.allclose(alone, other, atol=3e-5)


def save_model(network: nn.Module, architecture: str, path: Path, **arguments: Any) -> ModelSpec:
    """Write a network as a training run does."""
    scale: tuple[int, ...] = network.scale  # type: ignore[assignment]
    spec = ModelSpec(
        name=path.stem,
        title="Test",
        task="upscale",
        architecture=architecture,
        arguments={"ndim": len(scale), "scale": scale, **arguments},
        ndim=3 if len(scale) == 3 else 2,
        scale=scale,
        halo=network.halo,  # type: ignore[arg-type]
        channels=arguments.get("channels", 1),
        noise_input=arguments.get("noise_input", True),
    )
    state = {k: v.detach().float().contiguous() for k, v in network.state_dict().items()}
    save_file(state, path, metadata={METADATA_KEY: json.dumps(spec_to_dict(spec))})
    return spec


def check_file_and_tiles(
    architecture: str, scale: tuple[int, ...], folder: Path, **arguments: Any
) -> None:
    """A saved network comes back, and its tiles are the whole image, border included."""
    network = scrambled(architecture, scale, **arguments)
    path = folder / f"{architecture}.safetensors"
    save_model(network, architecture, path, **arguments)
    model = load_model(path)
    halo = model.spec.halo
    assert halo is not None
    shape = tuple(h + n for h, n in zip(halo, (23, 19, 6), strict=False))
    tile = (9, 8, 5) if len(scale) == 3 else (9, 8)
    image = np.random.default_rng(0).uniform(0, 1000, shape).astype(np.float32)
    options: dict[str, Any] = {"device": "cpu", "noise": 20.0}
    tiled = upscale(image, path, tile=tile, **options)
    whole = upscale(image, model, tile=max(shape), **options)
    assert tiled.shape == tuple(n * k for n, k in zip(shape, scale, strict=True))
    # float32 rounds values of a thousand, which the network may enlarge, to some 1e-4.
    np.testing.assert_allclose(tiled, whole, rtol=1e-5, atol=2e-6 * float(np.abs(whole).max()))
    cubic = upscale(image, "cubic-" + "x".join(map(str, scale)), **options)
    assert float(np.abs(whole - cubic).max()) > 1
