from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation import check_consistency
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.evaluation.hallucination import unsupported_detail
from napari_hrsr.forward import ForwardModel

TRUTH = data.camera()[:300, :350].astype(float)
FLAT, ROUGH = (40, 200), (216, 296)
"""Corners, in the fine image, of a patch of sky and of one with the edges of the camera."""
SIDE = 12


def recorded(fine, model, noise, seed=0):
    coarse = model.apply(torch.from_numpy(np.array(fine))).numpy()
    return coarse + np.random.default_rng(seed).normal(0, noise, coarse.shape)


def with_board(fine, corner, height):
    """Add a checkerboard of single pixels, which vanishes in pixels of twice the size."""
    result = np.array(fine)
    board = height * (-1.0) ** np.indices((SIDE,) * fine.ndim).sum(0)
    result[tuple(slice(c, c + SIDE) for c in corner)] += board
    return result


@pytest.mark.parametrize("psf", [0.0, 1.0])
@pytest.mark.parametrize("noise", [2.0, 10.0])
def test_the_truth_is_supported(psf, noise):
    model = ForwardModel((2, 2), psf_sigma=(psf, psf))
    found = unsupported_detail(TRUTH, recorded(TRUTH, model, noise), forward=model, noise=noise)
    assert found.excess.shape == TRUTH.shape
    assert found.outside < 0.02
    assert found.share < 0.03
    assert found.created > 0.003


def test_interpolation_creates_nothing():
    model = ForwardModel((2, 2))
    source = recorded(TRUTH, model, 3.0)
    cubic = cubic_baseline(source, (2, 2), TRUTH.shape)
    found = unsupported_detail(cubic, source, noise=3.0)
    assert found.fitted
    assert found.outside == 0
    assert found.created < 0.2 * unsupported_detail(TRUTH, source, noise=3.0).created


def test_detail_where_the_source_is_flat_is_found_though_it_leaves_no_trace():
    model = ForwardModel((2, 2))
    source = recorded(TRUTH, model, 3.0)
    fake = with_board(TRUTH, FLAT, 30)
    assert check_consistency(fake, source, forward=model, noise=3.0).chi_square < 1.05
    found = unsupported_detail(fake, source, forward=model, noise=3.0)
    middle = tuple(slice(c + 3, c + SIDE - 3) for c in FLAT)
    assert found.excess[middle].min() > 3
    assert np.unravel_index(found.excess.argmax(), TRUTH.shape) == pytest.approx(
        [c + SIDE / 2 for c in FLAT], abs=SIDE / 2
    )


def test_detail_where_the_source_has_structure_cannot_be_told_from_true_detail():
    model = ForwardModel((2, 2))
    source = recorded(TRUTH, model, 3.0)
    before = unsupported_detail(TRUTH, source, forward=model, noise=3.0)
    after = unsupported_detail(with_board(TRUTH, ROUGH, 15), source, forward=model, noise=3.0)
    middle = tuple(slice(c + 3, c + SIDE - 3) for c in ROUGH)
    assert after.excess[middle].mean() < before.excess[middle].mean() + 1


def test_in_a_volume_of_odd_lengths_too():
    rng = np.random.default_rng(0)
    volume = np.zeros((22, 66, 78))
    volume[:, :, 40:] = gaussian_filter(rng.normal(size=(22, 66, 38)), 1.5) * 400
    model = ForwardModel((2, 2, 2))
    source = recorded(volume, model, 1.0)
    assert source.shape == (11, 33, 39)
    assert unsupported_detail(volume, source, forward=model, noise=1.0).outside < 0.01
    found = unsupported_detail(
        with_board(volume, (4, 30, 10), 15), source, forward=model, noise=1.0,
        voxel_size=(2.0, 0.5, 0.5),
    )  # fmt: skip
    peak = np.unravel_index(found.excess.argmax(), volume.shape)
    assert peak == pytest.approx((10, 36, 16), abs=6)
    assert found.excess.max() > 5
    # Along z the whole of the source's band counts: half a cycle in two voxels of 2.
    assert found.cutoff[0] == pytest.approx(0.125)
    assert found.cutoff[1] <= 0.5


@settings(max_examples=8)
@given(gain=st.floats(0.01, 1000), offset=st.floats(-1000, 1000))
def test_units_do_not_matter(gain, offset):
    model = ForwardModel((2, 2))
    fine = with_board(TRUTH[:120, :150], (*FLAT[:1], 100), 30)
    source = recorded(TRUTH[:120, :150], model, 3.0)
    one = unsupported_detail(fine, source, forward=model, noise=3.0)
    other = unsupported_detail(
        gain * fine + offset, gain * source + offset, forward=model, noise=3.0 * gain
    )
    assert other.share == pytest.approx(one.share, rel=1e-3)
    assert other.outside == pytest.approx(one.outside, abs=1e-3)


def test_the_numbers_can_be_written_down():
    source = recorded(TRUTH, ForwardModel((2, 2)), 3.0)
    written = json.loads(json.dumps(unsupported_detail(TRUTH, source).to_dict(), allow_nan=False))
    assert written["fitted"]
    assert written["support"] > 1


def test_it_can_be_stopped_and_refuses_what_does_not_belong_together():
    def stop():
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        unsupported_detail(TRUTH, TRUTH[::2, ::2], check=stop)
    with pytest.raises(InputError, match="no multiple"):
        unsupported_detail(TRUTH, TRUTH[:100, :100])
    with pytest.raises(InputError, match="noise must be above 0"):
        unsupported_detail(TRUTH, TRUTH[::2, ::2], noise=0.0)
