from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data

from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.degrade import Degradation, degrade, draw_degradation


def test_draws_cover_every_formation_and_respect_the_fraction_of_noise():
    rng = np.random.default_rng(0)
    draws = [draw_degradation(rng, (2, 2), 0.4) for _ in range(400)]
    assert {d.instrument.sampling for d in draws} == {"bicubic", "area"}
    sigmas = [d.instrument.psf_sigma[0] for d in draws if d.instrument.psf_sigma[0]]
    assert 0.3 <= min(sigmas) < 0.4 < 0.9 < max(sigmas) <= 1.0
    noisy = [d for d in draws if d.noisy]
    assert 0.3 < len(noisy) / len(draws) < 0.5
    assert all(50 <= d.photons <= 2000 and 0.002 <= d.read_noise <= 0.04 for d in noisy)
    assert not any(draw_degradation(rng, (2,), 0.0).noisy for _ in range(20))


def test_without_noise_it_is_the_forward_model():
    fine = data.camera()[:64, :64].astype(np.float32) / 255
    coarse = degrade(fine, Degradation(ForwardModel((2, 2))), np.random.default_rng(0))
    assert coarse.dtype == np.float32
    assert np.allclose(coarse, fine.reshape(32, 2, 32, 2).mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_noise_has_the_variance_of_photons_and_reading(level):
    degradation = Degradation(ForwardModel((2, 2)), photons=200, read_noise=0.02)
    coarse = degrade(np.full((600, 600), level), degradation, np.random.default_rng(0))
    assert coarse.mean() == pytest.approx(level, rel=0.01)
    assert coarse.var() == pytest.approx(level / 200 + 0.02**2, rel=0.03)


def test_below_black_there_is_no_shot_noise():
    degradation = Degradation(ForwardModel((2,)), photons=100)
    coarse = degrade(np.full(20, -0.1, np.float32), degradation, np.random.default_rng(0))
    assert coarse == pytest.approx(np.full(10, -0.1))


def test_same_seed_same_image():
    degradation = Degradation(ForwardModel((2, 2)), 100, 0.01)
    fine = data.camera()[:32, :32] / 255.0
    first, second = (degrade(fine, degradation, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert math.isinf(Degradation(ForwardModel((2, 2))).photons)
