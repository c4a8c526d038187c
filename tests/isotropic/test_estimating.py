"""How thick slices are, from spectra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hrsr.axes import resolve_axes
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.intensity import measure_intensity
from napari_hrsr.isotropic.estimating import UNKNOWN_FWHM, WidthEstimate, estimate_width
from napari_hrsr.isotropic.stack import describe_stack


@pytest.fixture(scope="module")
def object_alike() -> np.ndarray:
    """An object with the same rough texture along all axes."""
    noise = np.random.default_rng(0).normal(size=(200, 96, 96))
    sharp = sum(s**1.5 * gaussian_filter(noise, s, mode="wrap") for s in (0.7, 1.5, 3.0))
    return np.asarray(sharp, np.float32)


def estimated(
    volume: np.ndarray, fwhm: float, *, ratio: float = 4.0, noise: float = 0.0
) -> WidthEstimate:
    slices = int(len(volume) / ratio)
    matrix = slice_matrix(AxialProfile("gaussian", fwhm), ratio, slices, len(volume))
    stack = np.tensordot(matrix, volume, (1, 0)).astype(np.float32)
    stack += np.random.default_rng(1).normal(0, noise * np.ptp(stack) + 1e-9, stack.shape)
    axes = resolve_axes("ZYX", 3)
    described = describe_stack(stack.shape, (ratio, 1.0, 1.0))
    return estimate_width(stack, axes, described, measure_intensity(stack, axes))


@pytest.mark.parametrize("fwhm", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("ratio", [4.0, 2.6])
def test_the_width_is_found(object_alike: np.ndarray, fwhm: float, ratio: float) -> None:
    found = estimated(object_alike, fwhm, ratio=ratio)
    assert found.certain
    assert found.fwhm == pytest.approx(fwhm, rel=0.2)
    assert len(found.frequency) == len(found.axial) == len(found.lateral)


def test_noise_does_not_pass_for_thin_slices(object_alike: np.ndarray) -> None:
    assert estimated(object_alike, 1.2, noise=0.01).fwhm == pytest.approx(1.2, rel=0.25)


def test_too_few_slices_are_said_to_be_too_few(object_alike: np.ndarray) -> None:
    found = estimated(object_alike[:24], 1.0)
    assert not found.certain
    assert found.fwhm == UNKNOWN_FWHM
    assert "few" in found.reason


def test_nothing_but_noise_tells_nothing() -> None:
    volume = np.random.default_rng(0).normal(size=(30, 64, 64)).astype(np.float32)
    axes = resolve_axes("ZYX", 3)
    stack = describe_stack(volume.shape, (4.0, 1.0, 1.0))
    found = estimate_width(volume, axes, stack, measure_intensity(volume, axes))
    assert (found.certain, found.fwhm) == (False, UNKNOWN_FWHM)
    assert found.reason
