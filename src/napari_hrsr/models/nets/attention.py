"""A network with channel attention after RCAN, made local so that tiles are exact.

Zhang et al., Image super-resolution using very deep residual channel attention
networks, ECCV 2018. There every channel is weighed by its mean over the whole
image. Here the mean is taken over a window around each pixel (Chu et al.,
Improving image restoration by revisiting global information aggregation, ECCV
2022), so that what a pixel depends on is bounded.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_hrsr.models.nets.subpixel import Convolution, SubPixelUpscaler, relu


class ChannelAttention(nn.Module):
    """Weigh each channel by what the channels are on average nearby.

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels.
    reduction : int
        How many times fewer channels the weights are computed from.
    window : int or None
        Pixels along each axis over which is averaged, odd; ``None`` for the
        whole image. At the border the window holds fewer pixels.

    Raises
    ------
    ValueError
        If the window has no middle, or the reduction is below 1.
    """

    def __init__(self, ndim: int, features: int, reduction: int, window: int | None) -> None:
        super().__init__()
        if reduction < 1:
            msg = f"reduction must be 1 or more, got {reduction!r}"
            raise ValueError(msg)
        if window is not None and (window < 1 or window % 2 == 0):
            msg = f"window must be odd and at least 1, or None, got {window!r}"
            raise ValueError(msg)
        self.window = window
        inside = max(1, features // reduction)
        self.squeeze = Convolution(ndim, features, inside, kernel=1)
        self.excite = Convolution(ndim, inside, features, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape; `x` may be overwritten."""
        # Averaging and a convolution of one pixel may change places: fewer channels to average.
        few = relu(_average(self.squeeze(x), self.window))
        weight = torch.sigmoid(self.excite(few))
        return x * weight if torch.is_grad_enabled() else x.mul_(weight)


class AttentionBlock(nn.Module):
    """A residual block whose branch is weighed by `ChannelAttention`.

    Parameters
    ----------
    ndim, features : int
        Spatial axes and channels.
    reduction, window : int
        See `ChannelAttention`.
    """

    def __init__(self, ndim: int, features: int, reduction: int, window: int | None) -> None:
        super().__init__()
        self.first = Convolution(ndim, features, features)
        self.second = Convolution(ndim, features, features, gain=0.3)
        self.attention = ChannelAttention(ndim, features, reduction, window)
        self.radius = None if window is None else 2 + window // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, features, *spatial) to the same shape."""
        y: Tensor = x + self.attention(self.second(relu(self.first(x))))
        return y


class AttentionUpscaler(SubPixelUpscaler):
    """Cubic interpolation plus what residual blocks with channel attention add to it.

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
        Number of blocks; one convolution follows them.
    reduction : int
        How many times fewer channels the attention is computed from.
    window : int or None
        Source pixels along each axis over which the attention looks, odd.
        ``None`` for the whole image, as in the paper: the halo is then
        ``None`` as well, and an image cannot be cut into tiles.
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
        blocks: int = 4,
        reduction: int = 8,
        window: int | None = 9,
        noise_input: bool = True,
    ) -> None:
        def make_body() -> list[nn.Module]:
            body: list[nn.Module] = [
                AttentionBlock(ndim, features, reduction, window) for _ in range(blocks)
            ]
            return [*body, Convolution(ndim, features, features)]

        super().__init__(ndim, scale, channels, features, noise_input, make_body)


def _average(x: Tensor, window: int | None) -> Tensor:
    """Average over a window around each pixel, as far as it lies in the image."""
    if window is None:
        return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
    shape = x.shape
    for axis in range(2, x.ndim):
        # One axis at a time; running sums would make the rounding depend on the tile.
        before, after = math.prod(shape[:axis]), math.prod(shape[axis:][1:])
        folded = x.reshape(before, 1, shape[axis], after)
        x = F.avg_pool2d(
            folded,
            (window, 1),
            stride=1,
            padding=(window // 2, 0),
            count_include_pad=False,
        ).reshape(shape)
    return x
