from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_hrsr.errors import InputError
from napari_hrsr.evaluation import compare_with_reference
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.evaluation.perceptual import ms_ssim

CAMERA = data.camera()[:256, :300]
PATCH = CAMERA[80:144, 100:164]


def noisy(image, sigma, seed=0):
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


@pytest.mark.parametrize("data_range", ["reference", "dtype", 300.0])
def test_psnr_and_ssim_are_those_of_scikit_image(data_range):
    result = noisy(CAMERA, 12)
    found = compare_with_reference(result, CAMERA, data_range=data_range)
    span = {"reference": float(np.ptp(CAMERA)), "dtype": 255.0}.get(data_range, data_range)
    truth = CAMERA.astype(float)
    assert found.span == span
    assert found.result.psnr == pytest.approx(
        peak_signal_noise_ratio(truth, result, data_range=span), abs=1e-6
    )
    assert found.result.ssim == pytest.approx(
        structural_similarity(truth, result, data_range=span), abs=1e-6
    )


def test_psnr_and_ssim_of_a_volume_are_those_of_scikit_image():
    truth = gaussian_filter(np.random.default_rng(0).random((12, 40, 45)), 1)
    result = noisy(truth, 0.02)
    found = compare_with_reference(result, truth)
    span = float(np.ptp(truth))
    assert found.sliced
    assert found.result.ssim == pytest.approx(
        structural_similarity(truth, result, data_range=span), abs=1e-6
    )
    assert found.result.psnr == pytest.approx(
        peak_signal_noise_ratio(truth, result, data_range=span), abs=1e-6
    )


@pytest.mark.parametrize(
    ("change", "haarpsi", "gmsd"),
    [
        (lambda x: gaussian_filter(x, 2), 0.6694608453, 0.0992659310),
        (lambda x: x + np.random.default_rng(0).normal(0, 20, x.shape), 0.5019560985, 0.1981947191),
    ],
    ids=["blurred", "noisy"],
)
def test_haarpsi_and_gmsd_are_those_of_piq(change, haarpsi, gmsd):
    # Values of piq 0.8.0 on the same planes.
    found = compare_with_reference(
        change(CAMERA.astype(float)).clip(0, 255), CAMERA, data_range="dtype"
    )
    assert found.result.haarpsi == pytest.approx(haarpsi, abs=1e-9)
    assert found.result.gmsd == pytest.approx(gmsd, abs=1e-9)


@given(seed=st.integers(0, 1000), sigma=st.floats(0.5, 15))
def test_more_noise_is_never_called_better(seed, sigma):
    truth = PATCH.astype(float)
    noise = np.random.default_rng(seed).normal(0, 1, truth.shape)
    less, more = (
        compare_with_reference(truth + s * noise, PATCH, data_range="dtype").result
        for s in (sigma, 2 * sigma)
    )
    assert less.psnr > more.psnr
    assert less.ssim > more.ssim
    assert less.haarpsi > more.haarpsi
    assert less.gmsd < more.gmsd
    assert less.mae < more.mae
    assert less.nrmse < more.nrmse


@given(gain=st.floats(0.2, 5), offset=st.floats(-50, 50))
def test_matching_takes_gain_and_offset_back(gain, offset):
    truth = PATCH.astype(float)
    found = compare_with_reference((truth - offset) / gain, truth, match=True).result
    assert found.gain == pytest.approx(gain)
    assert found.offset == pytest.approx(offset, abs=1e-6)
    assert found.ssim == pytest.approx(1)
    assert found.mae == pytest.approx(0, abs=1e-9)


def test_an_offset_counts_unless_it_is_matched():
    assert compare_with_reference(CAMERA + 20.0, CAMERA).result.mae == pytest.approx(20)


def test_equal_images_are_perfect_and_json_can_hold_it():
    found = compare_with_reference(CAMERA, CAMERA.copy())
    best = found.result
    assert best.psnr == math.inf
    assert best.ssim == pytest.approx(1)
    assert best.ms_ssim == pytest.approx(1, abs=1e-5)
    assert best.haarpsi == pytest.approx(1)
    assert best.gmsd == best.mae == 0
    assert best.power == pytest.approx((1, 1, 1, 1))
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["result"]["psnr"] == "infinity"


def test_blur_is_seen_in_the_high_bands_only():
    power = compare_with_reference(gaussian_filter(CAMERA.astype(float), 1), CAMERA).result.power
    assert power[0] > 0.85
    assert power[2] < 0.05
    assert power[3] < 0.01
    assert compare_with_reference(noisy(CAMERA, 30), CAMERA).result.power[3] > 2


def test_a_border_that_is_wrong_can_be_left_out():
    broken = CAMERA.astype(float).copy()
    broken[:3], broken[:, -3:] = 0, 0
    assert compare_with_reference(broken, CAMERA, border=3).result.psnr == math.inf
    assert compare_with_reference(broken, CAMERA).result.psnr < 30


def test_of_colours_the_luminance_is_compared():
    truth = data.astronaut()[:64, :64]
    result = truth.astype(float)
    # A change of colour that leaves the luminance.
    result[..., 0] += 7.154
    result[..., 1] -= 2.125
    found = compare_with_reference(result, truth, rgb=True).result
    assert found.mae == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="colours"):
        compare_with_reference(truth, truth[..., :2], rgb=True)


def test_the_cubic_baseline_stands_beside_the_result():
    coarse = CAMERA.astype(float).reshape(128, 2, 150, 2).mean((1, 3))
    cubic = cubic_baseline(coarse, (2, 2), CAMERA.shape)
    found = compare_with_reference(noisy(CAMERA, 2), CAMERA, source=coarse)
    assert found.cubic is not None
    alone = compare_with_reference(cubic, CAMERA).result
    assert found.cubic == alone
    assert found.result.psnr > found.cubic.psnr
    text = str(found)
    assert "cubic" in text
    assert f"{found.result.psnr:.2f}" in text
    assert "3 to 255" in text


