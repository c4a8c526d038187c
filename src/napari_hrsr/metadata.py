"""What a file or a layer says about its image: axes, voxel size, origin, units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_hrsr.errors import InputError
from napari_hrsr.geometry import Floats, upscaled_affine, upscaled_scale_translate


@dataclass(frozen=True, slots=True, eq=False)
class ImageMetadata:
    """Axes and geometry of an image.

    Attributes
    ----------
    axes : str
        One letter per array axis, for example ``"TCZYX"`` or ``"YXS"``.
    scale : tuple of float
        Pixel size per axis, in `units` (1.0 on the ``C`` and ``S`` axes).
    translate : tuple of float
        World position of the first pixel's centre per axis, in `units`.
    units : tuple of str
        Unit per axis as OME-NGFF spells it (``"micrometer"``,
        ``"millimeter"``, ``"second"``), or ``"pixel"`` where none is known.
    affine : ndarray, shape (4, 4), optional
        For images with an orientation in space (NIfTI): takes homogeneous
        pixel coordinates (z, y, x, 1) to world coordinates (x, y, z, 1) in
        millimetres.
    channels : tuple of str
        Names of the channels, empty where unknown.
    """

    axes: str
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    affine: Floats | None = None
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.axes)
        if not len(self.scale) == len(self.translate) == len(self.units) == n:
            msg = f"metadata must have one scale, translation and unit per axis of {self.axes!r}"
            raise ValueError(msg)

    def with_axes(self, axes: str) -> ImageMetadata:
        """Return a copy whose axes have other names.

        Raises
        ------
        InputError
            If the number of axes differs.
        """
        if len(axes) != len(self.axes):
            msg = f"axes {axes!r} name {len(axes)} axes, but the image has {len(self.axes)}"
            raise InputError(msg)
        return replace(self, axes=axes.upper())


def plain_metadata(axes: str) -> ImageMetadata:
    """Metadata of an image that says nothing: pixels of size 1 from position 0."""
    n = len(axes)
    return ImageMetadata(axes, (1.0,) * n, (0.0,) * n, ("pixel",) * n)


def upscaled_metadata(
    metadata: ImageMetadata, factor: Sequence[float], start: Sequence[float]
) -> ImageMetadata:
    """Metadata of a result that lies exactly on its source.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the source.
    factor : sequence of float
        Pixels of the result in one of the source per axis, 1 on axes that are not upscaled.
    start : sequence of float
        Where the result's first outer edge lies per axis, in source pixels.
    """
    scale, translate = upscaled_scale_translate(
        metadata.scale, metadata.translate, factor=factor, start=start
    )
    affine = metadata.affine
    if affine is not None:
        picked = [metadata.axes.find(letter) for letter in "ZYX"]
        factors = [factor[axis] if axis >= 0 else 1 for axis in picked]
        starts = [start[axis] if axis >= 0 else 0 for axis in picked]
        affine = upscaled_affine(np.asarray(affine), factors, starts)
    return replace(
        metadata,
        scale=tuple(scale.tolist()),
        translate=tuple(translate.tolist()),
        affine=affine,
    )
