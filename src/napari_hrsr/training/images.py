"""The folder of fine images that the shipped models are trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import tifffile
from skimage.io import imread

from napari_hrsr.training.patches import black_and_white

ISOTROPIC_PLANES = 90
"""A volume of at least this many planes is sampled finely enough to be cut along any axis."""

VOLUME_PLANES = 40
"""A stack of fewer planes than this is used as planes only."""


@dataclass(frozen=True, slots=True)
class Image:
    """A fine image.

    Attributes
    ----------
    source : str
        Who published it: the part of the file name before the first ``_``.
    name : str
        File name, with the channel or plane.
    pixels : ndarray
        Shape ([Z,] Y, X), float32, black and white percentiles at 0 and 1.
    """

    source: str
    name: str
    pixels: np.ndarray


def load_images(folder: Path, ndim: int, leave_out: Iterable[str] = ()) -> list[Image]:
    """Load the images of a folder as planes or as volumes.

    Parameters
    ----------
    folder : Path
        Holds ``2d`` and ``3d``, files named ``source_name.ext``.
    ndim : int
        2: every plane image, and some planes of each volume (along all three
        axes of the deep ones); 3: every volume that is deep enough.
    leave_out : iterable of str
        Sources not to load.

    Returns
    -------
    list of Image
        In the order of their names.
    """
    left_out, images = set(leave_out), []
    for path in sorted(p for kind in ("2d", "3d") for p in (folder / kind).iterdir()):
        source = path.name.split("_")[0]
        is_plane = path.parent.name == "2d"
        if source in left_out or (is_plane and ndim == 3):
            continue
        for channel, pixels in enumerate(_read(path, is_plane)):
            black, white = black_and_white(pixels)
            pixels = ((pixels - black) / (white - black)).astype(np.float32)
            name = f"{path.name}#{channel}"
            if is_plane or ndim == 3:
                if is_plane or len(pixels) >= VOLUME_PLANES:
                    images.append(Image(source, name, pixels))
            else:
                images += [Image(source, f"{name}{w}", p) for w, p in _planes(pixels)]
    return images


def binned(image: Image) -> Image:
    """Return the image averaged over blocks of two: less noise, sharper in its pixels."""
    pixels = image.pixels
    pixels = pixels[tuple(slice(0, n - n % 2) for n in pixels.shape)]
    blocks = pixels.reshape([n for length in pixels.shape for n in (length // 2, 2)])
    averaged = blocks.mean(axis=tuple(range(1, blocks.ndim, 2)), dtype=np.float32)
    return Image(image.source, f"{image.name} binned", averaged)


def _read(path: Path, is_plane: bool) -> list[np.ndarray]:
    if path.name.endswith(".nii.gz"):
        volume = nibabel.load(path).get_fdata(dtype=np.float32)  # type: ignore[attr-defined]
        return [np.asarray(volume).T]
    if path.suffix == ".png":
        pixels = np.asarray(imread(path), dtype=np.float32)
        if pixels.ndim == 3:
            pixels = pixels[..., :3] @ np.array([0.2125, 0.7154, 0.0721], np.float32)
        return [pixels]
    pixels = np.asarray(tifffile.imread(path), dtype=np.float32).squeeze()
    wanted = 2 if is_plane else 3
    if pixels.ndim == wanted:
        return [pixels]
    channel_axis = int(np.argmin(pixels.shape))
    return list(np.moveaxis(pixels, channel_axis, 0))


def _planes(volume: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return 4 planes along z, and along y and x too where the volume is deep."""
    planes = []
    for axis in range(3 if len(volume) >= ISOTROPIC_PLANES else 1):
        length = volume.shape[axis]
        for index in np.linspace(0.25 * length, 0.75 * length, 4).astype(int):
            plane = volume.take(index, axis=axis)
            planes.append((f" {'zyx'[axis]}={index}", plane))
    return planes
