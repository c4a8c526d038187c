"""The networks that people choose from, what each costs, and how fast it trains here."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from napari_hrsr.errors import ModelError
from napari_hrsr.models.nets import build_network

_LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and its size, as people choose it.

    Attributes
    ----------
    key : str
        What it is called on the command line and in a file of settings.
    title : str
        One line for people.
    citation : str
        The papers.
    architecture : str
        Key of the table of networks; see `napari_hrsr.models.nets`.
    arguments : Mapping of int to Mapping
        Number of spatial axes -> the network's arguments that make its size.
    """

    key: str
    title: str
    citation: str
    architecture: str
    arguments: Mapping[int, Mapping[str, object]]


_NOISE_INPUT = "noise level input after Zhang et al., FFDNet, 2018"
_GATED = (
    f"Blocks after Wan et al., Swift Parameter-free Attention Network (SPAN), 2024; {_NOISE_INPUT}"
)

DEFAULT_CHOICE = "plain"

_CHOICES = (
    Architecture(
        key=DEFAULT_CHOICE,
        title="Plain convolutions, ESPCN (default)",
        citation=f"Shi et al., sub-pixel convolutional network (ESPCN), 2016; {_NOISE_INPUT}",
        architecture="convolutional",
        arguments={
            2: {"features": 32, "blocks": 7, "block": "plain"},
            3: {"features": 16, "blocks": 6, "block": "plain"},
        },
    ),
    Architecture(
        key="small",
        title="Small gated convolutions (SPAN)",
        citation=_GATED,
        architecture="convolutional",
        arguments={
            2: {"features": 32, "blocks": 2, "block": "gated"},
            3: {"features": 16, "blocks": 2, "block": "gated"},
        },
    ),
    Architecture(
        key="srcnn",
        title="Convolutions of the interpolated image (SRCNN)",
        citation=f"Dong et al., SRCNN, 2014; {_NOISE_INPUT}",
        architecture="srcnn",
        arguments={
            2: {"features": 64, "mapped": 32, "kernels": (9, 1, 5)},
            3: {"features": 32, "mapped": 16, "kernels": (5, 1, 5)},
        },
    ),
    Architecture(
        key="fsrcnn",
        title="Narrow, with a transposed convolution (FSRCNN)",
        citation=f"Dong et al., FSRCNN, 2016; {_NOISE_INPUT}",
        architecture="fsrcnn",
        arguments={
            2: {"features": 56, "shrunk": 12, "layers": 4, "kernel": 9},
            3: {"features": 32, "shrunk": 12, "layers": 4, "kernel": 5},
        },
    ),
    Architecture(
        key="edsr",
        title="Residual blocks (EDSR)",
        citation=f"Lim et al., EDSR, 2017; {_NOISE_INPUT}",
        architecture="residual",
        arguments={2: {"features": 32, "blocks": 8}, 3: {"features": 16, "blocks": 5}},
    ),
    Architecture(
        key="wide",
        title="Residual blocks, wide before the activation (WDSR)",
        citation=f"Yu et al., WDSR, 2018; {_NOISE_INPUT}",
        architecture="convolutional",
        arguments={
            2: {"features": 24, "blocks": 5, "block": "wide"},
            3: {"features": 12, "blocks": 3, "block": "wide"},
        },
    ),
    Architecture(
        key="attention",
        title="Residual blocks with local channel attention (RCAN)",
        citation=(
            "Zhang et al., RCAN, 2018, averaged over a window as by Chu et al., TLC, 2022; "
            f"{_NOISE_INPUT}"
        ),
        architecture="attention",
        arguments={
            2: {"features": 32, "blocks": 4, "reduction": 8, "window": 9},
            3: {"features": 16, "blocks": 3, "reduction": 4, "window": 5},
        },
    ),
    Architecture(
        key="large",
        title="Large gated convolutions (for a GPU)",
        citation=_GATED,
        architecture="convolutional",
        arguments={
            2: {"features": 64, "blocks": 6, "block": "gated"},
            3: {"features": 32, "blocks": 4, "block": "gated"},
        },
    ),
)


