"""Plain 2D images: PNG in and out, JPEG, BMP and WebP in."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_hrsr.errors import HrsrError, InputError, OutputError
from napari_hrsr.files.image_file import RECORD_KEY, ImageFile, checked_path, damaged
from napari_hrsr.files.partial import Cancelled, Progress, check_cancelled, partial_file
from napari_hrsr.metadata import ImageMetadata, plain_metadata
from napari_hrsr.pixels import read_block

PLAIN_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

_GREY_MODES = ("L", "I;16", "I;16B", "I;16L", "I", "F")
_PNG_DEPTH_AND_COLOUR = slice(24, 26)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_plain(path: str | Path) -> ImageFile:
    """Read a plain 2D image whole: grey as YX, colours as YXS.

    Its dots per inch say how it is printed, so pixels have no size.

    Parameters
    ----------
    path : str or Path
        Of the file.

    Raises
    ------
    InputError
        If it is damaged, animated, or would lose precision when it is read.
    """
    path = checked_path(path)
    try:
        with warnings.catch_warnings():
            # Large images are what this is for.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(path)
    except HrsrError:
        raise
    except Exception as error:
        raise damaged(path.name, error) from error


def _read(path: Path) -> ImageFile:
    with path.open("rb") as file:
        head = file.read(32)
    depth_and_colour = tuple(head[_PNG_DEPTH_AND_COLOUR])
    if head.startswith(_PNG_SIGNATURE) and depth_and_colour in ((16, 2), (16, 4), (16, 6)):
        msg = f"{path.name} has colours of 16 bits, of which 8 would be lost: save it as TIFF"
        raise InputError(msg)
    converted: Image.Image
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            msg = f"{path.name} is animated: save its frames as a TIFF stack"
            raise InputError(msg)
        if image.mode == "1":
            converted = image.convert("L")
        elif image.mode not in (*_GREY_MODES, "RGB", "RGBA", "LA"):
            has_alpha = "transparency" in image.info or image.mode in ("PA", "RGBa", "La")
            converted = image.convert("RGBA" if has_alpha else "RGB")
        else:
            converted = image
        pixels = np.array(converted)
        text = image.info.get(RECORD_KEY)
    if head.startswith(_PNG_SIGNATURE) and depth_and_colour[0] == 16:
        pixels = pixels.astype(np.uint16)
    record = json.loads(text) if isinstance(text, str) else None
    axes = "YX" if pixels.ndim == 2 else "YXS"
    return ImageFile(pixels, plain_metadata(axes), record, path.name)


def write_png(
    path: Path,
    data: Any,
    metadata: ImageMetadata,
    record: dict[str, Any] | None,
    *,
    progress: Progress,
    cancelled: Cancelled | None,
) -> None:
    """Write a PNG: one plane, grey of 8 or 16 bits, or colours of 8 bits.

    Parameters
    ----------
    path : Path
        Its final name.
    data, metadata, record, progress, cancelled
        As for `tiff_writing.write_tiff`; the pixel size has no place in a PNG.

    Raises
    ------
    OutputError
        If PNG cannot hold such an image, or the file cannot be written.
    CancelledError
        If `cancelled` returned True.
    """
    dtype = np.dtype(data.dtype).newbyteorder("=")
    check_png(metadata, dtype)
    colour = "S" in metadata.axes
    order = [metadata.axes.index(letter) for letter in "YXS" if letter in metadata.axes]
    check_cancelled(cancelled)
    pixels = read_block(data, (slice(None),) * len(order)).transpose(order)
    if colour and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    facts = PngInfo()
    if record is not None:
        facts.add_text(RECORD_KEY, json.dumps(record))
    with partial_file(path, pixels.nbytes) as file:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", pnginfo=facts)
        check_cancelled(cancelled)
    progress(1, 1)


def check_png(metadata: ImageMetadata, dtype: np.dtype[Any]) -> None:
    """Refuse an image that PNG cannot hold.

    Raises
    ------
    OutputError
        With what can hold it.
    """
    colour = "S" in metadata.axes
    if sorted(metadata.axes) not in (["X", "Y"], ["S", "X", "Y"]):
        msg = f"PNG holds one plane, not axes {metadata.axes!r}: write .ome.tif or .ome.zarr"
        raise OutputError(msg)
    if dtype.name not in (("uint8",) if colour else ("uint8", "uint16")):
        msg = (
            f"PNG cannot hold {dtype}{' colours' if colour else ''}: write .ome.tif, "
            f"or choose data type uint8{'' if colour else ' or uint16'}"
        )
        raise OutputError(msg)
