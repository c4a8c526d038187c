"""Pairs are put in register, and refused where they do not match."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import shift
from skimage import data

from napari_hrsr.errors import InputError
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