def test_the_baseline_lies_on_the_grid_of_the_result():
    # The same ramp in the world, sampled coarsely and finely, edges coinciding.
    def ramp(n, step):
        return np.broadcast_to((np.arange(n) + 0.5) * step, (20, n)).copy()

    for factor, n in ((2.0, 40), (1.5, 30), (2.25, 45)):
        fine = cubic_baseline(ramp(20, 1), (1, factor), (20, n))
        expected = ramp(n, 1 / factor)
        inner = slice(12, -12)
        assert fine[:, inner] == pytest.approx(expected[:, inner], abs=1e-3)


def test_volumes_of_few_slices_are_measured_slice_by_slice():
    truth = np.stack([PATCH, CAMERA[64:128, :64], CAMERA[:64, 64:128]])
    result = noisy(truth, 10)
    found = compare_with_reference(result, truth, data_range="dtype").result
    planes = [
        compare_with_reference(r, t, data_range="dtype").result
        for r, t in zip(result, truth, strict=True)
    ]
    assert found.ssim == pytest.approx(np.mean([p.ssim for p in planes]))
    assert found.ms_ssim == pytest.approx(np.mean([p.ms_ssim for p in planes]))
    assert math.isnan(found.power[0])


def test_ms_ssim_keeps_its_precision_on_a_high_offset():
    low = ms_ssim(noisy(CAMERA, 10), CAMERA.astype(float), span=255)
    high = ms_ssim(noisy(CAMERA, 10) + 600, CAMERA + 600.0, span=255)
    # The offset takes part in the comparison of means alone.
    assert high == pytest.approx(low, abs=0.01)
    assert ms_ssim(CAMERA + 9000.0, CAMERA + 9000.0, span=255) == pytest.approx(1, abs=1e-6)


def test_small_planes_are_measured_as_far_as_they_go():
    truth = CAMERA[:12, :12].astype(float)
    assert 0 < compare_with_reference(noisy(truth, 5), truth).result.ms_ssim <= 1
    tiny = compare_with_reference(noisy(truth[:5, :5], 5), truth[:5, :5], data_range=255.0).result
    assert math.isnan(tiny.ms_ssim)
    assert math.isnan(tiny.ssim)
    assert tiny.psnr > 10


@pytest.mark.parametrize(
    ("result", "reference", "options", "message"),
    [
        (CAMERA, CAMERA[:-1], {}, r"\(255, 300\).*\(256, 300\).*crop"),
        (CAMERA, np.full_like(CAMERA, 7), {}, "reference is 7 everywhere"),
        (np.where(CAMERA > 250, np.nan, CAMERA), CAMERA, {}, "not finite"),
        (CAMERA + 0j, CAMERA, {}, "complex"),
        (CAMERA[0], CAMERA[0], {}, "2 or 3 spatial axes"),
        (CAMERA, CAMERA, {"border": 128}, "border of 128"),
        (CAMERA, CAMERA, {"border": -1}, "border of -1"),
        (CAMERA, CAMERA, {"data_range": 0}, "data_range"),
        (CAMERA, CAMERA, {"data_range": "image"}, "data_range"),
        (CAMERA, CAMERA / 255.0, {"data_range": "dtype"}, "float64"),
        (CAMERA, CAMERA, {"source": CAMERA[:100, :100]}, "no multiple"),
        (CAMERA, CAMERA, {"source": CAMERA[::2, ::2], "factor": 3}, "factor 3 gives"),
        (CAMERA, CAMERA, {"source": CAMERA[::2, ::2], "factor": (2, 2, 2)}, "2 numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(result, reference, options, message):
    with pytest.raises(InputError, match=message):
        compare_with_reference(result, reference, **options)


def test_real_images_gain_over_blur(data_folder):
    import tifffile

    image = tifffile.imread(data_folder / "2d" / "neubias__xy_16bit__microtubules.tif")
    image = np.squeeze(image)[:256, :256].astype(float)
    blurred = gaussian_filter(image, 1.5)
    sharper = zoom(image, 1) * 0.5 + blurred * 0.5
    worse, better = (compare_with_reference(x, image).result for x in (blurred, sharper))
    assert better.psnr > worse.psnr
    assert better.haarpsi > worse.haarpsi
    assert better.gmsd < worse.gmsd
    assert better.power[2] > worse.power[2]


def test_large_planes_are_measured_in_pieces():
    truth = np.tile(CAMERA[:250, :250], (5, 5)).astype(float)
    result = noisy(truth, 10)
    whole = compare_with_reference(result, truth, data_range=255.0).result.ms_ssim
    piece = compare_with_reference(result[:625, :625], truth[:625, :625], data_range=255.0).result
    assert whole == pytest.approx(piece.ms_ssim, abs=0.01)


@pytest.mark.parametrize("side", [11, 30, 90, 200])
def test_ms_ssim_is_that_of_torchmetrics(side):
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    truth = CAMERA[:side, : side + 5].astype(float)
    shown = noisy(truth, 20).astype(float)
    count = {11: 1, 30: 2, 90: 3, 200: 5}[side]
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:count])
    pair = (torch.from_numpy(x / 255)[None, None] for x in (shown, truth))
    expected = multiscale_structural_similarity_index_measure(
        *pair, data_range=1.0, betas=tuple((weights / weights.sum()).tolist())
    )
    assert ms_ssim(shown, truth, span=255) == pytest.approx(float(expected), abs=1e-7)
