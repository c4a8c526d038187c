"""The first network for super-resolution: interpolate, then convolve the fine pixels.

Dong et al., Image super-resolution using deep convolutional networks, IEEE
Trans. Pattern Analysis and Machine Intelligence 38 (2016) 295 (first at ECCV
2014). As in VDSR (Kim et al., CVPR 2016) the network adds to the interpolated
image instead of replacing it.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from napari_hrsr.models.nets.conditioning import with_noise_plane
from napari_hrsr.models.nets.interpolation import Interpolation, phase_weights
from napari_hrsr.models.nets.subpixel import Convolution, check_axes, relu


class InterpolatedUpscaler(nn.Module):
    """Cubic interpolation plus three convolutions of its fine pixels.

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
    features, mapped : int
        Channels after the first and after the second convolution.
    kernels : tuple of int
        Fine pixels along each axis of the three kernels, odd.
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
        features: int = 64,
        mapped: int = 32,
        kernels: tuple[int, ...] = (9, 1, 5),
        noise_input: bool = True,
    ) -> None:
        super().__init__()
        check_axes(ndim)
        if len(kernels) != 3:
            msg = f"kernels must be three numbers, got {kernels!r}"
            raise ValueError(msg)
        self.ndim, self.scale, self.channels = ndim, tuple(scale), channels
        self.noise_input = noise_input
        self.interpolation = Interpolation(ndim, self.scale, "cubic")
        first, second, third = kernels
        inputs = channels + int(noise_input)
        self.extraction = Convolution(ndim, inputs, features, kernel=first)
        self.mapping = Convolution(ndim, features, mapped, kernel=second)
        self.tail = Convolution(ndim, mapped, channels, gain=0.0, kernel=third)

    @property
    def halo(self) -> tuple[int, ...]:
        """Source pixels on each side that an output pixel depends on, per axis."""
        radius = self.extraction.radius + self.mapping.radius + self.tail.radius
        return tuple(_source_reach(factor, radius) for factor in self.scale)

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
        fine: Tensor = self.interpolation(batch)
        x = with_noise_plane(fine, self._repeated(noise)) if self.noise_input else fine
        x = relu(self.extraction(x))
        x = relu(self.mapping(x))
        upscaled: Tensor = fine + self.tail(x)
        return upscaled

    def _repeated(self, noise: Tensor | None) -> Tensor | None:
        """Give each fine pixel the level of its source pixel, where levels differ in space."""
        if noise is not None:
            for axis in range(1, min(noise.ndim, self.ndim) + 1):
                if noise.shape[-axis] > 1:
                    noise = noise.repeat_interleave(self.scale[-axis], dim=-axis)
        return noise


def _source_reach(factor: int, radius: int) -> int:
    """Return how far, in source pixels, the fine pixels within a radius of a source pixel read."""
    taps, weights = phase_weights("cubic", factor)
    reach = 0
    for fine in range(-radius, factor + radius):
        source, phase = divmod(fine, factor)
        read = source - taps + np.flatnonzero(np.abs(weights[phase]) > 1e-9)
        reach = max(reach, int(np.abs(read).max()))
    return reach
