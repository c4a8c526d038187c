"""The protocol of the published tables: which files, which luminance, which figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matlab_resize import shrink
from PIL import Image
from skimage.metrics import structural_similarity

FOLDERS = {
    "Set5": ("Set5",),
    "Set14": ("Set14",),
    "B100": ("B100", "BSD100", "BSDS100"),
}
COUNTS = {"Set5": 5, "Set14": 14, "B100": 100}
PUBLISHED = {
    2: {"Set5": (33.66, 0.9299), "Set14": (30.24, 0.8688), "B100": (29.56, 0.8431)},
    3: {"Set5": (30.39, 0.8682), "Set14": (27.55, 0.7742), "B100": (27.21, 0.7385)},
    4: {"Set5": (28.42, 0.8104), "Set14": (26.00, 0.7027), "B100": (25.96, 0.6675)},
}
"""PSNR and SSIM of bicubic interpolation, as in Kim et al. (VDSR, 2016)."""
TOLERANCE = 0.03
SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg")


@dataclass(frozen=True, eq=False)
class Example:
    """A low-resolution image and its truth, uint8.

    Attributes
    ----------
    name : str
        File name of the truth.
    fine : ndarray
        Shape (Y * scale, X * scale), luminance.
    coarse : ndarray
        Shape (Y, X), luminance.
    coloured : ndarray
        Shape (Y, X) for an image that is grey, else (Y, X, 3).
    """

    name: str
    fine: np.ndarray
    coarse: np.ndarray
    coloured: np.ndarray


def luminance(image: np.ndarray) -> np.ndarray:
    """Return the luminance of ITU-R BT.601 as MATLAB's ``rgb2ycbcr`` does.

    Parameters
    ----------
    image : ndarray
        Shape (Y, X, 3), uint8; or (Y, X) for a grey image.

    Returns
    -------
    ndarray
        Shape (Y, X), uint8: 16 for black to 235 for white. A grey image is
        returned as it is, as the published tables do it.
    """
    if image.ndim == 2:
        return image
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return to_uint8(image @ weights + 16)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Round and clip to 8 bits."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def crop_to_multiple(image: np.ndarray, factor: int) -> np.ndarray:
    """Leave out the last rows and columns that do not fill a coarse pixel."""
    rows, columns = (n - n % factor for n in image.shape[:2])
    return image[:rows, :columns]


def measure(result: np.ndarray, truth: np.ndarray, border: int) -> tuple[float, float]:
    """Compare a result with the truth.

    Parameters
    ----------
    result, truth : ndarray
        Shape (Y, X), uint8.
    border : int
        Pixels left out along each edge.

    Returns
    -------
    psnr : float
        Peak signal-to-noise ratio in decibels against 255; infinite for equal images.
    ssim : float
        Structural similarity of Wang et al. (2004): Gaussian window of 11 x 11
        pixels and sigma 1.5.
    """
    inner = (slice(border, -border or None),) * 2
    a, b = result[inner].astype(np.float64), truth[inner].astype(np.float64)
    error = float(np.mean((a - b) ** 2))
    psnr = float(10 * np.log10(255**2 / error)) if error else float("inf")
    ssim = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return psnr, float(ssim)


def find_files(images: Path, scale: int) -> dict[str, list[tuple[Path, Path | None]]]:
    """Find each set's high-resolution files, and the low-resolution ones where they are given.

    Parameters
    ----------
    images : Path
        Folder with a folder for each set.
    scale : int
        Factor; it chooses the subfolder in the layout of SelfExSR.

    Returns
    -------
    dict
        Name of the set -> pairs of high-resolution file and low-resolution
        file or None; no pair for a set that is not there.
    """
    found: dict[str, list[tuple[Path, Path | None]]] = {}
    for name, folders in FOLDERS.items():
        root = next((images / f for f in folders if (images / f).is_dir()), images / name)
        pairs = root / f"image_SRF_{scale}"
        if pairs.is_dir():
            fine = sorted(pairs.glob("*_HR.png"))
            found[name] = [(p, p.with_name(p.name.replace("_HR.", "_LR."))) for p in fine]
        else:
            found[name] = [(p, None) for p in image_files(root)]
    return found


def image_files(folder: Path) -> list[Path]:
    """Return a folder's images in the order of their names; none for a folder that is not there."""
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in files if p.suffix.lower() in SUFFIXES)


def read_image(path: Path) -> np.ndarray:
    """Read a file as uint8 of shape (Y, X) if it is grey, else (Y, X, 3)."""
    with Image.open(path) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def read_example(fine: Path, coarse: Path | None, scale: int) -> Example:
    """Read an image, and make its low-resolution side where none is given.

    Parameters
    ----------
    fine : Path
        High-resolution image.
    coarse : Path or None
        Low-resolution image; None makes it by the protocol.
    scale : int
        Factor between the two.

    Returns
    -------
    Example

    Raises
    ------
    ValueError
        If a given low-resolution image has another size than it should.
    """
    coloured = crop_to_multiple(read_image(fine), scale)
    truth = luminance(coloured)
    if coarse is None:
        small = to_uint8(shrink(truth, scale))
        return Example(fine.name, truth, small, to_uint8(shrink(coloured, scale)))
    given = read_image(coarse)
    if tuple(n * scale for n in given.shape[:2]) != truth.shape:
        msg = f"{coarse.name} has {given.shape[:2]} pixels, {fine.name} {truth.shape}: not x{scale}"
        raise ValueError(msg)
    return Example(fine.name, truth, luminance(given), given)
