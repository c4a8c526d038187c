"""Structures pasted into a result: what the consistency map finds of them, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import napari_hrsr
from napari_hrsr.errors import InputError
from napari_hrsr.evaluation import check_consistency
from napari_hrsr.evaluation.consistency import local_score
from napari_hrsr.evaluation.consistent import make_consistent
from napari_hrsr.files import read_image
from napari_hrsr.samples import read_sample

PLACEMENTS = 100
FOUND_AT_LEAST = 95


def structure(shape, factor, size, rng):
    """A disc or a box of a size in source pixels at a random place between pixels."""
    wide = np.array([size * k for k in factor])
    centre = [rng.uniform(w, n - w) for w, n in zip(wide, shape, strict=True)]
    apart = [
        np.abs(np.arange(n) - c).reshape([-1 if a == axis else 1 for a in range(len(shape))]) / w
        for axis, (n, c, w) in enumerate(zip(shape, centre, wide, strict=True))
    ]
    if rng.random() < 0.5:
        return (sum(d**2 for d in apart) <= 0.25).astype(float)
    box = np.ones(shape, bool)
    for d in apart:
        box &= d <= 0.5
    return box.astype(float)


def share_found(source, result, placements, seed=0):
    """Paste structures that are three times the noise once they are degraded."""
    rng = np.random.default_rng(seed)
    before = check_consistency(result, source)
    found = 0
    for _ in range(placements):
        size = int(rng.integers(2, 6))
        pasted = structure(result.shape, before.forward.factor, size, rng)
        seen = before.forward.apply(torch.from_numpy(pasted)).numpy()
        height = rng.choice([-1, 1]) * 3 * before.noise / seen.max()
        after = check_consistency(
            result + height * pasted, source, forward=before.forward, noise=before.noise
        )
        score = local_score(after.deviation, size)
        found += score[seen > 0.5 * seen.max()].mean() >= np.quantile(score, 0.99)
    return found


def upscaled(source, model):
    return np.asarray(napari_hrsr.upscale(source.astype(np.float32), model)).astype(float)


def test_in_the_sample_image():
    source = read_sample("cells")
    source = source.reshape(-1, *source.shape[-2:])[0][:200, :220].astype(float)
    assert share_found(source, upscaled(source, "general-2d-x2"), PLACEMENTS) >= FOUND_AT_LEAST


@pytest.mark.parametrize(
    "name",
    [
        "cellprofiler__ExampleHuman__AS_09125_050116030001_D03f00d0.tif",
        "neubias__xy_8bit__nuclei_PLK1_control.tif",
    ],
)
def test_in_images_of_cells(data_folder, name):
    source = np.asarray(read_image(data_folder / "2d" / name).data)[:200, :220].astype(float)
    assert share_found(source, upscaled(source, "general-2d-x2"), PLACEMENTS) >= FOUND_AT_LEAST


def test_in_a_made_up_scene():
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.random((180, 200)) < 0.01, 1.5) * 4000 + 50
    source = rng.poisson(scene).astype(float) + rng.normal(0, 2, scene.shape)
    assert share_found(source, upscaled(source, "general-2d-x2"), PLACEMENTS) >= FOUND_AT_LEAST


def test_in_a_volume():
    rng = np.random.default_rng(0)
    scene = gaussian_filter((rng.random((24, 56, 60)) < 0.002).astype(float), 2.0) * 20000 + 40
    source = scene + rng.normal(0, 6, scene.shape)
    assert share_found(source, upscaled(source, "general-3d-x2"), 20) >= 19


def test_what_the_instrument_erases_is_not_found():
    rng = np.random.default_rng(0)
    source = gaussian_filter(rng.normal(size=(90, 100)), 3) * 500 + rng.normal(0, 5, (90, 100))
    result = upscaled(source, "general-2d-x2")
    before = check_consistency(result, source)
    pasted = np.zeros(result.shape)
    pasted[80:100, 60:80] = rng.normal(0, 40 * before.noise, (20, 20))
    # Whatever the instrument would see is taken away: what is left is in its null space.
    erased = make_consistent(pasted, 1e-9 * source, before.forward).data
    assert erased.std() > 0.5 * pasted.std()
    after = check_consistency(result + erased, source, forward=before.forward, noise=before.noise)
    np.testing.assert_allclose(after.deviation, before.deviation, atol=1e-6)


def test_noise_alone_scores_evenly():
    noise = np.random.default_rng(0).normal(size=(200, 300))
    for size in (1, 3):
        score = local_score(noise, size)
        assert score.shape == noise.shape
        assert np.sqrt((score**2).mean()) == pytest.approx(0.5**0.5, abs=0.05)
    with pytest.raises(InputError, match="from 1 up"):
        local_score(noise, 0)
