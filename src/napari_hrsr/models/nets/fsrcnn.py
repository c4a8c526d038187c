"""A fast network: few channels inside, and a transposed convolution at the end.

Dong et al., Accelerating the super-resolution convolutional neural network,
ECCV 2016: extract features, shrink them, map, expand, and upscale by one
transposed convolution whose stride is the factor.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_hrsr.models.nets.conditioning import with_noise_plane
from napari_hrsr.models.nets.interpolation import Interpolation, interpolation_halo
from napari_hrsr.models.nets.subpixel import Convolution, check_axes, convolve, pixel_shuffle


class TransposedConvolution(nn.Module):
    """A transposed convolution whose stride is the factor of each axis.

    Along an axis of factor k the kernel spans k times an odd number of fine
    pixels, so that a source pixel spreads evenly to both sides of its own
    fine pixels. It starts at zero.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    inputs, outputs : int
        Channels.
    scale : tuple of int
        Factor per spatial axis.
    kernel : int
        Least number of fine pixels along each axis of the kernel.
    """

    def __init__(
        self, ndim: int, inputs: int, outputs: int, scale: tuple[int, ...], kernel: int
    ) -> None:
        super().__init__()
        self.ndim, self.scale = ndim, scale
        self.radii = tuple(max(0, math.ceil((kernel - k) / (2 * k))) for k in scale)
        """Source pixels on each side that a fine pixel depends on, per axis."""
        lengths = [k * (2 * r + 1) for k, r in zip(scale, self.radii, strict=True)]
        self.weight = nn.Parameter(torch.zeros(inputs, outputs, *lengths))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, *spatial) to (N, outputs, *(spatial * scale))."""
        # A transposed convolution is a convolution to one channel for each phase
        # of the stride, then a shuffle: many times faster than torch's own on a CPU.
        inputs, outputs = self.weight.shape[:2]
        parts = [n for k, r in zip(self.scale, self.radii, strict=True) for n in (2 * r + 1, k)]
        taps = [2 + 2 * axis for axis in range(self.ndim)]
        phases = [3 + 2 * axis for axis in range(self.ndim)]
        weight = self.weight.reshape(inputs, outputs, *parts).flip(taps)
        weight = weight.permute(1, *phases, 0, *taps).flatten(0, self.ndim)
        bias = self.bias.repeat_interleave(math.prod(self.scale))
        return pixel_shuffle(convolve(x, weight, bias), self.scale)


class TransposedUpscaler(nn.Module):
    """Cubic interpolation plus what a narrow network and a transposed convolution add to it.

    The transposed convolution starts at zero: an untrained network is cubic
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
        Channels of the first convolution, and before the transposed one.
    shrunk : int
        Channels between these.
    layers : int
        Convolutions between these.
    kernel : int
        Least number of fine pixels along each axis of the last kernel; see
        `TransposedConvolution`.
    noise_input : bool
        Whether the standard deviation of the noise is given to the network;
        see `with_noise_plane`.

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
        features: int = 56,
        shrunk: int = 12,
        layers: int = 4,
        kernel: int = 9,
        noise_input: bool = True,
    ) -> None:
        super().__init__()
        check_axes(ndim)
        self.ndim, self.scale, self.channels = ndim, tuple(scale), channels
        self.noise_input = noise_input
        self.interpolation = Interpolation(ndim, self.scale, "cubic")
        chain = [
            Convolution(ndim, channels + int(noise_input), features, kernel=5),
            Convolution(ndim, features, shrunk, kernel=1),
            *(Convolution(ndim, shrunk, shrunk) for _ in range(layers)),
            Convolution(ndim, shrunk, features, kernel=1),
        ]
        self.chain = nn.ModuleList(chain)
        self.activations = nn.ModuleList(nn.PReLU(len(c.bias)) for c in chain)
        self.tail = TransposedConvolution(ndim, features, channels, self.scale, kernel)

    @property
    def halo(self) -> tuple[int, ...]:
        """Source pixels on each side that an output pixel depends on, per axis."""
        radius = sum(convolution.radius for convolution in self.chain)  # type: ignore[misc]
        skip = interpolation_halo("cubic", self.scale)
        return tuple(max(radius + r, s) for r, s in zip(self.tail.radii, skip, strict=True))

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
        x = with_noise_plane(batch, noise) if self.noise_input else batch
        for convolution, activation in zip(self.chain, self.activations, strict=True):
            x = activation(convolution(x))
        upscaled: Tensor = self.interpolation(batch) + self.tail(x)
        return upscaled
