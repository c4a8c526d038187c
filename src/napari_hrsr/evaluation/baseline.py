"""What plain interpolation makes of a source: the least that a result has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import affine_transform

from napari_hrsr.evaluation.images import Image
from napari_hrsr.models.nets.interpolation import Interpolation


def cubic_baseline(source: Image, factor: Sequence[float], shape: Sequence[int]) -> Image:
    """Interpolate a source to the grid of a result whose outer edges are the same.

    Whole factors take the cubic convolution of Keys (1981), as the package's
    own cubic model; others a cubic spline.

    Parameters
    ----------
    source : ndarray
        2 or 3 spatial axes.
    factor : sequence of float
        Pixels of the result in one of the source, per axis.
    shape : sequence of int
        Of the result.

    Returns
    -------
    ndarray
        Of that shape, in the source's units.
    """
    rounded = tuple(round(f) for f in factor)
    if all(k >= 1 and abs(k - f) < 1e-9 for k, f in zip(rounded, factor, strict=True)):
        tensor = torch.from_numpy(np.ascontiguousarray(source))[None, None]
        with torch.no_grad():
            return np.asarray(Interpolation(len(rounded), rounded, "cubic")(tensor)[0, 0].numpy())
    step = 1 / np.asarray(factor, dtype=np.float64)
    # Edges coincide: the centre of the first pixel lies half a fine pixel from the edge.
    return np.asarray(
        affine_transform(
            source, step, 0.5 * step - 0.5, output_shape=tuple(shape), order=3, mode="nearest"
        )
    )
