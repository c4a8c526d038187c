"""Tiles of networks that see the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Repeat
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from napari_hrsr import upscale
from napari_hrsr.crossfading import Crossfade
from napari_hrsr.errors import CancelledError
from napari_hrsr.intensity import Intensity
from napari_hrsr.tiling import plan_tiles


class Centred(Repeat):
    """Repeats pixels, less the mean of all that it sees."""

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        return super().forward(batch - batch.mean((2, 3), keepdim=True) / 4, noise=noise)


@given(
    shape=st.tuples(st.integers(8, 70), st.integers(8, 70)),
    tile=st.integers(4, 40),
    halo=st.integers(1, 24),
    scale=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_the_weights_of_all_tiles_sum_to_one(
    shape: tuple[int, int], tile: int, halo: int, scale: tuple[int, int]
) -> None:
    plan = plan_tiles(shape, (tile, tile), halo=(halo, halo))
    fade = Crossfade(plan)
    total = np.zeros([n * k for n, k in zip(shape, scale, strict=True)])
    for index in range(len(plan)):
        extent = fade.extent(index)
        weights = fade.weights(index, extent, scale)
        assert weights.min() >= 0
        place = [slice(a * k, b * k) for (a, b), k in zip(extent, scale, strict=True)]
        total[tuple(place)] += weights
        assert index in set(fade.partners(extent))
    assert_allclose(total, 1, atol=1e-5)


def test_a_network_that_does_not_look_around_gives_the_same_in_tiles() -> None:
    image = np.random.default_rng(0).random((3, 90, 70), np.float32)
    model = Repeat(halo=None)
    assert_allclose(
        upscale(image, model, axes="CYX", tile=20),
        np.repeat(np.repeat(image, 2, 1), 2, 2),
        atol=1e-6,
    )


def test_there_is_no_seam_where_tiles_disagree() -> None:
    # The mean of a tile jumps from one to the next; what is added must not.
    ramp = np.linspace(0, 1, 240, dtype=np.float32)[None].repeat(80, 0)
    result = upscale(ramp, Centred(halo=None), tile=60)
    hard = upscale(ramp, Centred(halo=(0, 0)), tile=60)
    step = np.abs(np.diff(result[:, ::2], axis=1)).max()
    assert step < 3 / 240
    assert np.abs(np.diff(hard[:, ::2], axis=1)).max() > 10 / 240


def test_the_order_of_the_tiles_does_not_matter() -> None:
    image = np.random.default_rng(1).random((100, 120), np.float32)
    model = Centred(halo=None)
    whole = upscale(image, model, tile=30)
    part = upscale(image, model, tile=30)
    assert_array_equal(whole, part)


def test_tiles_report_by_how_much_they_differ() -> None:
    from napari_hrsr.api import settle_intensity
    from napari_hrsr.jobs import plan_job, start_job

    ramp = np.linspace(0, 100, 240, dtype=np.float32)[None].repeat(80, 0)
    job = plan_job(ramp, Centred(halo=None), tile=80)
    out = np.zeros(job.shape, job.dtype)
    found = [done.difference for done in start_job(job, out, settle_intensity(job))]
    # The windows' means lie about 30 apart, of which a quarter is taken off.
    assert 4 < max(found) < 12
    exact = plan_job(ramp, Repeat(halo=(0, 0)), tile=80)
    assert {done.difference for done in start_job(exact, out, settle_intensity(exact))} == {0.0}


@given(
    tile=st.integers(7, 45),
    offset=st.floats(-4, 4),
    seed=st.integers(0, 10),
)
@settings(max_examples=6)
def test_tiles_that_agree_are_not_reported_to_differ(tile: int, offset: float, seed: int) -> None:
    from napari_hrsr.jobs import plan_job, start_job

    image = np.random.default_rng(seed).random((60, 70), np.float32) + np.float32(offset)
    job = plan_job(image, Repeat(halo=None), tile=tile, dtype=np.float32)
    out = np.zeros(job.shape, np.float32)
    levels = Intensity(np.array(0.0), np.array(1.0), np.array(0.0))
    differences = [done.difference for done in start_job(job, out, levels)]
    assert max(differences) < 1e-5


def test_it_is_cancelled_between_windows() -> None:
    calls = iter([False] * 6 + [True] * 1000)
    with pytest.raises(CancelledError):
        upscale(
            np.zeros((200, 200), np.float32), Centred(halo=None), tile=40,
            cancelled=lambda: next(calls),
        )  # fmt: skip
