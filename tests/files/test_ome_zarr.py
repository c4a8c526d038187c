from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image

from napari_hrsr.errors import InputError, OutputError
from napari_hrsr.files import OmeZarrResult, read_image, temporary_result, write_image
from napari_hrsr.metadata import ImageMetadata, plain_metadata

LENGTHS = {"T": 2, "C": 3, "Z": 5, "Y": 33, "X": 20, "S": 3, "Q": 4, "R": 2}
SCALE = {"T": 2.0, "Z": 0.25, "Y": 0.25, "X": 0.2}
ORIGIN = {"Z": 3.0, "Y": -1.0, "X": 7.5}
UNITS = {"T": "second", "Z": "micrometer", "Y": "micrometer", "X": "micrometer"}


def metadata_of(axes: str) -> ImageMetadata:
    return ImageMetadata(
        axes,
        tuple(SCALE.get(a, 1.0) for a in axes),
        tuple(ORIGIN.get(a, 0.0) for a in axes),
        tuple(UNITS.get(a, "pixel") for a in axes),
    )


def random_image(axes: str, dtype: str = "uint16") -> np.ndarray:
    shape = tuple(LENGTHS[a] for a in axes)
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def result(path: Path, shape: tuple[int, ...], axes: str, **more: object) -> OmeZarrResult:
    return OmeZarrResult(
        path, shape=shape, dtype=np.uint16, chunks=(16,) * len(shape),
        metadata=metadata_of(axes), **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    "axes", ["YX", "ZYX", "CYX", "TCZYX", "TZCYX", "YXS", "SYX", "CYXS", "QZYX", "QRYX"]
)
def test_round_trip_and_validity(tmp_path: Path, axes: str) -> None:
    image, metadata = random_image(axes), metadata_of(axes)
    path = tmp_path / "a.ome.zarr"
    write_image(path, image, metadata, record={"model": "cubic-2x2"})
    Image.from_zarr(zarr.open_group(path, mode="r"))
    back = read_image(path)
    assert back.metadata.axes == axes
    np.testing.assert_array_equal(np.asarray(back.data), image)
    assert back.metadata.scale == pytest.approx(metadata.scale)
    assert back.metadata.translate == pytest.approx(metadata.translate)
    assert back.metadata.units == metadata.units
    assert back.record == {"model": "cubic-2x2"}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float16", "float32", "float64"])
def test_dtype_is_kept(tmp_path: Path, dtype: str) -> None:
    write_image(tmp_path / "a.zarr", random_image("YX", dtype), plain_metadata("YX"))
    assert read_image(tmp_path / "a.zarr").data.dtype == np.dtype(dtype)


def test_axes_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="one part at a time"):
        write_image(tmp_path / "a.zarr", np.zeros((1,) * 6, np.uint8), plain_metadata("QTCZYX"))
    assert list(tmp_path.iterdir()) == []


def test_pyramid_is_the_mean_and_lies_in_place(tmp_path: Path) -> None:
    shape = (7, 600, 530)
    image = np.random.default_rng(1).integers(0, 60_000, shape).astype(np.uint16)
    with OmeZarrResult(
        tmp_path / "a.ome.zarr", shape=shape, dtype=image.dtype, chunks=(4, 100, 130),
        metadata=metadata_of("ZYX"),
    ) as target:  # fmt: skip
        target.array[:] = image
        finished = target.finish({})
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    Image.from_zarr(group)
    assert finished.shape == shape
    assert sorted(group.array_keys()) == ["0", "1"]
    level = np.asarray(group["1"])
    assert level.shape == (4, 300, 265)
    mean = image[:6].astype(float).reshape(3, 2, 300, 2, 265, 2).mean((1, 3, 5))
    assert np.abs(level[:3] - mean).max() <= 0.5
    edge = image[6].astype(float).reshape(300, 2, 265, 2).mean((1, 3))
    assert np.abs(level[3] - edge).max() <= 0.5
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert datasets[1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [0.5, 0.5, 0.4]},
        {"type": "translation", "translation": [3.125, -0.875, 7.6]},
    ]


def test_long_voxels_are_not_binned_along_z(tmp_path: Path) -> None:
    metadata = ImageMetadata("ZYX", (4.0, 1.0, 1.0), (0.0,) * 3, ("micrometer",) * 3)
    image = np.zeros((6, 2100, 600), np.float32)
    image[:] = np.arange(6)[:, None, None]
    write_image(tmp_path / "a.zarr", image, metadata)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    shapes = [group[str(level)].shape for level in range(4)]
    assert shapes == [(6, 2100, 600), (6, 1050, 300), (6, 525, 150), (3, 263, 75)]
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    moved = [d["coordinateTransformations"][1]["translation"] for d in datasets]
    assert moved == [[0, 0, 0], [0, 0.5, 0.5], [0, 1.5, 1.5], [2.0, 3.5, 3.5]]
    np.testing.assert_array_equal(np.asarray(group["3"])[:, 0, 0], [0.5, 2.5, 4.5])


