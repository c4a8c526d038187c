"""Pairs are put in register, and refused where they do not match."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter, rotate, shift
from skimage import data

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.collection import ArrayItem
from napari_hrsr.training.pairs import open_pairs, split_pairs


def recorded(fine, moved=(0.0, 0.0)):
    image = shift(fine.astype(float), [-m for m in moved], order=5, mode="nearest")
    return ForwardModel((2, 2)).apply(torch.from_numpy(image)).numpy()


def opened(coarse, fine):
    return open_pairs(
        [ArrayItem("a_lr", coarse, "YX")], [ArrayItem("a_hr", fine, "YX")], scale=(2, 2), ndim=2
    )


@pytest.mark.parametrize("moved", [(0.0, 0.0), (1.3, -2.6), (6.0, 3.4)])
def test_a_pair_is_put_in_register_in_the_units_of_the_coarse_image(moved):
    fine = data.camera()[:256, :256].astype(float)
    noise = np.random.default_rng(0).normal(0, 4, (128, 128))
    (pair,) = opened(recorded(fine, moved) * 3 + 50 + noise, fine).images
    assert np.allclose(np.array(pair.registration.shift) / 2, np.array(moved) / 2, atol=0.05)
    window = (slice(10, 90), slice(20, 100))
    coarse, sharp = pair.read_pair(window)
    assert sharp.shape == (160, 160)
    again = ForwardModel((2, 2)).apply(torch.from_numpy(sharp)).numpy()
    assert np.sqrt(np.mean((again - coarse)[4:-4, 4:-4] ** 2)) < 0.03


def test_different_scenes_are_refused():
    with pytest.raises(InputError, match="same field"):
        opened(recorded(data.coins()[:256, :256]), data.camera()[:256, :256])


def test_a_wrong_factor_is_refused():
    with pytest.raises(InputError, match="times as many"):
        opened(data.camera()[:256, :256].astype(float), data.camera()[:256, :256])


def test_names_decide_what_belongs_together():
    one, two = data.camera()[:200, :200], data.coins()[:200, :200]
    found = open_pairs(
        [ArrayItem("b_lr", recorded(two), "YX"), ArrayItem("a_lr", recorded(one), "YX")],
        [ArrayItem("a_hr", one, "YX"), ArrayItem("b_hr", two, "YX")],
        scale=(2, 2),
        ndim=2,
    )
    assert len(found.images) == 2
    assert not found.left_out


def test_a_divided_pair_shares_no_pixel():
    fine = data.camera()[:256, :256]
    pairs = opened(recorded(fine), fine).images
    training, validation = split_pairs(pairs, 0.2, 0)
    boxes = [p.view.key for p in (training[0], validation[0])]
    rows, columns = (
        [set(range(k.start, k.stop)) for k in axis] for axis in zip(*boxes, strict=True)
    )
    assert not (rows[0] & rows[1] and columns[0] & columns[1])
    assert validation[0].shape != training[0].shape


def test_a_moved_pair_is_read_as_if_it_had_been_recorded_in_place():
    fine = data.camera().astype(float)[60:360, 100:400]
    coarse = recorded(fine, (1.37, -2.81))
    (pair,) = opened(coarse, fine).images
    window = tuple(slice(20, 100) for _ in range(2))
    low, high = pair.read_pair(window)
    truth = shift(fine, (-1.37, 2.81), order=5, mode="nearest")
    top, left = (s for s in pair.view.starts)
    truth = truth[2 * (top + 20) : 2 * (top + 100), 2 * (left + 20) : 2 * (left + 100)]
    unit = pair.coarse.white - pair.coarse.black
    assert np.abs((high * unit + pair.coarse.black) - truth).mean() < 0.01 * unit
    # Parts of a window are parts of it.
    part = pair.read_pair((slice(30, 50), slice(40, 55)))
    assert np.allclose(part[0], low[10:30, 20:35])
    assert np.allclose(part[1], high[20:60, 40:70], atol=1e-5)


def test_a_pair_that_is_in_place_is_not_interpolated():
    fine = data.camera()[:256, :256].astype(float)
    (pair,) = opened(recorded(fine) * 2 + 5, fine).images
    assert pair.shape == (128, 128)
    _, high = pair.read_pair((slice(0, 128), slice(0, 128)))
    level = np.polyfit(fine.ravel(), high.ravel(), 1)
    assert np.allclose(np.polyval(level, fine), high, atol=1e-5)


def test_bad_pairs_are_left_out_of_a_folder(tmp_path):
    scenes = {
        "one": data.camera()[:256, :256],
        "two": data.coins()[:256, :256],
        "three": data.moon()[:256, :256],
    }
    for name, fine in scenes.items():
        for kind, pixels in (("low", recorded(fine).astype(np.float32)), ("high", fine)):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / f"{name}.tif", pixels)
    # Another scene under this name; a file cut off; and one that has no partner.
    tifffile.imwrite(tmp_path / "low" / "two.tif", recorded(scenes["three"]).astype(np.float32))
    (tmp_path / "high" / "three.tif").write_bytes(b"II*\0")
    tifffile.imwrite(tmp_path / "high" / "four.tif", scenes["one"])
    found = open_pairs([tmp_path / "low"], [tmp_path / "high"], scale=(2, 2), ndim=2)
    assert [p.name for p in found.images] == ["one.tif"]
    said = {entry.name: entry.reason for entry in found.left_out}
    assert "same field" in said.pop("two.tif with two.tif")
    assert "damaged" in said.pop("three.tif with three.tif")
    assert "no low-resolution image" in said.pop("four.tif")
    assert not said


def test_channels_are_registered_one_by_one():
    stack = np.stack([data.camera()[:256, :256], data.moon()[:256, :256]]).astype(float)
    coarse = np.stack([recorded(c) for c in stack])
    found = open_pairs(
        [ArrayItem("a", coarse, "CYX")], [ArrayItem("a", stack, "CYX")], scale=(2, 2), ndim=2
    )
    assert [p.name for p in found.images] == ["a c=0", "a c=1"]
    with pytest.raises(InputError, match="different numbers of channels"):
        open_pairs(
            [ArrayItem("a", coarse[0])], [ArrayItem("a", stack, "CYX")], scale=(2, 2), ndim=2
        )


def test_volumes_and_colours_pair_up():
    rng = np.random.default_rng(0)
    fine = gaussian_filter(rng.normal(size=(60, 64, 72)), 2)
    coarse = fine.reshape(30, 2, 32, 2, 36, 2).mean((1, 3, 5))
    (volume,) = open_pairs([coarse], [fine], scale=(2, 2, 2), ndim=3).images
    low, high = volume.read_pair((slice(1, 5), slice(0, 9), slice(3, 36)))
    assert (low.shape, high.shape) == ((4, 9, 33), (8, 18, 66))
    colours = np.ascontiguousarray(data.astronaut()[:200, :200])
    small = colours.reshape(100, 2, 100, 2, 3).mean((1, 3))
    (pair,) = open_pairs(
        [ArrayItem("a", small, "YXS")], [ArrayItem("a", colours, "YXS")], scale=(2, 2), ndim=2,
        channels=3,
    ).images  # fmt: skip
    low, high = pair.read_pair((slice(0, 20), slice(5, 40)))
    assert (low.shape, high.shape) == ((3, 20, 35), (3, 40, 70))
    assert np.abs(high.reshape(3, 20, 2, 35, 2).mean((2, 4)) - low).max() < 0.02


def test_pairs_that_are_far_apart_or_turned_are_refused():
    fine = data.camera().astype(float)
    with pytest.raises(InputError, match="more than a quarter"):
        opened(recorded(fine[110:410, 100:400]), fine[:300, 100:400])
    turned = rotate(fine, 1, reshape=False, order=3, mode="reflect")
    with pytest.raises(InputError, match="rotated"):
        opened(recorded(turned[100:400, 100:400]), fine[100:400, 100:400])


def test_too_little_in_common_is_refused():
    with pytest.raises(InputError, match="too small: 40 x 40"):
        opened(recorded(data.camera()[200:240, 200:240]), data.camera()[200:240, 200:240])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="scale"):
        open_pairs([data.camera()], [data.camera()], scale=(2,), ndim=2)
    with pytest.raises(InputError, match="no image was given"):
        open_pairs([], [data.camera()], scale=(2, 2), ndim=2)
    with pytest.raises(CancelledError):
        open_pairs([data.camera()], [data.camera()], scale=(1, 1), ndim=2, cancelled=lambda: True)
