"""Series of DICOM slices: in their order and place, and nothing of the patient goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

from napari_hrsr.cli import app
from napari_hrsr.errors import InputError
from napari_hrsr.files import read_image

SERIES, OTHER = generate_uid(), generate_uid()
TILTED = [1.0, 0.0, 0.0, 0.0, 0.8, -0.6]


def write_slice(path: Path, pixels: np.ndarray, z: float, **changes: Any) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    facts = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    facts.PatientName, facts.PatientID = "Doe^Jane", "SECRET-4711"
    facts.SOPClassUID, facts.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    facts.SeriesInstanceUID, facts.SeriesNumber = SERIES, 3
    facts.Rows, facts.Columns = pixels.shape
    facts.SamplesPerPixel, facts.PhotometricInterpretation = 1, "MONOCHROME2"
    facts.BitsAllocated, facts.BitsStored, facts.HighBit = 16, 12, 11
    facts.PixelRepresentation = 0
    facts.PixelSpacing, facts.SliceThickness = [0.5, 0.7], 3.0
    facts.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    facts.ImagePositionPatient = [-10.0, -20.0, z]
    facts.RescaleSlope, facts.RescaleIntercept = 1, -1024
    for name, value in changes.items():
        setattr(facts, name, value)
    facts.PixelData = pixels.astype(np.uint16).tobytes()
    facts.save_as(path, enforce_file_format=True)


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Four slices whose names are not in their order."""
    folder = tmp_path / "Doe_Jane"
    folder.mkdir()
    volume = np.random.default_rng(0).integers(0, 4096, (4, 12, 10))
    for name, z in (("c", 0), ("a", 1), ("d", 2), ("b", 3)):
        write_slice(folder / name, volume[z], 100 + 2.5 * z)
    (folder / "notes.txt").write_text("no image")
    return folder, volume


def test_slices_are_in_the_order_of_their_places(series: tuple[Path, np.ndarray]) -> None:
    folder, volume = series
    image = read_image(folder)
    assert (image.metadata.axes, image.data.dtype) == ("ZYX", np.int16)
    assert_allclose(image.metadata.scale, (2.5, 0.5, 0.7))
    assert_array_equal(np.asarray(image.data), volume - 1024)
    assert_array_equal(image.data[1:3, 4, 2:5], volume[1:3, 4, 2:5] - 1024)
    assert image.metadata.affine is not None
    # Voxel (z, y, x) of the corner, to the right, front and head.
    corner = image.metadata.affine @ [3, 11, 9, 1]
    assert_allclose(corner, [-(-10 + 9 * 0.7), -(-20 + 11 * 0.5), 107.5, 1], atol=1e-5)


def test_a_tilted_series_lies_where_its_slices_do(tmp_path: Path) -> None:
    for z in range(3):
        write_slice(
            tmp_path / f"{z}.dcm", np.full((5, 6), z), 0.0,
            ImageOrientationPatient=TILTED,
            ImagePositionPatient=[0.0, 1.2 * z, 1.6 * z],
        )  # fmt: skip
    image = read_image(tmp_path)
    assert_allclose(image.metadata.scale, (2.0, 0.5, 0.7))
    assert image.metadata.affine is not None
    assert_allclose(image.metadata.affine @ [2, 1, 0, 1], [0, -2.4 - 0.4, 3.2 - 0.3, 1], atol=1e-6)


def test_an_upscaled_series_is_in_place_and_says_nothing_of_the_patient(
    series: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    folder, _ = series
    for suffix in (".nii", ".ome.tif"):
        out = tmp_path / f"fine{suffix}"
        done = CliRunner().invoke(
            app, ["upscale", str(folder), str(out), "--model", "cubic-2x2x2", "--quiet"]
        )
        assert done.exit_code == 0, done.output
        content = out.read_bytes()
        for secret in (b"Doe", b"Jane", b"SECRET", SERIES.encode()):
            assert secret not in content
    affine = nib.load(tmp_path / "fine.nii").affine
    source = read_image(folder).metadata.affine
    assert source is not None
    # The outer corner of the first voxel stays where it was: half a voxel before its centre.
    expected = source @ [-0.5, -0.5, -0.5, 1]
    assert_allclose(affine @ [-0.5, -0.5, -0.5, 1], expected, atol=1e-4)


def test_one_slice_is_an_image(tmp_path: Path) -> None:
    pixels = np.arange(30).reshape(5, 6)
    write_slice(tmp_path / "one.dcm", pixels, 7.0, RescaleSlope=0.5)
    image = read_image(tmp_path / "one.dcm")
    assert (image.metadata.axes, image.data.dtype) == ("YX", np.float32)
    assert_allclose(np.asarray(image.data), pixels * 0.5 - 1024)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImagePositionPatient": [-10.0, -20.0, 109.0]}, "not evenly spaced"),
        ({"ImagePositionPatient": [-10.0, -20.0, 100.0]}, "lie at one place"),
        (
            {"SeriesInstanceUID": OTHER, "SeriesNumber": 4},
            r"2 DICOM series \(numbers 3, 4",
        ),
        ({"PixelSpacing": [0.5, 0.9]}, "differ in size, spacing or direction"),
        ({"NumberOfFrames": 3}, "several frames"),
        ({"PixelSpacing": None}, "states no PixelSpacing"),
    ],
)
def test_what_is_no_volume_is_refused(
    changes: dict[str, Any], words: str, series: tuple[Path, np.ndarray]
) -> None:
    folder, volume = series
    write_slice(folder / "e", volume[0], 110.0, **changes)
    with pytest.raises(InputError, match=words) as info:
        read_image(folder)
    assert "Doe" not in str(info.value)


def test_a_damaged_slice_is_named_without_its_name(series: tuple[Path, np.ndarray]) -> None:
    folder, _ = series
    content = (folder / "a").read_bytes()
    (folder / "a").write_bytes(content[: len(content) - 50])
    image = read_image(folder)
    with pytest.raises(InputError, match=r"cannot be unpacked|another size") as info:
        np.asarray(image.data)
    assert "Doe" not in str(info.value)
    assert pydicom.dcmread(folder / "b").PatientID == "SECRET-4711"


def test_a_folder_that_cannot_be_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not stop the superuser, whom tests may run as.
    def locked(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", locked)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_image(tmp_path)
