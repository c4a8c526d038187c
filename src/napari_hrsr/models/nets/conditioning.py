"""What a network is told beside the image: how noisy it is."""

from __future__ import annotations

import torch
from torch import Tensor


def with_noise_plane(image: Tensor, noise: Tensor | None) -> Tensor:
    """Put the level of the noise beside an image, as one more channel.

    Zhang et al., FFDNet: toward a fast and flexible solution for CNN-based
    image denoising, IEEE Trans. Image Processing 27 (2018) 4608.

    Parameters
    ----------
    image : Tensor
        Shape (N, C, *spatial).
    noise : Tensor, optional
        Standard deviation of the noise in the units of `image`, of a shape
        that broadcasts to (N, 1, *spatial); ``None`` means no noise.

    Returns
    -------
    Tensor
        Shape (N, C + 1, *spatial).
    """
    plane = image.new_zeros(()) if noise is None else noise.to(image)
    plane = plane.expand(image.shape[0], 1, *image.shape[2:])
    return torch.cat([image, plane], dim=1)
