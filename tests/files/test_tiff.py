from __future__ import annotations

import gc
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_hrsr.errors import CancelledError, InputError, OutputError
from napari_hrsr.files import read_image, write_image
from napari_hrsr.files.tiff_writing import CLASSIC_LIMIT, needs_bigtiff
from napari_hrsr.metadata import ImageMetadata, plain_metadata, upscaled_metadata

LENGTHS = {"T": 2, "C": 3, "Z": 5, "Y": 33, "X": 20, "S": 3, "Q": 4, "R": 2}
SCALE = {"T": 2.0, "Z": 0.5, "Y": 0.25, "X": 0.2}
ORIGIN = {"Z": 3.0, "Y": -1.0, "X": 7.5}
UNITS = {"T": "second", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}


def metadata_of(axes: str) -> ImageMetadata:
    return ImageMetadata(
        axes,
        tuple(SCALE.get(a, 1.0) for a in axes),
        tuple(ORIGIN.get(a, 0.0) for a in axes),
        tuple(UNITS.get(a, "pixel") for a in axes),
    )


def random_image(axes: str, dtype: str = "uint8") -> np.ndarray:
    shape = tuple(LENGTHS[a] for a in axes)
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize(
    "axes", ["YX", "YXS", "ZYX", "CYX", "TCZYX", "TZCYX", "CYXS", "QZYX", "QRYX"]
)
def test_round_trip_of_axes_geometry_and_record(tmp_path: Path, axes: str) -> None:
    image, metadata = random_image(axes), metadata_of(axes)
    path = tmp_path / "a.ome.tif"
    write_image(path, image, metadata, record={"model": "cubic-2x2", "text": "µ<&{}>"})
    back = read_image(path)
    assert back.metadata.axes == axes
    np.testing.assert_array_equal(np.asarray(back.data), image)
    assert back.metadata.scale == pytest.approx(metadata.scale)
    assert back.metadata.translate == pytest.approx(metadata.translate)
    assert back.metadata.units == metadata.units
    assert back.record == {"model": "cubic-2x2", "text": "µ<&{}>"}
    assert back.name == "a.ome.tif"


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint16", "uint32", "float32", "float64"]
)
def test_dtype_is_kept(tmp_path: Path, dtype: str) -> None:
    image = random_image("ZYX", dtype)
    write_image(tmp_path / "a.tif", image, plain_metadata("ZYX"))
    back = read_image(tmp_path / "a.tif").data
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(np.asarray(back), image)


@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_dtypes_without_a_place_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(OutputError, match=r"choose another data type.*ome\.zarr"):
        write_image(tmp_path / "a.tif", random_image("YX", dtype), plain_metadata("YX"))
    assert list(tmp_path.iterdir()) == []


def test_too_many_axes_are_refused(tmp_path: Path) -> None:
    image = np.zeros((2, 2, 2, 2, 2, 2), np.uint8)
    with pytest.raises(OutputError, match="one part at a time"):
        write_image(tmp_path / "a.tif", image, plain_metadata("QTCZYX"))


def test_samples_are_stored_last(tmp_path: Path) -> None:
    image = random_image("SYX")
    write_image(tmp_path / "a.tif", image, metadata_of("SYX"))
    back = read_image(tmp_path / "a.tif")
    assert back.metadata.axes == "YXS"
    np.testing.assert_array_equal(np.asarray(back.data), image.transpose(1, 2, 0))
    assert back.metadata.translate == pytest.approx((-1.0, 7.5, 0.0))


@pytest.mark.parametrize("samples", [2, 4])
def test_opacity_is_kept(tmp_path: Path, samples: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 8, samples)).astype(np.uint8)
    write_image(tmp_path / "a.tif", image, plain_metadata("YXS"))
    back = read_image(tmp_path / "a.tif")
    assert back.metadata.axes == "YXS"
    np.testing.assert_array_equal(np.asarray(back.data), image)