def choices(ndim: int) -> tuple[Architecture, ...]:
    """List what can be chosen for 2 or 3 spatial axes, the default first."""
    return tuple(choice for choice in _CHOICES if ndim in choice.arguments)


def find_choice(key: str) -> Architecture:
    """Find a choice by its key.

    Raises
    ------
    ModelError
        If there is none.
    """
    for choice in _CHOICES:
        if choice.key == key:
            return choice
    known = ", ".join(choice.key for choice in _CHOICES)
    msg = f"there is no network {key!r} to train: choose one of {known}"
    raise ModelError(msg)


def make_network(
    choice: str,
    *,
    ndim: int,
    scale: tuple[int, ...],
    channels: int = 1,
    noise_input: bool = True,
) -> tuple[nn.Module, dict[str, object]]:
    """Build an untrained network; its weights come from torch's random numbers.

    Parameters
    ----------
    choice : str
        Key of an `Architecture`.
    ndim : int
        Number of spatial axes, 2 or 3.
    scale : tuple of int
        Factor per spatial axis.
    channels : int
        Channels of image and result.
    noise_input : bool
        Whether the network is told the level of the noise.

    Returns
    -------
    network : Module
        Called as ``network(batch, noise)``.
    arguments : dict
        With which ``build_network(find_choice(choice).architecture, arguments)``
        builds it again; what a `ModelSpec` keeps.

    Raises
    ------
    ModelError
        If there is no such network, or the arguments do not fit together.
    """
    found = find_choice(choice)
    if ndim not in found.arguments:
        msg = f"network {choice!r} is for {' or '.join(map(str, found.arguments))} axes, not {ndim}"
        raise ModelError(msg)
    arguments: dict[str, object] = {
        "ndim": ndim,
        "scale": tuple(scale),
        "channels": channels,
        **found.arguments[ndim],
        "noise_input": noise_input,
    }
    return build_network(found.architecture, arguments), arguments


def count_parameters(
    choice: str,
    *,
    ndim: int,
    scale: tuple[int, ...],
    channels: int = 1,
    noise_input: bool = True,
) -> int:
    """Count the trained numbers of a network without building it in memory.

    Parameters
    ----------
    choice, ndim, scale, channels, noise_input
        As for `make_network`.

    Raises
    ------
    ModelError
        As for `make_network`.
    """
    with torch.device("meta"):
        network, _ = make_network(
            choice, ndim=ndim, scale=scale, channels=channels, noise_input=noise_input
        )
    return sum(parameter.numel() for parameter in network.parameters())


def measure_step_seconds(
    network: nn.Module,
    *,
    ndim: int,
    channels: int = 1,
    batch: int = 5,
    size: int = 32,
    device: str | torch.device = "cpu",
    steps: int = 5,
) -> float:
    """Measure how long a step of training takes: forward, backward and optimiser.

    The network itself is left as it is: a copy is trained, on noise.

    Parameters
    ----------
    network : Module
        Called as ``network(batch, noise)``.
    ndim : int
        Number of spatial axes.
    channels : int
        Channels of the image.
    batch, size : int
        Patches in a step, and their side in source pixels.
    device : str or torch.device
        Where.
    steps : int
        How many steps to measure, after two that warm up.

    Returns
    -------
    float
        Median of the seconds of a step.
    """
    place, layout = torch.device(device), _LAYOUTS[ndim]
    model = copy.deepcopy(network).to(place).train().requires_grad_(True)
    model.to(memory_format=layout)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, *(size,) * ndim, generator=generator)
    images = images.to(place).contiguous(memory_format=layout)
    level = torch.full((batch, 1, *(1,) * ndim), 0.05, device=place)
    seconds = []
    for _ in range(2 + steps):
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = model(images, level).square().mean()
        loss.backward()
        optimiser.step()
        # Reading a number waits until the device has done all that it was given.
        float(loss.detach())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])
