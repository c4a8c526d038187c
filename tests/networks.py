"""Small networks of exactly known reach, for tests of the engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_hrsr.models.spec import ModelSpec


def make_spec(ndim: int, scale: tuple[int, ...], **facts: Any) -> ModelSpec:
    """Facts of a network for tests: values pass as they are unless told otherwise."""
    defaults: dict[str, Any] = {
        "name": "test",
        "title": "Test",
        "task": "upscale",
        "architecture": "none",
        "arguments": {},
        "ndim": ndim,
        "scale": scale,
        "halo": (0,) * ndim,
        "normalisation": "none",
    }
    return ModelSpec(**(defaults | facts))


class ShuffleNet(nn.Module):
    """Optional unshuffling by `stride`, two convolutions, and one channel per output pixel.

    Zero padding makes the image's border matter. Every output pixel depends
    on exactly `radius` convolution steps of `stride` source pixels.
    """

    def __init__(
        self, scale: tuple[int, ...], *, stride: int = 1, kernel: int = 3, **facts: Any
    ) -> None:
        super().__init__()
        ndim = len(scale)
        convolution = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.stride, self.ndim = stride, ndim
        blocks, finer = stride**ndim, 1
        for k in scale:
            finer *= k
        torch.manual_seed(0)
        self.first = convolution(blocks, 4, kernel, padding=kernel // 2)
        self.last = convolution(4, blocks * finer, kernel, padding=kernel // 2)
        # A stride of s reaches from any pixel of a block to the far end of the next blocks.
        reach = 2 * (kernel // 2) * stride + stride - 1
        if "halo" not in facts:
            facts["halo"] = (reach,) * ndim
        self.spec = make_spec(ndim, scale, multiple=(stride,) * ndim, **facts)

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        x = fold(batch, self.stride)
        x = self.last(torch.tanh(self.first(x) / 500))
        return unfold(x, tuple(k * self.stride for k in self.spec.scale)) * 200


def fold(x: Tensor, stride: int) -> Tensor:
    """Move blocks of pixels into channels."""
    n, channels, spatial = x.shape[0], x.shape[1], x.shape[2:]
    for_axis = [part for length in spatial for part in (length // stride, stride)]
    x = x.reshape(n, channels, *for_axis)
    ndim = len(spatial)
    order = [0, 1, *(3 + 2 * a for a in range(ndim)), *(2 + 2 * a for a in range(ndim))]
    return x.permute(order).reshape(n, -1, *(length // stride for length in spatial))


def unfold(x: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Move channels into blocks of pixels."""
    n, spatial, ndim = x.shape[0], x.shape[2:], len(factors)
    x = x.reshape(n, -1, *factors, *spatial)
    order = [0, 1]
    for axis in range(ndim):
        order += [2 + ndim + axis, 2 + axis]
    return x.permute(order).reshape(n, -1, *(s * k for s, k in zip(spatial, factors, strict=True)))


class Repeat(nn.Module):
    """Repeat every pixel: any value that comes out went in. Remembers what it was given."""

    def __init__(self, ndim: int = 2, factor: int = 2, **facts: Any) -> None:
        super().__init__()
        self.spec = make_spec(ndim, (factor,) * ndim, **facts)
        self.seen: list[Tensor] = []
        self.noises: list[Tensor | None] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Repeat:
        return self

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        self.seen.append(batch.clone())
        self.noises.append(noise)
        for axis, k in enumerate(self.spec.scale):
            batch = batch.repeat_interleave(k, 2 + axis)
        return batch