def test_upscaled_edges_coincide_in_the_file(tmp_path: Path) -> None:
    source = metadata_of("ZYX")
    shape, factor, start = np.array([10, 40, 30]), (1, 2, 4), (0, 5, 3)
    write_image(tmp_path / "a.tif", np.zeros(shape, np.uint8), source)
    result = upscaled_metadata(source, factor, start)
    size = (shape - start) * factor
    write_image(tmp_path / "b.tif", np.zeros(size, np.uint8), result)
    a, b = read_image(tmp_path / "a.tif").metadata, read_image(tmp_path / "b.tif").metadata
    a_scale, b_scale = np.array(a.scale), np.array(b.scale)
    first = np.array(a.translate) + (np.array(start) - 0.5) * a_scale
    last = np.array(a.translate) + (shape - 0.5) * a_scale
    np.testing.assert_allclose(np.array(b.translate) - 0.5 * b_scale, first, atol=1e-9)
    np.testing.assert_allclose(np.array(b.translate) + (size - 0.5) * b_scale, last, atol=1e-9)


def test_viewers_without_ome_see_the_pixel_size(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", random_image("YX"), metadata_of("YX"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        assert tags["ResolutionUnit"].value == 3
        top, bottom = tags["XResolution"].value
        assert 10_000 / (top / bottom) == pytest.approx(0.2)


def test_files_are_the_same_bytes_and_name_no_computer(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_image(tmp_path / name, random_image("ZYX"), metadata_of("ZYX"), record={"model": "m"})
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a.tif").read_bytes()


def test_lazy_sources_are_streamed(tmp_path: Path) -> None:
    image = random_image("TCZYX", "uint16")
    lazy = da.from_array(image, chunks=(1, 1, 2, 33, 20))
    seen: list[tuple[int, int]] = []
    write_image(
        tmp_path / "a.tif", lazy, metadata_of("TCZYX"), progress=lambda *at: seen.append(at)
    )
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.tif").data), image)
    assert seen[-1] == (30, 30)


def test_big_endian_imagej_stack(tmp_path: Path) -> None:
    image = random_image("ZYX", ">u2")
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        imagej=True,
        byteorder=">",
        resolution=(5, 4),
        metadata={"axes": "ZYX", "spacing": 0.7, "unit": "um"},
    )
    back = read_image(tmp_path / "a.tif")
    assert back.metadata.axes == "ZYX"
    assert back.metadata.scale == pytest.approx((0.7, 0.25, 0.2))
    assert back.metadata.units == ("micrometer",) * 3
    assert back.record is None
    np.testing.assert_array_equal(back.data[1:3, 4:9, 7], image[1:3, 4:9, 7])


@pytest.mark.parametrize(
    ("unit", "dots", "pixel"),
    [("CENTIMETER", 20_000.0, 0.5), ("INCH", 25_400.0, 1.0), ("INCH", 300.0, None)],
)
def test_baseline_resolution(tmp_path: Path, unit: str, dots: float, pixel: float | None) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", random_image("YX"), resolution=(dots, dots), resolutionunit=unit
    )
    metadata = read_image(tmp_path / "a.tif").metadata
    expected = "pixel" if pixel is None else "micrometer"
    assert metadata.units == (expected, expected)
    assert metadata.scale == pytest.approx((pixel or 1.0,) * 2)


def test_ome_units_are_converted(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        random_image("CYX"),
        metadata={
            "axes": "CYX",
            "PhysicalSizeX": 250.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.5,
            "Channel": {"Name": ["DNA", "actin", "tubulin"]},
            "Plane": {"PositionX": [2.0] * 3, "PositionXUnit": ["µm"] * 3},
        },
    )
    metadata = read_image(tmp_path / "a.ome.tif").metadata
    assert metadata.units == ("pixel", "micrometer", "nanometer")
    assert metadata.scale == (1.0, 0.5, 250.0)
    assert metadata.translate == pytest.approx((0.0, 0.0, 2000.0))
    assert metadata.channels == ("DNA", "actin", "tubulin")


def test_compressed_tiles_are_read_where_asked(tmp_path: Path) -> None:
    image = random_image("ZYX", "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", image, compression="zlib", tile=(16, 16), metadata={"axes": "ZYX"}
    )
    back = read_image(tmp_path / "a.tif").data
    assert back.chunks == (1, 16, 16)
    np.testing.assert_array_equal(back[2, 5:30, ::2], image[2, 5:30, ::2])
    np.testing.assert_array_equal(back[..., 3], image[..., 3])


def test_files_are_closed_when_no_longer_used(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", random_image("ZYX"), compression="zlib")
    data = read_image(tmp_path / "a.tif").data
    del data
    gc.collect()  # an unclosed file would be a warning, and so a failure


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.98])
def test_truncated_files_are_refused(tmp_path: Path, compression: str | None, share: float) -> None:
    tifffile.imwrite(
        tmp_path / "whole.tif", random_image("ZYX"), imagej=True, compression=compression
    )
    whole = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"a\.tif"):
        np.asarray(read_image(tmp_path / "a.tif").data)


