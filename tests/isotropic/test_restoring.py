"""The step after the network: exact, tiled, and where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from networks import ShuffleNet
from numpy.testing import assert_allclose

from napari_hrsr import load_model
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.geometry import upscaled_scale_translate
from napari_hrsr.intensity import Intensity
from napari_hrsr.isotropic.restoring import AxialRestoration
from napari_hrsr.isotropic.stack import Stack, describe_stack
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.models.compose import average_planes, turned

PROFILE = AxialProfile("gaussian", 1.0)
NO_NOISE = Intensity(np.zeros(()), np.ones(()), np.zeros(()))


def restored(
    volume: np.ndarray, stack: Stack, *, gain: float = 1.0, profile: AxialProfile = PROFILE,
    tile: object = None, model: object = None, region: object = None,
) -> np.ndarray:  # fmt: skip
    regrid = AxialRestoration(stack, profile, gain)
    net = model or turned(average_planes(ShuffleNet((stack.levels, 1))), stack.axis)
    job = plan_job(volume, net, tile=tile, regrid=regrid, region=region, device="cpu")  # type: ignore[arg-type]
    out = np.full(job.shape, np.nan, np.float32)
    for _ in start_job(job, out, NO_NOISE):
        pass
    assert np.isfinite(out).all()
    return out


def volume_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ratio", [2.0, 2.6, 30 / 7])
@pytest.mark.parametrize("gain", [0.0, 0.4, 1.0])
def test_tiles_equal_the_whole(axis: int, ratio: float, gain: float) -> None:
    shape, spacing = [30, 30, 30], [1.0, 1.0, 1.0]
    shape[axis], spacing[axis] = 90, ratio
    volume = volume_of(*shape)
    stack = describe_stack(shape, spacing, axis=axis)
    whole = restored(volume, stack, gain=gain, tile=1000)
    assert whole.shape == stack.result_shape
    tile = [13, 13, 13]
    tile[axis] = 17
    assert_allclose(restored(volume, stack, gain=gain, tile=tile), whole, atol=3e-4)


def test_tiles_equal_the_whole_where_all_axes_change() -> None:
    stack = describe_stack((24, 40, 36), (3.0, 1.0, 1.3), target=(0.8, 1.4, 0.9))
    volume = volume_of(24, 40, 36)
    whole = restored(volume, stack, tile=1000)
    assert whole.shape == stack.result_shape
    assert_allclose(restored(volume, stack, tile=11), whole, atol=3e-4)


def test_a_region_is_that_part_of_the_whole() -> None:
    stack = describe_stack((40, 30, 30), (2.6, 1.0, 1.0))
    volume = volume_of(40, 30, 30)
    whole = restored(volume, stack)
    part = restored(volume, stack, region=[(7, 20), (4, 9), None])
    first, last = 18, 52  # centres between 7 and 20 slices of 2.6 voxels
    assert_allclose(part, whole[first:last, 4:9], atol=3e-4)


@pytest.mark.parametrize("ratio", [2.0, 2.6, 4.0])
@pytest.mark.parametrize("kind", ["gaussian", "box"])
@pytest.mark.parametrize("fwhm", [0.6, 1.0])
def test_the_result_sliced_again_is_the_measurement(ratio: float, kind: str, fwhm: float) -> None:
    stack = describe_stack((20, 24, 24), (ratio, 1.0, 1.0))
    profile = AxialProfile(kind, fwhm)  # type: ignore[arg-type]
    volume = volume_of(20, 24, 24)
    result = restored(volume, stack, profile=profile, tile=(9, 11, 11))
    again = np.tensordot(slice_matrix(profile, ratio, 20, len(result)), result, (1, 0))
    assert np.linalg.norm(again - volume) / np.linalg.norm(volume) < 1e-4


def test_a_gain_takes_back_that_share() -> None:
    stack = describe_stack((20, 24, 24), (3.0, 1.0, 1.0))
    volume, matrix = volume_of(20, 24, 24), slice_matrix(PROFILE, 3.0, 20, 60)

    def misfit(gain: float) -> float:
        result = restored(volume, stack, gain=gain)
        return float(np.linalg.norm(np.tensordot(matrix, result, (1, 0)) - volume))

    assert misfit(0.5) == pytest.approx(0.5 * misfit(0.0), rel=1e-3)


def test_profiles_wider_than_the_spacing_do_not_blow_noise_up() -> None:
    stack = describe_stack((40, 24, 24), (2.0, 1.0, 1.0))
    wide = AxialProfile("gaussian", 3.0)
    result = restored(volume_of(40, 24, 24), stack, profile=wide, model=load_model("cubic-2x1x1"))
    assert result.std() < 5 * volume_of(40, 24, 24).std()
    assert AxialRestoration(stack, wide).damping > 0
    assert AxialRestoration(stack, PROFILE).damping == 0


@pytest.mark.parametrize(
    ("ratio", "target"), [(2.6, None), (30 / 7, None), (2.6, 0.55), (4.0, 1.6)]
)
def test_a_point_stays_where_it_is_in_the_world(ratio: float, target: float | None) -> None:
    stack = describe_stack((30, 40, 40), (ratio, 1.0, 1.0), target=target)
    world = np.array([37.3, 20.4, 17.8])
    at = [np.arange(n) * s + (s - 1) / 2 for n, s in zip(stack.shape, stack.spacing, strict=True)]
    # Wide enough for every grid to hold it: what moves is the grid.
    blob = [np.exp(-0.5 * ((a - w) / 4) ** 2) for a, w in zip(at, world, strict=True)]
    volume = np.einsum("i,j,k->ijk", *blob).astype(np.float32)
    model = f"cubic-{stack.levels}x1x1"
    result = restored(volume, stack, gain=0.0, model=load_model(model))
    # Voxel 0 of the source has its first outer edge at -0.5 in every unit used here.
    first = [(s - 1) / 2 for s in stack.spacing]
    scale, translate = upscaled_scale_translate(stack.spacing, first, factor=stack.factor)
    assert_allclose(scale, stack.target)
    mass = result.sum()
    for axis in range(3):
        line = result.sum(tuple(a for a in range(3) if a != axis))
        centre = float((line * np.arange(len(line))).sum() / mass)
        assert abs(translate[axis] + scale[axis] * centre - world[axis]) < 0.1 * min(stack.target)
