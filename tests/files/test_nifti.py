from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.files import read_image, write_image
from napari_hrsr.metadata import ImageMetadata, plain_metadata, upscaled_metadata

TILTED = np.array(
    [[-0.8, 0.3, 0.0, 90.0], [0.24, 1.0, 0.0, -120.0], [0.0, 0.0, 2.5, -60.0], [0, 0, 0, 1]]
)


def volume(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 120, (6, 8, 9)).astype(dtype)


def save(path: Path, image: np.ndarray, affine: np.ndarray, **more: object) -> None:
    nib.save(nib.Nifti1Image(image.T, affine, **more), path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_orientation_in_the_file_is_kept(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", volume(), TILTED)
    source = read_image(tmp_path / f"a{suffix}")
    assert source.metadata.axes == "ZYX"
    assert source.metadata.units == ("millimeter",) * 3
    np.testing.assert_allclose(source.metadata.scale[0], 2.5)
    np.testing.assert_array_equal(np.asarray(source.data), volume())
    np.testing.assert_array_equal(source.data[2, :, 1:3], volume()[2, :, 1:3])
    write_image(tmp_path / f"b{suffix}", source.data, source.metadata, record={"model": "m"})
    image = nib.load(tmp_path / f"b{suffix}")
    np.testing.assert_allclose(image.affine, TILTED, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume().T)
    assert image.get_data_dtype() == np.int16
    assert image.header.get_xyzt_units()[0] == "mm"
    assert read_image(tmp_path / f"b{suffix}").record == {"model": "m"}


def test_upscaled_corners_coincide_in_the_world(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", volume(), TILTED)
    metadata = read_image(tmp_path / "a.nii").metadata
    factor = (4, 2, 2)
    size = np.array(volume().shape) * factor
    write_image(
        tmp_path / "b.nii", np.zeros(size, np.int16), upscaled_metadata(metadata, factor, (0,) * 3)
    )
    result = nib.load(tmp_path / "b.nii").affine
    n = np.array(volume().shape[::-1])
    for corner in np.ndindex(2, 2, 2):
        before = TILTED @ [*(n * corner - 0.5), 1]
        after = result @ [*(n * factor[::-1] * corner - 0.5), 1]
        np.testing.assert_allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64"])
def test_dtype_is_kept(tmp_path: Path, dtype: str) -> None:
    write_image(tmp_path / "a.nii.gz", volume(dtype), plain_metadata("ZYX"))
    back = read_image(tmp_path / "a.nii.gz").data
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(np.asarray(back), volume(dtype))


def test_pixel_size_becomes_the_matrix(tmp_path: Path) -> None:
    metadata = ImageMetadata(
        "ZYX", (500.0, 250.0, 200.0), (1000.0, 0.0, -3000.0), ("nanometer",) * 3
    )
    write_image(tmp_path / "a.nii", volume(), metadata)
    back = read_image(tmp_path / "a.nii").metadata
    assert back.units == ("millimeter",) * 3
    np.testing.assert_allclose(back.scale, (5e-4, 2.5e-4, 2e-4), rtol=1e-6)
    np.testing.assert_allclose(back.translate, (1e-3, 0.0, -3e-3), rtol=1e-6)


def test_axes_are_put_in_niftis_order(tmp_path: Path) -> None:
    image = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)
    metadata = ImageMetadata(
        "TCZYX", (2.5, 1.0, 3.0, 2.0, 2.0), (0.0,) * 5, ("second", "pixel", *["millimeter"] * 3)
    )
    write_image(tmp_path / "a.nii", image, metadata)
    back = read_image(tmp_path / "a.nii")
    assert back.metadata.axes == "CTZYX"
    assert back.metadata.scale == (1.0, 2.5, 3.0, 2.0, 2.0)
    assert back.metadata.units[1] == "second"
    np.testing.assert_array_equal(np.asarray(back.data), image.transpose(1, 0, 2, 3, 4))


def test_missing_axes_have_length_one(tmp_path: Path) -> None:
    image = np.arange(3 * 5 * 6, dtype=np.uint8).reshape(3, 5, 6)
    write_image(tmp_path / "a.nii", image, plain_metadata("CYX"))
    assert nib.load(tmp_path / "a.nii").shape == (6, 5, 1, 1, 3)
    back = read_image(tmp_path / "a.nii")
    assert back.metadata.axes == "CZYX"
    np.testing.assert_array_equal(np.asarray(back.data)[:, 0], image)


def test_scaled_values_are_those_of_nibabel(tmp_path: Path) -> None:
    image = nib.Nifti1Image(volume().T, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii")
    expected = nib.load(tmp_path / "a.nii").get_fdata()
    back = read_image(tmp_path / "a.nii").data
    assert back.dtype.kind == "f"
    np.testing.assert_allclose(np.asarray(back), expected.T)


def test_headers_are_not_copied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(volume().T, np.eye(4))
    image.header["descrip"] = b"DOE^JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"MRN1234567"))
    nib.save(image, tmp_path / "a.nii")
    source = read_image(tmp_path / "a.nii")
    assert source.record is None
    for name in ("b.nii", "b.tif"):
        write_image(tmp_path / name, source.data, source.metadata, record={"model": "m"})
        content = (tmp_path / name).read_bytes()
        assert b"DOE" not in content
        assert b"MRN" not in content


def test_long_axes_need_nifti_2(tmp_path: Path) -> None:
    write_image(tmp_path / "a.nii", np.zeros((2, 40_000), np.uint8), plain_metadata("YX"))
    image = nib.load(tmp_path / "a.nii")
    assert isinstance(image, nib.Nifti2Image)
    assert image.shape == (40_000, 2)
    assert read_image(tmp_path / "a.nii").data.shape == (2, 40_000)


@pytest.mark.parametrize(
    ("axes", "dtype", "match"),
    [("YXS", "uint8", "colour"), ("QYX", "uint8", "axis 'Q'"), ("ZYX", "float16", "float32")],
)
def test_what_nifti_cannot_hold_is_refused(
    tmp_path: Path, axes: str, dtype: str, match: str
) -> None:
    with pytest.raises(OutputError, match=match):
        write_image(tmp_path / "a.nii", np.zeros((3, 4, 3), dtype), plain_metadata(axes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    save(tmp_path / f"whole{suffix}", volume(), TILTED)
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"a\.nii"):
        read_image(tmp_path / f"a{suffix}")


def test_too_large_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 100

    save(tmp_path / "a.nii.gz", volume(), TILTED)
    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory)
    with pytest.raises(InputError, match="gunzip"):
        read_image(tmp_path / "a.nii.gz")
