from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrsr.training.patches import (
    black_and_white,
    draw_batch,
    estimate_volume_noise,
    make_pair,
)


def nearest_pair(shape=(40, 50), seed=0):
    coarse = np.random.default_rng(seed).random(shape) * 50 + 100
    fine = coarse
    for axis in range(coarse.ndim):
        fine = fine.repeat(2, axis)
    return make_pair(coarse, fine)


def test_a_pair_is_normalised_by_the_coarse_image():
    pair = nearest_pair()
    black, white = np.percentile(pair.coarse, (0.1, 99.9))
    assert (black, white) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert np.array_equal(pair.fine[::2, ::2], pair.coarse)
    assert 0 < pair.noise < 1


def test_a_flat_image_has_a_range_of_one():
    assert black_and_white(np.full((4, 4), 3.0)) == (3.0, 4.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), ndim=st.sampled_from([2, 3]), size=st.integers(3, 9))
def test_patches_of_both_images_stay_together(seed, ndim, size):
    pair = nearest_pair((12,) * ndim)
    batch = draw_batch(
        [pair],
        np.random.default_rng(seed),
        size=size,
        batch=3,
        transpose_axes=tuple(range(ndim))[-2:],
    )
    coarse, fine, noise = batch.coarse, batch.fine, batch.noise
    assert coarse.shape == (3, 1, *(size,) * ndim)
    assert noise.shape == (3, 1, *(1,) * ndim)
    expected = coarse
    for axis in range(2, 2 + ndim):
        expected = expected.repeat_interleave(2, dim=axis)
    assert torch.equal(fine, expected)
    assert coarse.dtype == fine.dtype == noise.dtype == torch.float32


def test_axes_that_may_not_be_exchanged_stay():
    ramp = np.arange(30.0)[:, None, None] * np.ones((30, 20, 20))
    pair = make_pair(ramp, ramp.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    coarse = draw_batch(
        [pair], np.random.default_rng(0), size=8, batch=16, transpose_axes=(1, 2)
    ).coarse
    assert float(coarse.diff(dim=3).abs().max()) == 0
    assert float(coarse.diff(dim=4).abs().max()) == 0
    assert float(coarse.diff(dim=2).abs().min()) > 0


def test_patches_are_drawn_where_the_gradient_is():
    image = np.zeros((100, 100))
    image[:, 50:60] = np.random.default_rng(0).random((100, 10))
    pair = make_pair(image, image.repeat(2, 0).repeat(2, 1))
    coarse = draw_batch([pair], np.random.default_rng(0), size=8, batch=64).coarse
    textured = (coarse.flatten(1).std(1) > 1e-3).float().mean()
    # 18 per cent of the positions hold texture.
    assert float(textured) > 0.6


def test_short_axes_are_taken_whole():
    pairs = [nearest_pair((5, 40))]
    batch = draw_batch(pairs, np.random.default_rng(0), size=12, batch=2)
    assert batch.coarse.shape[2:] == (5, 12)
    assert batch.fine.shape[2:] == (10, 24)


def test_noise_of_a_volume_is_the_median_of_its_planes():
    volume = np.random.default_rng(0).normal(0, 2, (16, 60, 60))
    volume[0] *= 100
    assert estimate_volume_noise(volume) == pytest.approx(2, rel=0.05)


def test_colours_of_a_patch_stay_together():
    grey = np.random.default_rng(0).random((30, 30))
    coarse = np.stack([grey, grey * 2, grey * 3])
    pair = make_pair(coarse, coarse.repeat(2, 1).repeat(2, 2), ndim=2)
    batch = draw_batch([pair], np.random.default_rng(0), size=8, batch=4, transpose_axes=(0, 1))
    assert batch.coarse.shape == (4, 3, 8, 8)
    assert batch.fine.shape == (4, 3, 16, 16)
    assert torch.equal(batch.coarse, batch.fine[:, :, ::2, ::2])
    red, green = batch.coarse[:, 0], batch.coarse[:, 1]
    # Gain and offset are common to the colours, so their relation stays linear.
    slope = (green - green.mean()).flatten() @ (red - red.mean()).flatten()
    assert float(slope) > 0


def test_a_batch_of_images_of_different_depth_has_one_shape():
    shallow, deep = nearest_pair((6, 40, 40)), nearest_pair((30, 40, 40))
    batch = draw_batch([shallow, deep], np.random.default_rng(3), size=10, batch=8)
    assert batch.coarse.shape[2:] in {(6, 10, 10), (10, 10, 10)}
