from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import io

from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import plain_metadata


def pixels(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((7, 9), "uint8"), ((7, 9), "uint16"), ((7, 9, 3), "uint8"), ((7, 9, 4), "uint8"),
     ((7, 9, 2), "uint8")],
)  # fmt: skip
def test_round_trip(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    image = pixels(shape, dtype)
    axes = "YXS"[: image.ndim]
    write_image(tmp_path / "a.png", image, plain_metadata(axes), record={"model": "µ"})
    back = read_image(tmp_path / "a.png")
    assert back.metadata.axes == axes
    assert back.data.dtype == image.dtype
    np.testing.assert_array_equal(back.data, image)
    assert back.record == {"model": "µ"}
    if shape[-1] != 2:
        np.testing.assert_array_equal(io.imread(tmp_path / "a.png"), image)


@pytest.mark.parametrize(
    ("axes", "shape", "dtype", "match"),
    [("ZYX", (3, 4, 5), "uint8", "one plane"), ("YX", (4, 5), "int32", "uint8 or uint16"),
     ("YXS", (4, 5, 3), "uint16", "colours")],
)  # fmt: skip
def test_what_png_cannot_hold_is_refused(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: str, match: str
) -> None:
    with pytest.raises(OutputError, match=match):
        write_image(tmp_path / "a.png", np.zeros(shape, dtype), plain_metadata(axes))
    assert list(tmp_path.iterdir()) == []


def test_other_plain_formats_and_palettes(tmp_path: Path) -> None:
    colours = pixels((8, 8, 3), "uint8")
    Image.fromarray(colours).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").metadata.axes == "YXS"
    Image.fromarray(colours).quantize(16).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").data.shape == (8, 8, 3)
    Image.fromarray(colours[..., 0] > 100).save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png").data.dtype == np.uint8


def test_16_bit_colours_are_not_halved_silently(tmp_path: Path) -> None:
    # Only the signature and the header matter: 16 bits, colour type 2.
    header = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x04" * 2 + bytes([16, 2, 0, 0, 0])
    (tmp_path / "a.png").write_bytes(header)
    with pytest.raises(InputError, match="16 bits"):
        read_image(tmp_path / "a.png")


def test_animations_and_damage_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(pixels((8, 8, 3), "uint8")), Image.new("RGB", (8, 8))]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="animated"):
        read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", pixels((64, 64), "uint8"), plain_metadata("YX"))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "b.png")
