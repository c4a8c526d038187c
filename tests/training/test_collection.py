"""Images are opened lazily, and what cannot be used is left out with the reason."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import dask.array as da
import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage import data

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.files import write_image
from napari_hrsr.metadata import plain_metadata
from napari_hrsr.training.collection import (
    ArrayItem,
    Preprocessing,
    TrainingImage,
    open_collection,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def everything(image):
    return image.read(tuple(slice(0, n) for n in image.shape))


def reasons(collection):
    return {entry.name: entry.reason for entry in collection.left_out}


def save_tiff(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **options)
    return path


def test_one_image_of_every_format_gives_the_same_pixels(tmp_path):
    pixels = data.camera()[:64, :80]
    save_tiff(tmp_path / "a.tif", pixels)
    save_tiff(tmp_path / "b.tif", pixels, compression="deflate", tile=(32, 32))
    Image.fromarray(pixels).save(tmp_path / "c.png")
    nibabel.save(nibabel.Nifti1Image(pixels.T, np.eye(4)), tmp_path / "d.nii.gz")
    write_image(tmp_path / "e.ome.zarr", pixels, plain_metadata("YX"))
    images = open_collection([tmp_path], ndim=2).images
    assert [i.name for i in images] == ["a.tif", "b.tif", "c.png", "d.nii.gz", "e.ome.zarr"]
    black, white = np.percentile(pixels, (0.1, 99.9))
    expected = (pixels[10:40, 5:70] - black) / (white - black)
    for image in images:
        read = image.read((slice(10, 40), slice(5, 70)))
        assert read.dtype == np.float32
        assert np.allclose(read, expected, atol=1e-5), image.name


def test_a_messy_folder_trains_on_what_is_good(tmp_path):
    good = data.camera()[:80, :80]
    save_tiff(tmp_path / "good.tif", good)
    save_tiff(tmp_path / "deep.tif", (good * 200.0).astype(np.uint16)[:60])
    save_tiff(tmp_path / "float.tif", good / np.float32(255))
    save_tiff(tmp_path / "tiny.tif", good[:3, :3])
    save_tiff(tmp_path / "holes.tif", np.where(good > 100, np.nan, good).astype(np.float32))
    save_tiff(tmp_path / "endless.tif", np.where(good > 100, np.inf, good).astype(np.float32))
    save_tiff(tmp_path / "flat.tif", np.full((80, 80), 7, np.uint8))
    save_tiff(tmp_path / "phase.tif", good * np.complex64(1j), photometric="minisblack")
    save_tiff(tmp_path / "mask.tif", good > 100, photometric="minisblack")
    whole = save_tiff(tmp_path / "cut.tif", good).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:2000])
    (tmp_path / "corrupt.png").write_bytes(b"no image at all")
    (tmp_path / "proprietary.czi").write_bytes(b"\x00" * 100)
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "table.csv").write_text("1,2")
    save_tiff(tmp_path / ".hidden" / "thumbnail.tif", good)
    found = open_collection([tmp_path, tmp_path / "missing.tif"], ndim=2)
    assert {i.name for i in found.images} == {"good.tif", "deep.tif", "float.tif"}
    said = reasons(found)
    for name, word in {
        "tiny.tif": "3 x 3 pixels, and at least 48 x 48",
        "holes.tif": "NaN",
        "endless.tif": "infinite",
        "flat.tif": "flat",
        "phase.tif": "complex",
        "mask.tif": "mask",
        "cut.tif": "ends before",
        "corrupt.png": "damaged",
        "proprietary.czi": "cannot be read",
        str(tmp_path / "missing.tif"): "no such file",
    }.items():
        assert word in said.pop(name)
    assert not said


def test_nothing_left_says_why(tmp_path):
    for i in range(7):
        save_tiff(tmp_path / f"{i}.tif", np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match=r"(?s)0\.tif: it is too small.*and 2 more"):
        open_collection([tmp_path], ndim=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        open_collection([tmp_path / "empty"], ndim=2)
    with pytest.raises(InputError, match="no image was given"):
        open_collection([], ndim=2)


def test_channels_and_time_points_are_images_of_their_own(tmp_path):
    stack = (noise(20, 2, 50, 60) * 1000).astype(np.uint16)
    stack[:, 1] += 5000
    save_tiff(tmp_path / "movie.ome.tif", stack, metadata={"axes": "TCYX"})
    images = open_collection([tmp_path], ndim=2).images
    assert len(images) == 16
    assert images[0].name == "movie.ome.tif t=0 c=0"
    assert images[-1].name == "movie.ome.tif t=19 c=1"
    assert [i.black > 4000 for i in images] == [False] * 8 + [True] * 8
    assert np.allclose(
        everything(images[-1]) * (images[-1].white - images[-1].black) + images[-1].black,
        stack[19, 1],
        atol=0.01,
    )


def test_colours_are_luminance_or_colours():
    colours = np.ascontiguousarray(data.astronaut()[:64, :70])
    items = [ArrayItem("astronaut", colours, "YXS"), ArrayItem("grey", colours[..., 0], "YX")]
    grey = open_collection(items, ndim=2).images[0]
    assert grey.shape == (64, 70)
    values = everything(grey) * (grey.white - grey.black) + grey.black
    assert np.allclose(values, colours @ np.array([0.2125, 0.7154, 0.0721]), atol=0.01)
    found = open_collection(items, ndim=2, channels=3)
    (image,) = found.images
    part = image.read((slice(3, 40), slice(10, 70)))
    assert part.shape == (3, 37, 60)
    expected = colours[3:40, 10:70].transpose(2, 0, 1)
    assert np.allclose(part * (image.white - image.black) + image.black, expected, atol=0.01)
    assert "no colours" in reasons(found)["grey"]


def test_planes_of_a_volume_are_planes_of_its_range():
    volume = noise(100, 60, 50) + np.arange(100, dtype=np.float32)[:, None, None]
    images = open_collection([ArrayItem("v", volume)], ndim=2).images
    names = [f"v z={z}" for z in (25, 41, 58, 75)] + [f"v y={y}" for y in (15, 25, 35, 45)]
    names += [f"v x={x}" for x in (12, 20, 29, 37)]
    assert [i.name for i in images] == names
    assert len({(i.black, i.white) for i in images}) == 1
    assert np.percentile(volume, 0.1) == pytest.approx(images[0].black, abs=0.1)
    shallow = open_collection([ArrayItem("v", volume[:60])], ndim=2).images
    assert [i.name[:3] for i in shallow] == ["v z"] * 4
    y = images[4]
    assert np.allclose(
        everything(y) * (y.white - y.black) + y.black, volume[:, 15], rtol=1e-4, atol=1e-3
    )


def test_volumes_need_enough_planes_in_3d():
    items = [
        ArrayItem("deep", noise(24, 50, 50)),
        ArrayItem("thin", noise(23, 50, 50)),
        ArrayItem("plane", noise(50, 50)),
    ]
    found = open_collection(items, ndim=3)
    assert [i.name for i in found.images] == ["deep"]
    assert "23 x 50 x 50" in reasons(found)["thin"]
    assert "no Z axis" in reasons(found)["plane"]


def test_axes_can_be_named_for_files_that_do_not_say():
    stack = ArrayItem("stack", noise(4, 50, 50))
    assert len(open_collection([stack], ndim=2, axes="CYX").images) == 4
    with pytest.raises(InputError, match="need"):
        open_collection([ArrayItem("stack", noise(2, 4, 50, 50))], ndim=2)


def test_sources_come_from_names_or_class_folders(tmp_path):
    pixels = data.camera()[:50, :50]
    for name in (
        "lab__cells.tif", "plain.tif", "worms/a.tif", "worms/b.tif", "flies/sub/lab__c.tif",
        "train/worms/d.tif",
    ):  # fmt: skip
        save_tiff(tmp_path / name, pixels)
    found = open_collection([tmp_path], ndim=2)
    assert {i.name: i.source for i in found.images} == {
        "flies/sub/lab__c.tif": "lab",
        "lab__cells.tif": "lab",
        "plain.tif": "plain",
        "train/worms/d.tif": "worms",
        "worms/a.tif": "worms",
        "worms/b.tif": "worms",
    }
    left = open_collection([tmp_path], ndim=2, leave_out=["worms", "pl*"])
    assert {i.source for i in left.images} == {"lab"}


@pytest.mark.parametrize("library", ["dask", "zarr", "memmap"])
def test_arrays_are_not_read_whole(tmp_path, library):
    pixels = noise(60, 70)
    if library == "dask":
        array = da.from_array(pixels, chunks=(16, 16))
    elif library == "zarr":
        array = zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(16, 16))
    else:
        array = np.memmap(tmp_path / "a.bin", np.float32, "w+", shape=pixels.shape)
        array[:] = pixels
    (image,) = open_collection([array], ndim=2).images
    assert image.pixels.array is array
    part = image.read((slice(7, 33), slice(20, 50))) * (image.white - image.black) + image.black
    assert np.allclose(part, pixels[7:33, 20:50], atol=1e-6)


def test_binned_images_are_averages_of_blocks():
    pixels = noise(5, 7)
    image = TrainingImage("s", "n", pixels, 0.0, 2.0).binned()
    assert image.shape == (2, 3)
    expected = pixels[:4, :6].reshape(2, 2, 3, 2).mean((1, 3)) / 2
    assert np.allclose(everything(image), expected, atol=1e-6)
    assert np.allclose(image.read((slice(1, 2), slice(1, 3))), expected[1:, 1:], atol=1e-6)
    assert image.binned().shape == (1, 1)


@pytest.mark.parametrize("resize", [0.5, 0.7, 0.9])
def test_a_window_of_a_smaller_image_is_a_part_of_the_whole(resize):
    (image,) = open_collection(
        [noise(120, 130)], ndim=2, preprocessing=Preprocessing(resize=resize)
    ).images
    assert image.shape == (int(120 * resize), int(130 * resize))
    window = (slice(7, 31), slice(30, 50))
    assert np.allclose(image.read(window), everything(image)[window], atol=1e-5)
    assert image.binned().shape == (int(60 * resize), int(65 * resize))


def test_making_smaller_keeps_place_and_does_not_alias():
    x = np.arange(200, dtype=np.float32)
    ramp = np.broadcast_to(x, (200, 200))
    image = TrainingImage("s", "n", ramp, 0.0, 1.0, resize=0.8)
    inner = everything(image)[50, 10:-10]
    assert np.allclose(inner, ((np.arange(160) + 0.5) / 0.8 - 0.5)[10:-10], atol=0.02)
    checks = np.indices((200, 200)).sum(0) % 2
    fine = TrainingImage("s", "n", checks.astype(np.float32), 0.0, 1.0, resize=0.6)
    assert everything(fine)[10:-10, 10:-10].std() < 0.05


def test_crops_and_percentiles_are_applied():
    pixels = noise(100, 100)
    prepared = Preprocessing(crop=((10, 70), (-60, 100)), percentiles=(5, 95))
    (image,) = open_collection([pixels], ndim=2, preprocessing=prepared).images
    assert (image.black, image.white) == tuple(np.percentile(pixels, (5, 95)))
    assert np.allclose(
        everything(image) * (image.white - image.black) + image.black,
        pixels[10:70, 40:],
        atol=1e-6,
    )
    with pytest.raises(InputError, match="20 x 20"):
        open_collection([pixels], ndim=2, preprocessing=Preprocessing(crop=((0, 20), (0, 20))))
    for wrong in ({"resize": 1.5}, {"percentiles": (90, 10)}):
        with pytest.raises(InputError):
            Preprocessing(**wrong)


def test_a_few_bright_spots_are_not_flat():
    pixels = np.zeros((200, 200), np.uint8)
    pixels[50, 50:55] = 200
    (image,) = open_collection([pixels], ndim=2).images
    assert (image.black, image.white) == (0, 200)


def test_a_file_that_is_damaged_later_says_so(tmp_path):
    path = save_tiff(tmp_path / "a.tif", data.camera()[:64, :64])
    (image,) = open_collection([path], ndim=2).images
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"a\.tif"):
        everything(image)


def test_images_can_be_sent_to_another_process(tmp_path):
    save_tiff(tmp_path / "a.tif", data.camera()[:64, :64], compression="deflate")
    (image,) = open_collection([tmp_path], ndim=2).images
    there = pickle.loads(pickle.dumps(image))  # noqa: S301
    assert np.array_equal(everything(there), everything(image))


def test_opening_can_be_cancelled():
    with pytest.raises(CancelledError):
        open_collection([noise(50, 50)], ndim=2, cancelled=lambda: True)


@pytest.mark.parametrize(("wrong", "word"), [({"ndim": 4}, "ndim"), ({"channels": 2}, "channels")])
def test_what_there_is_none_of_is_refused(wrong, word):
    with pytest.raises(InputError, match=word):
        open_collection([noise(50, 50)], **({"ndim": 2} | wrong))


def test_a_gzip_cut_off_is_left_out(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.camera()[:64, :64].T, np.eye(4)), path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2000]))
    with pytest.raises(InputError, match="incomplete"):
        open_collection([path], ndim=2)


def test_the_training_images_are_all_usable(data_folder: Path):
    planes = open_collection([data_folder], ndim=2)
    assert not planes.left_out
    files = {Path(i.file).name for i in planes.images}
    assert files == {p.name for kind in ("2d", "3d") for p in (data_folder / kind).iterdir()}
    volumes = open_collection([data_folder], ndim=3)
    assert len(volumes.images) == 12
    assert {i.name.partition("/")[0] for i in volumes.images} == {"3d"}
