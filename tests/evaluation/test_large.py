"""Images that do not fit in memory give the figures of those that do."""

from __future__ import annotations

import subprocess
import sys
import threading

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.evaluation import evaluate, large_images
from napari_hrsr.evaluation.baseline import cubic_baseline
from napari_hrsr.evaluation.large_images import boxes, opened, richest_box
from napari_hrsr.evaluation.moments import Moments
from napari_hrsr.forward import ForwardModel, PointSpread


@pytest.fixture
def small_tiles(monkeypatch):
    """Boxes of some 30 x 30 pixels, so that small images have many."""
    monkeypatch.setattr(large_images, "TILE", 900)


def scene(shape, factor, seed=0):
    """Truth, noisy source and a result that is a little wrong."""
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.normal(size=[n * k for n, k in zip(shape, factor, strict=True)]), 2)
    truth = 1000 + 100 * truth / truth.std()
    model = ForwardModel(factor, psf_sigma=tuple(0.8 * k for k in factor))
    source = model.apply(torch.from_numpy(truth)).numpy() + rng.normal(0, 3, shape)
    return truth, source, cubic_baseline(source, factor, truth.shape)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("shape", "factor"), [((71, 90), (2, 2)), ((70, 64), (3, 2)), ((9, 41, 50), (1, 2, 2))]
)
@pytest.mark.parametrize("match", [False, True])
def test_tiled_equals_whole(shape, factor, match):
    truth, source, result = scene(shape, factor)
    options = {"source": source, "reference": truth, "match": match, "border": 3}
    if shape[0] < 10:
        options["border"] = 1
    whole = evaluate(result, **options)
    tiled = evaluate(result, **options, in_memory=10**4)
    assert tiled.shape == whole.shape
    assert tiled.factor == whole.factor
    for name in ("noise", "chi_square", "outside", "psnr"):
        assert getattr(tiled.consistency, name) == pytest.approx(
            getattr(whole.consistency, name), rel=1e-9
        )
    np.testing.assert_allclose(
        np.asarray(tiled.consistency.deviation[...]), whole.consistency.deviation,
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    for name in ("error", "pearson", "gain", "offset"):
        assert getattr(tiled.scaled, name) == pytest.approx(getattr(whole.scaled, name), rel=1e-8)
    np.testing.assert_allclose(
        np.asarray(tiled.scaled.error_map[...]), whole.scaled.error_map, rtol=1e-4, atol=1e-3
    )
    assert (tiled.reference.low, tiled.reference.span) == (
        whole.reference.low, whole.reference.span,
    )  # fmt: skip
    for mine, theirs in (
        (tiled.reference.result, whole.reference.result),
        (tiled.reference.cubic, whole.reference.cubic),
    ):
        for name in ("psnr", "ssim", "nrmse", "mae", "pearson", "gain", "offset"):
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), rel=1e-9), name
    assert "part with the most structure" in tiled.remarks[0]
    assert tiled.remarks[0] in str(tiled)
    assert whole.remarks == ()


@pytest.mark.usefixtures("small_tiles")
def test_a_given_instrument_of_any_shape_is_applied_in_tiles():
    _, source, result = scene((60, 70), (2, 2))
    kernel = np.zeros((5, 9))
    kernel[0, 1], kernel[2, 4], kernel[4, 8] = 1, 2, 1
    model = ForwardModel((2, 2), point_spread=PointSpread(kernel))
    whole = evaluate(result, source=source, forward=model, noise=3)
    tiled = evaluate(result, source=source, forward=model, noise=3, in_memory=5000)
    assert tiled.consistency.chi_square == pytest.approx(whole.consistency.chi_square, rel=1e-9)
    fourier = ForwardModel((2, 2), sampling="k-space")
    tiled = evaluate(result, source=source, forward=fourier, noise=3, in_memory=5000)
    assert tiled.consistency is None
    assert any("k-space" in note for note in tiled.notes)


@pytest.mark.usefixtures("small_tiles")
def test_colours_are_luminance_in_tiles_too():
    _, source, result = scene((60, 60), (2, 2))
    colours = [np.stack([x, 0.7 * x, 0.4 * x], -1) for x in (source, result)]
    whole = evaluate(colours[1], source=colours[0], rgb=True)
    tiled = evaluate(colours[1], source=colours[0], rgb=True, in_memory=5000)
    assert tiled.shape == whole.shape
    assert tiled.consistency.chi_square == pytest.approx(whole.consistency.chi_square, rel=1e-9)