def test_nothing_has_the_final_name_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    with result(path, (32, 32), "YX") as target:
        target.array[:16] = 7
        assert not path.exists()
        assert "ome" not in zarr.open_group(tmp_path / "a.ome.zarr.partial", mode="r").attrs
    assert list(tmp_path.iterdir()) == []


def test_a_failure_removes_the_result(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write a\.ome\.zarr: No space left"),
        result(tmp_path / "a.ome.zarr", (32, 32), "YX"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_kept_result_says_that_it_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    with result(path, (32, 32), "YX") as target:
        target.array[:16] = 7
        kept = target.keep({"model": "cubic-2x2"})
    assert np.asarray(kept)[0, 0] == 7
    path_record = zarr.open_group(path, mode="r").attrs["napari_hrsr"]["record"]
    assert path_record == {"model": "cubic-2x2", "complete": False}
    np.testing.assert_array_equal(np.asarray(read_image(path).data)[16:], 0)


def test_a_result_that_was_not_written_everywhere_is_not_finished(tmp_path: Path) -> None:
    with result(tmp_path / "a.ome.zarr", (32, 32), "YX") as target:
        target.array[:16] = 7
        with pytest.raises(OutputError, match="2 of its 4 chunks were never written"):
            target.finish({})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_image(path, np.ones((8, 8), np.uint8), plain_metadata("YX"))
    with pytest.raises(OutputError, match="exists"):
        result(path, (32, 32), "YX")
    with result(path, (32, 32), "YX", overwrite=True) as target:
        target.array[:] = 5
        assert np.asarray(read_image(path).data).max() == 1
        target.finish({})
    assert read_image(path).data.shape == (32, 32)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_folder_that_is_no_zarr_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.ome.zarr").mkdir()
    with pytest.raises(OutputError, match="is not a Zarr"):
        result(tmp_path / "a.ome.zarr", (32, 32), "YX", overwrite=True)


def test_a_second_writer_is_refused_and_a_dead_one_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ome.zarr"
    with result(path, (32, 32), "YX"):
        with pytest.raises(OutputError, match="another run"):
            result(path, (32, 32), "YX")
        monkeypatch.setattr("psutil.pid_exists", lambda pid: False)
        with result(path, (32, 32), "YX") as second:
            second.array[:] = 0
            second.finish({})
    assert read_image(path).data.shape == (32, 32)


def test_missing_and_torn_chunks_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    with result(path, (32, 32), "YX") as target:
        target.array[:] = np.arange(32 * 32).reshape(32, 32)
        target.finish({})
    chunk = path / "0" / "c" / "1" / "0"
    content = bytearray(chunk.read_bytes())
    content[-6] ^= 0xFF
    chunk.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        np.asarray(read_image(path).data)
    chunk.unlink()
    with pytest.raises(InputError, match="1 of its 4 chunks are missing"):
        read_image(path)


def test_ome_zarr_04_with_nested_transformations(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    array = group.create_array("0", shape=(3, 8, 9), chunks=(1, 8, 9), dtype="u2")
    array[:] = 3
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [
                {"name": "z", "type": "space", "unit": "nanometer"},
                {"name": "y", "type": "space", "unit": "micrometer"},
                {"name": "x", "type": "space"},
            ],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [5.0, 0.5, 0.5]},
                        {"type": "translation", "translation": [1.0, 2.0, 3.0]},
                    ],
                }
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [2.0, 1.0, 1.0]}],
        }
    ]
    back = read_image(tmp_path / "a.zarr")
    assert back.metadata.axes == "ZYX"
    assert back.metadata.scale == (10.0, 0.5, 0.5)
    assert back.metadata.translate == (2.0, 2.0, 3.0)
    assert back.metadata.units == ("nanometer", "micrometer", "pixel")
    assert back.record is None


def test_bare_array(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=random_image("ZYX"))
    back = read_image(tmp_path / "a.zarr")
    assert back.metadata.axes == "ZYX"
    np.testing.assert_array_equal(back.data[2, 3:7], random_image("ZYX")[2, 3:7])


def test_what_is_no_single_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is no Zarr"):
        read_image(tmp_path / "folder")
    group = zarr.create_group(tmp_path / "plate.zarr")
    group.attrs["ome"] = {"plate": {}}
    with pytest.raises(InputError, match="plate of many images"):
        read_image(tmp_path / "plate.zarr")
    zarr.create_group(tmp_path / "empty.zarr")
    with pytest.raises(InputError, match="without an image"):
        read_image(tmp_path / "empty.zarr")
    write_image(tmp_path / "torn.zarr", random_image("YX"), plain_metadata("YX"))
    shutil.rmtree(tmp_path / "torn.zarr" / "0")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "torn.zarr")


def test_scratch_is_private_and_removed(tmp_path: Path) -> None:
    with temporary_result(tmp_path, (4, 8), np.uint8, (2, 8)) as scratch:
        scratch[:] = 3
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
