"""The default network: a short chain of convolutions on top of cubic interpolation.

One definition serves 2D and 3D. It has no normalisation layer and nothing
else that looks at the extent of its input, so that tiles are exact.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_hrsr.models.nets.interpolation import Interpolation, interpolation_halo

BlockKind = Literal["gated", "wide"]


class Convolution(nn.Module):
    """A 3-wide, zero-padded, stride-one convolution over 2 or 3 axes.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs, outputs : int
        Channels.
    gain : float
        Standard deviation of the initial weights over that of He et al. (2015).
    """

    def __init__(self, ndim: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.ndim = ndim
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(3,) * ndim))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=gain * math.sqrt(2.0 / (inputs * 3**ndim)))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, inputs, *spatial) to (N, outputs, *spatial)."""
        if self.ndim == 2:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        if (
            x.device.type == "cpu"
            and x.dtype is torch.float32
            and not torch.is_grad_enabled()
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        ):
            # torch sends small batches of one to a native kernel that is many times slower.
            ones = (1,) * self.ndim
            convolve = torch.mkldnn_convolution
            y: Tensor = convolve(x, self.weight, self.bias, ones, ones, ones, 1)
            return y
        return F.conv3d(x, self.weight, self.bias, padding=1)


class GatedBlock(nn.Module):
    """Three convolutions gated by their own result, without attention parameters.

    The block of SPAN (Wan et al., NTIRE 2024): the odd function
    ``sigmoid(y) - 0.5`` of the result scales the sum of input and result.

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels.
    """

    radius = 3

    def __init__(self, ndim: int, features: int) -> None:
        super().__init__()
        self.first = Convolution(ndim, features, features)
        self.second = Convolution(ndim, features, features)
        self.third = Convolution(ndim, features, features, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape."""
        # Without gradients nothing needs the values in between: their memory is reused.
        reuse = not torch.is_grad_enabled()
        y: Tensor = self.first(x)
        y = self.second(F.silu(y, inplace=reuse))
        y = self.third(F.silu(y, inplace=reuse))
        if reuse:
            gate = torch.sigmoid(y).sub_(0.5)
            return y.add_(x).mul_(gate)
        return (x + y) * (torch.sigmoid(y) - 0.5)


class WideBlock(nn.Module):
    """A residual block that is wide before its activation (WDSR-A, Yu et al. 2018).

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels; four times as many inside.
    """

    radius = 2

    def __init__(self, ndim: int, features: int) -> None:
        super().__init__()
        self.expand = Convolution(ndim, features, 4 * features)
        self.reduce = Convolution(ndim, 4 * features, features, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape."""
        y: Tensor = x + self.reduce(F.relu(self.expand(x)))
        return y


_BLOCKS: dict[str, type[GatedBlock | WideBlock]] = {"gated": GatedBlock, "wide": WideBlock}


class ConvolutionalUpscaler(nn.Module):
    """Cubic interpolation plus what a small convolutional network adds to it.

    Head convolution, blocks, sum with the head, convolution to one channel
    for each output pixel of a source pixel (sub-pixel convolution, Shi et
    al. 2016). The last convolution starts at zero: an untrained network is
    cubic interpolation.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    scale : tuple of int
        Factor per spatial axis, 1 or more.
    channels : int
        Channels of image and result.
    features : int
        Channels inside.
    blocks : int
        Number of blocks.
    block : str
        ``"gated"`` (`GatedBlock`) or ``"wide"`` (`WideBlock`).
    noise_input : bool
        Whether the standard deviation of the noise is given to the network as
        a constant plane beside the image (Zhang et al. 2018, FFDNet).

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(
        self,
        ndim: int,
        scale: tuple[int, ...],
        channels: int = 1,
        features: int = 32,
        blocks: int = 2,
        block: BlockKind = "gated",
        noise_input: bool = True,
    ) -> None:
        super().__init__()
        if ndim not in (2, 3):
            msg = f"ndim must be 2 or 3, got {ndim!r}"
            raise ValueError(msg)
        if block not in get_args(BlockKind):
            msg = f"block must be one of {get_args(BlockKind)}, got {block!r}"
            raise ValueError(msg)
        self.ndim, self.scale, self.channels = ndim, tuple(scale), channels
        self.noise_input = noise_input
        self.interpolation = Interpolation(ndim, self.scale, "cubic")
        self.head = Convolution(ndim, channels + int(noise_input), features)
        self.body = nn.ModuleList(_BLOCKS[block](ndim, features) for _ in range(blocks))
        self.tail = Convolution(ndim, features, channels * math.prod(self.scale), gain=0.0)

    @property
    def halo(self) -> tuple[int, ...]:
        """Source pixels on each side that an output pixel depends on, per axis."""
        radius = 2 + sum(block.radius for block in self.body)  # type: ignore[misc]
        skip = interpolation_halo("cubic", self.scale)
        return tuple(max(radius, s) for s in skip)

    def forward(self, batch: Tensor, noise: Tensor | None = None) -> Tensor:
        """Upscale.

        Parameters
        ----------
        batch : Tensor
            Shape (N, channels, *spatial), black and white near 0 and 1.
        noise : Tensor, optional
            Standard deviation of the noise in the units of `batch`, of a shape
            that broadcasts to (N, 1, *spatial); ``None`` means no noise.

        Returns
        -------
        Tensor
            Shape (N, channels, *(spatial * scale)), in the same units.
        """
        x = batch
        if self.noise_input:
            plane = batch.new_zeros(()) if noise is None else noise.to(batch)
            plane = plane.expand(batch.shape[0], 1, *batch.shape[2:])
            x = torch.cat([batch, plane], dim=1)
        head = self.head(x)
        y = head
        for block in self.body:
            y = block(y)
        detail = pixel_shuffle(self.tail(y + head), self.scale)
        upscaled: Tensor = self.interpolation(batch) + detail
        return upscaled


def pixel_shuffle(x: Tensor, scale: tuple[int, ...]) -> Tensor:
    """Move channels into space, with a factor for each axis.

    Parameters
    ----------
    x : Tensor
        Shape (N, C * prod(scale), *spatial).
    scale : tuple of int
        Factor per spatial axis; the last axis varies fastest in the channels.

    Returns
    -------
    Tensor
        Shape (N, C, *(spatial * scale)).
    """
    if len(scale) == 2 and scale[0] == scale[1]:
        return F.pixel_shuffle(x, scale[0])
    n, spatial, ndim = x.shape[0], x.shape[2:], len(scale)
    x = x.reshape(n, -1, *scale, *spatial)
    order = [0, 1]
    for axis in range(ndim):
        order += [2 + ndim + axis, 2 + axis]
    x = x.permute(order)
    return x.reshape(n, -1, *(s * k for s, k in zip(spatial, scale, strict=True)))