def test_damaged_pixels_are_an_error_when_they_are_read(tmp_path: Path) -> None:
    image = random_image("YX", "uint16")
    tifffile.imwrite(tmp_path / "a.tif", image, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[offset + 20 : offset + 200] = bytes(180)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        np.asarray(read_image(tmp_path / "a.tif").data)


def test_further_images_are_mentioned(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for value in (1, 2):
            tiff.write(np.full((8, 8), value, np.uint8), contiguous=False)
    with pytest.warns(UserWarning, match="holds 2 images; only the first is read"):
        assert np.asarray(read_image(tmp_path / "a.tif").data).max() == 1


@pytest.mark.parametrize(
    ("nbytes", "planes", "big"),
    [(1_000_000, 1, False), (CLASSIC_LIMIT - 512, 1, False), (CLASSIC_LIMIT, 1, True),
     (3_800_000_000, 1_000_000, True), (20_000_000_000, 10, True)],
)  # fmt: skip
def test_when_a_tiff_needs_64_bit_offsets(nbytes: int, planes: int, big: bool) -> None:
    assert needs_bigtiff(nbytes, planes) is big


def test_a_bigtiff_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_hrsr.files.tiff_writing.CLASSIC_LIMIT", 100)
    write_image(tmp_path / "a.tif", random_image("ZYX"), plain_metadata("ZYX"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data[3], random_image("ZYX")[3])


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr", "a.nii", "a.nii.gz"])
def test_a_failing_writer_leaves_nothing(tmp_path: Path, name: str) -> None:
    if not name.endswith(".zarr"):
        (tmp_path / name).write_text("earlier result")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=f"cannot write {name}: No space left"):
        write_image(
            tmp_path / name, random_image("ZYX"), plain_metadata("ZYX"), progress=fail_at_three
        )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_source_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "source.tif", random_image("ZYX", "uint16"), compression="zlib")
    with tifffile.TiffFile(tmp_path / "source.tif") as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    content = bytearray((tmp_path / "source.tif").read_bytes())
    content[offset + 20 : offset + 200] = bytes(180)
    (tmp_path / "source.tif").write_bytes(content)
    for name in ("a.tif", "a.ome.zarr", "a.nii.gz"):
        with pytest.raises(InputError, match=r"source\.tif"):
            write_image(
                tmp_path / name, read_image(tmp_path / "source.tif").data, plain_metadata("ZYX")
            )
    assert [p.name for p in tmp_path.iterdir()] == ["source.tif"]


def fail_at_three(done: int, total: int) -> None:
    if done == min(3, total):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr", "a.nii", "a.png"])
def test_a_cancelled_writer_leaves_nothing(tmp_path: Path, name: str) -> None:
    axes = "YX" if name.endswith("png") else "ZYX"
    calls = iter([False, False, True, True, True, True])
    stop = (lambda: True) if axes == "YX" or "zarr" in name else (lambda: next(calls))
    with pytest.raises(CancelledError):
        write_image(tmp_path / name, random_image(axes), plain_metadata(axes), cancelled=stop)
    assert list(tmp_path.iterdir()) == []


def test_names_and_folders_that_cannot_be_written(tmp_path: Path) -> None:
    image, metadata = random_image("YX"), plain_metadata("YX")
    with pytest.raises(OutputError, match="no suffix that can be written"):
        write_image(tmp_path / "a.xyz", image, metadata)
    with pytest.raises(OutputError, match="does not exist"):
        write_image(tmp_path / "nowhere" / "a.tif", image, metadata)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path / "folder.tif", image, metadata)


def test_a_full_disk_is_refused_with_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 2_000_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    huge = da.zeros((4, 40_000, 40_000), dtype=np.uint16, chunks=(1, 4000, 4000))
    for name in ("a.tif", "a.ome.zarr", "a.nii"):
        with pytest.raises(OutputError, match=r"needs up to 1[27]\.\d GB, but only 2\.0 GB"):
            write_image(tmp_path / name, huge, plain_metadata("ZYX"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "match"),
    [("none.tif", "there is no file"), ("text.txt", "of no kind"), ("text.tif", "cannot be read")],
)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str, match: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("not an image")
    with pytest.raises(InputError, match=match):
        read_image(tmp_path / name)
