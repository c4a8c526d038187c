from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matlab_resize import enlarge, shrink
from PIL import Image
from skimage import data

FACTORS = [2, 3, 4]


def photograph(factor):
    return data.camera()[: 60 * factor, 100 : 100 + 50 * factor].astype(float)


@pytest.mark.parametrize("factor", FACTORS)
def test_shrinking_equals_torch_away_from_the_border(factor):
    image = photograph(factor)
    tensor = torch.from_numpy(image)[None, None]
    expected = torch.nn.functional.interpolate(
        tensor, scale_factor=1 / factor, mode="bicubic", antialias=True
    )[0, 0].numpy()
    # torch cuts the kernel off at the border.
    np.testing.assert_allclose(
        shrink(image, factor)[2:-2, 2:-2], expected[2:-2, 2:-2], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("factor", FACTORS)
def test_enlarging_equals_torch_away_from_the_border(factor):
    image = photograph(factor)
    tensor = torch.from_numpy(image)[None, None]
    expected = torch.nn.functional.interpolate(
        tensor, scale_factor=factor, mode="bicubic", antialias=True
    )[0, 0].numpy()
    inner = (slice(2 * factor, -2 * factor),) * 2
    np.testing.assert_allclose(enlarge(image, factor)[inner], expected[inner], rtol=0, atol=1e-9)


@pytest.mark.parametrize("factor", FACTORS)
def test_shrinking_equals_pillow_to_a_grey_value(factor):
    # Pillow rounds and clips between the axes: a low contrast keeps clear of the limits.
    image = (80 + photograph(factor) / 4).astype(np.uint8)
    size = (image.shape[1] // factor, image.shape[0] // factor)
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    ours = np.rint(shrink(image, factor))[2:-2, 2:-2]
    assert np.abs(ours - expected[2:-2, 2:-2]).max() <= 1


def test_a_ramp_is_shrunk_as_the_kernel_says():
    # By hand: the kernel at 1/4, 3/4, 5/4 and 7/4 is 111/128, 29/128, -9/128 and -3/128, half of
    # which weighs the pixels on either side. Before pixels 0, 1, 2, ... come 2, 1, 0 again.
    first = (111 * (0 + 1) + 29 * (0 + 2) - 9 * (1 + 3) - 3 * (2 + 4)) / 256
    second = (111 * (2 + 3) + 29 * (1 + 4) - 9 * (0 + 5) - 3 * (0 + 6)) / 256
    ramp = np.tile(np.arange(12.0), (12, 1))
    expected = [first, second, 4.5, 6.5, 11 - second, 11 - first]
    np.testing.assert_allclose(shrink(ramp, 2), np.tile(expected, (6, 1)), atol=1e-12)


def test_a_step_is_enlarged_as_the_kernel_says():
    # New pixels lie at 1/4 and 3/4 between old ones; the kernel there is in the test above.
    step = np.tile([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], (4, 1))
    rising = np.array([0, 0, 0, -3, -9, 29 - 3]) / 128
    np.testing.assert_allclose(
        enlarge(step, 2), np.tile([*rising, *(1 - rising[::-1])], (8, 1)), atol=1e-12
    )


@given(
    value=st.floats(-1e3, 1e3),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    factor=st.integers(1, 5),
)
def test_a_constant_stays_what_it_is(value, rows, columns, factor):
    image = np.full((rows, columns), value)
    coarse = shrink(image, factor)
    assert coarse.shape == (-(-rows // factor), -(-columns // factor))
    np.testing.assert_allclose(coarse, value, rtol=1e-12)
    np.testing.assert_allclose(enlarge(coarse, factor), value, rtol=1e-12)


@given(seed=st.integers(0, 100), factor=st.integers(1, 5))
def test_mirroring_and_transposing_before_or_after_is_the_same(seed, factor):
    image = np.random.default_rng(seed).random((4 * factor, 6 * factor))
    for resize in (shrink, enlarge):
        result = resize(image, factor)
        np.testing.assert_allclose(resize(image[::-1, ::-1], factor), result[::-1, ::-1])
        np.testing.assert_allclose(resize(image.T, factor), result.T)


def test_colours_are_resized_one_by_one():
    image = data.astronaut()[:64, :80]
    red = shrink(image[..., 0], 2)
    np.testing.assert_allclose(shrink(image, 2)[..., 0], red)
    assert enlarge(image, 2).shape == (128, 160, 3)