@pytest.mark.usefixtures("small_tiles")
def test_what_cannot_be_measured_is_refused():
    truth, source, result = scene((60, 60), (2, 2))
    broken = result.copy()
    broken[100, 90] = np.nan
    with pytest.raises(InputError, match="not finite"):
        evaluate(broken, source=source, in_memory=5000)
    with pytest.raises(InputError, match="constant image"):
        evaluate(result, source=np.ones((60, 60)), in_memory=5000)
    with pytest.raises(InputError, match="has shape"):
        evaluate(result, reference=truth[1:], in_memory=5000)
    with pytest.raises(InputError, match="border"):
        evaluate(result, reference=truth, border=60, in_memory=5000)
    with pytest.raises(InputError, match="complex"):
        evaluate(result.astype(complex), source=source, in_memory=5000)


@pytest.mark.usefixtures("small_tiles")
def test_cancel_stops_between_tiles():
    _, source, result = scene((60, 60), (2, 2))
    stop, seen = threading.Event(), []

    def report(what, done, total):
        seen.append(what)
        if what == "Degrading the result" and done == 2:
            stop.set()

    with pytest.raises(CancelledError):
        evaluate(result, source=source, in_memory=5000, progress=report, cancelled=stop)
    assert seen[-1] == "Degrading the result"


def test_the_box_is_where_the_structure_is():
    image = np.zeros((200, 300))
    image[120:160, 200:260] = np.random.default_rng(0).normal(size=(40, 60))
    image[:] += 1e-6 * np.arange(300)
    found = richest_box(
        opened(image, "source", False), (2.0, 2.0), 4 * 60 * 60, lambda *a: None, lambda: None
    )
    rows, columns = found
    assert rows.start <= 125
    assert rows.stop >= 155
    assert columns.start <= 215
    assert columns.stop >= 245
    assert (rows.stop - rows.start) * (columns.stop - columns.start) * 4 <= 4 * 60 * 60


@given(
    shape=st.lists(st.integers(1, 70), min_size=2, max_size=3),
    voxels=st.integers(1, 5000),
    unit=st.integers(1, 9),
)
def test_boxes_hold_every_pixel_once(shape, voxels, unit):
    seen = np.zeros(shape, int)
    for box in boxes(shape, (unit,) * len(shape), voxels):
        seen[box] += 1
        assert all(s.start % unit == 0 for s in box)
    assert (seen == 1).all()


@settings(max_examples=20)
@given(cut=st.lists(st.integers(1, 199), min_size=0, max_size=4), offset=st.floats(-1e6, 1e6))
def test_moments_of_parts_are_those_of_the_whole(cut, offset):
    rng = np.random.default_rng(1)
    x = rng.normal(size=200) + offset
    y = 3 * x + rng.normal(size=200)
    moments = Moments()
    for a, b in zip(np.split(x, sorted(set(cut))), np.split(y, sorted(set(cut))), strict=True):
        moments.add(a, b)
    assert moments.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    gain, _ = np.polyfit(x - x.mean(), y, 1)
    assert moments.fit()[0] == pytest.approx(gain, rel=1e-6)
    assert moments.second_power == pytest.approx((y**2).mean(), rel=1e-12)


FLAT = """
import resource
import numpy as np, zarr, sys
from pathlib import Path
folder = Path(sys.argv[1])
from napari_hrsr.evaluation import blur_fitting, evaluate, large_images
large_images.TILE, blur_fitting._FITTED = 2**15, 2**15
rng = np.random.default_rng(0)
def image(name, n):
    made = zarr.create_array(folder / name, shape=(n, n), dtype="uint16", chunks=(256, 256))
    for y in range(0, n, 256):
        for x in range(0, n, 256):
            a, b = (np.arange(start, start + 256) / n for start in (y, x))
            wave = 900 + 300 * np.sin(99 * a)[:, None] * np.sin(90 * b)
            made[y:y+256, x:x+256] = (wave + rng.normal(0, 9, (256, 256))).astype("uint16")[
                : n - y, : n - x]
    return made
for side in (192, 384):
    source, result = image(f"source{side}", side), image(f"result{side}", 2 * side)
    truth = image(f"truth{side}", 2 * side)
    found = evaluate(result, source=source, reference=truth, in_memory=2**17)
    assert found.consistency.deviation.shape == (side, side)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_image(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = map(float, done.stdout.split())
    # One float64 copy of the larger result would take 4.7 MB.
    assert second < first + 4
    assert not list(tmp_path.glob("napari-hrsr-*"))


def test_dask_is_read_in_parts():
    _, source, result = scene((60, 60), (2, 2))
    lazy = [da.from_array(x, chunks=32) for x in (source, result)]
    whole = evaluate(result, source=source)
    assert evaluate(lazy[1], source=lazy[0], in_memory=5000).consistency.chi_square == (
        pytest.approx(whole.consistency.chi_square, rel=1e-9)
    )
