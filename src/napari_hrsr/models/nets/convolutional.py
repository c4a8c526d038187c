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

from napari_hrsr.models.nets.subpixel import Convolution, SubPixelUpscaler, relu

BlockKind = Literal["gated", "wide", "plain"]


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
        y: Tensor = x + self.reduce(relu(self.expand(x)))
        return y


class PlainBlock(nn.Module):
    """A convolution and a rectifier with a learned slope for each channel.

    The block of ESPCN (Shi et al. 2016) with the rectifier of He et al., Delving
    deep into rectifiers, ICCV 2015.

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels.
    """

    radius = 1

    def __init__(self, ndim: int, features: int) -> None:
        super().__init__()
        # The slope below zero, a quarter at first, lets some of the variance through.
        gain = 1 / math.sqrt(1 + 0.25**2)
        self.convolution = Convolution(ndim, features, features, gain=gain)
        self.activation = nn.PReLU(features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape."""
        y: Tensor = self.activation(self.convolution(x))
        return y


_BLOCKS: dict[str, type[GatedBlock | WideBlock | PlainBlock]] = {
    "gated": GatedBlock,
    "wide": WideBlock,
    "plain": PlainBlock,
}


class ConvolutionalUpscaler(SubPixelUpscaler):
    """Cubic interpolation plus what a small convolutional network adds to it.

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
        ``"gated"`` (`GatedBlock`), ``"wide"`` (`WideBlock`) or ``"plain"``
        (`PlainBlock`).
    noise_input : bool
        Whether the standard deviation of the noise is given to the network;
        see `SubPixelUpscaler`.

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
        if block not in get_args(BlockKind):
            msg = f"block must be one of {get_args(BlockKind)}, got {block!r}"
            raise ValueError(msg)
        make = _BLOCKS[block]
        super().__init__(
            ndim,
            scale,
            channels,
            features,
            noise_input,
            lambda: (make(ndim, features) for _ in range(blocks)),
        )
