"""The frame that most of the networks share: they work on source pixels, and end in finer ones.

Head convolution, body, convolution to one channel for each output pixel of a
source pixel (sub-pixel convolution, Shi et al., Real-time single image and
video super-resolution, CVPR 2016), added to the cubic interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_hrsr.models.nets.conditioning import with_noise_plane
from napari_hrsr.models.nets.interpolation import Interpolation, interpolation_halo


class Convolution(nn.Module):
    """A zero-padded, stride-one convolution over 2 or 3 axes that keeps the shape.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs, outputs : int
        Channels.
    gain : float
        Standard deviation of the initial weights over that of He et al. (2015).
    kernel : int
        Pixels along each axis of the kernel, odd.

    Raises
    ------
    ValueError
        If the kernel has no middle.
    """

    def __init__(
        self, ndim: int, inputs: int, outputs: int, gain: float = 1.0, kernel: int = 3
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            msg = f"kernel must be odd and at least 1, got {kernel!r}"
            raise ValueError(msg)
        self.ndim, self.radius = ndim, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *(kernel,) * ndim))
        self.bias = nn.Parameter(torch.zeros(outputs))
        # On the meta device, where only shapes are looked at, torch would load a
        # library for symbols first, which takes seconds.
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=gain * math.sqrt(2.0 / (inputs * kernel**ndim)))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, inputs, *spatial) to (N, outputs, *spatial)."""
        return convolve(x, self.weight, self.bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with zeros around the image, so that it keeps its shape.

    Parameters
    ----------
    x : Tensor
        Shape (N, inputs, *spatial), 2 or 3 spatial axes.
    weight : Tensor
        Shape (outputs, inputs, *kernel), odd along every spatial axis.
    bias : Tensor
        Shape (outputs,).

    Returns
    -------
    Tensor
        Shape (N, outputs, *spatial).
    """
    padding = [length // 2 for length in weight.shape[2:]]
    if len(padding) == 2:
        return F.conv2d(x, weight, bias, padding=padding)
    if (
        any(padding)
        and x.device.type == "cpu"
        and x.dtype is torch.float32
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    ):
        # torch sends small batches of one to a native kernel that is many times slower.
        ones = (1, 1, 1)
        y: Tensor = torch.mkldnn_convolution(x, weight, bias, padding, ones, ones, 1)
        return y
    return F.conv3d(x, weight, bias, padding=padding)


def relu(x: Tensor) -> Tensor:
    """Replace what is below zero by zero.

    Without gradients nothing needs `x` itself: its memory is reused.
    """
    return F.relu(x, inplace=not torch.is_grad_enabled())


class SubPixelUpscaler(nn.Module):
    """Cubic interpolation plus what a network on the source's pixels adds to it.

    The last convolution starts at zero: an untrained network is cubic
    interpolation.

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
    noise_input : bool
        Whether the standard deviation of the noise is given to the network as
        a constant plane beside the image; see `with_noise_plane`.
    make_body : callable
        Makes the modules of the body. Each maps (N, features, *spatial) to
        the same shape and has a `radius`: source pixels per side that its
        result depends on, or ``None`` for all. Their result is added to the
        head's.

    Raises
    ------
    ValueError
        If the arguments do not fit together.
    """

    def __init__(
        self,
        ndim: int,
        scale: tuple[int, ...],
        channels: int,
        features: int,
        noise_input: bool,
        make_body: Callable[[], Iterable[nn.Module]],
    ) -> None:
        super().__init__()
        check_axes(ndim)
        self.ndim, self.scale, self.channels = ndim, tuple(scale), channels
        self.noise_input = noise_input
        self.interpolation = Interpolation(ndim, self.scale, "cubic")
        self.head = Convolution(ndim, channels + int(noise_input), features)
        self.body = nn.ModuleList(make_body())
        self.tail = Convolution(ndim, features, channels * math.prod(self.scale), gain=0.0)

    @property
    def halo(self) -> tuple[int, ...] | None:
        """Source pixels on each side that an output pixel depends on, per axis; None for all."""
        radii = [part.radius for part in (self.head, *self.body, self.tail)]
        if None in radii:
            return None
        skip = interpolation_halo("cubic", self.scale)
        return tuple(max(sum(radii), s) for s in skip)

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
        head = self.head(with_noise_plane(batch, noise) if self.noise_input else batch)
        y = head
        for block in self.body:
            y = block(y)
        detail = pixel_shuffle(self.tail(y + head), self.scale)
        upscaled: Tensor = self.interpolation(batch) + detail
        return upscaled


def check_axes(ndim: int) -> None:
    """Refuse numbers of spatial axes that there is no convolution for.

    Raises
    ------
    ValueError
        If it is not 2 or 3.
    """
    if ndim not in (2, 3):
        msg = f"ndim must be 2 or 3, got {ndim!r}"
        raise ValueError(msg)


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
