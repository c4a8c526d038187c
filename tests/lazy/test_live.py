"""A live view without a viewer."""

import gc
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_hrsr import HrsrError, live_view, upscale
from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.lazy import live as live_module
from napari_hrsr.lazy import sampling, source_levels
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.running import Runner

TIMEOUT = 60


def image(shape=(90, 70), dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random(shape) * 200).astype(dtype)


def looked_at(view, key):
    """Return the pixels of a place after they have been computed."""
    np.asarray(view.array[key])
    assert view.wait(TIMEOUT)
    assert view.blocks.wait(TIMEOUT)
    return np.asarray(view.array[key])


@pytest.fixture
def opened():
    """Open views that are closed, and whose threads have ended, after the test."""
    views = []

    def make(*args, **options):
        views.append(live_view(*args, **options))
        return views[-1]

    yield make
    for view in views:
        view.close()
        assert view.join(TIMEOUT)


class OnDisk:
    """An array that says it is read in chunks."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.shape, self.dtype, self.chunks = pixels.shape, pixels.dtype, (32, 32)

    def __getitem__(self, key):
        return self._pixels[key].copy()


class Gate:
    """Holds every call of the network until it is opened."""

    def __init__(self, monkeypatch):
        self.reached, self.opened = threading.Event(), threading.Event()
        self.calls = 0
        forward = Runner._forward

        def held(runner, *arguments):
            self.calls += 1
            self.reached.set()
            assert self.opened.wait(TIMEOUT)
            return forward(runner, *arguments)

        monkeypatch.setattr(Runner, "_forward", held)


@pytest.fixture
def gate(monkeypatch, opened):
    # After `opened`, so that it is opened before threads are waited for.
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


CASES = {
    "plane": ((150, 170), None, "general-2d-x2", (slice(40, 130), slice(200, 290))),
    "slices": ((3, 60, 50), "ZYX", "general-2d-x2", (1, slice(30, 90), slice(None))),
    "volume": ((12, 40, 44), None, "general-3d-x2", (9, slice(10, 60), slice(20, 70))),
    "volume from the side": ((12, 40, 44), None, "general-3d-x2", (slice(None), 31, slice(20, 70))),
    "colours": ((60, 50, 3), "YXS", "general-2d-x2", (slice(10, 80), slice(30, 90))),
    "opacity": ((60, 50, 4), "YXS", "linear-2x2", (slice(10, 80), slice(30, 90))),
    "channels in time": ((2, 3, 40, 50), "TCYX", "cubic-2x2", (1, 2, slice(10, 70), slice(0, 60))),
    "same size": ((90, 70), None, "denoise-2d", (slice(20, 80), slice(10, 50))),
    "thick slices": ((8, 40, 30), None, "slices-3d-4x1x1", (11, slice(5, 35), slice(0, 30))),
    "chain": ((90, 70), None, ["denoise-2d", "cubic-2x2"], (slice(20, 80), slice(10, 50))),
}


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_those_of_the_whole_image(case, opened):
    shape, axes, model, key = CASES[case]
    source = image(shape)
    view = opened(source, model, axes=axes, tile=32 if len(shape) == 2 else 16)
    whole = upscale(source, model, axes=axes, tile=view.job.plan.tile)
    assert (view.array.shape, view.array.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(looked_at(view, key), whole[key])


@pytest.mark.parametrize("kind", ["zarr", "dask", "memory map", "float", "big-endian"])
def test_pixels_are_those_of_the_whole_image_for_every_source(kind, opened, tmp_path):
    pixels = image((120, 100))
    if kind == "zarr":
        source = zarr.open(tmp_path / "a.zarr", mode="w", shape=pixels.shape, dtype=pixels.dtype,
                           chunks=(32, 32))  # fmt: skip
        source[:] = pixels
    elif kind == "dask":
        source = da.from_array(pixels, chunks=(40, 30))
    elif kind == "memory map":
        source = np.memmap(tmp_path / "a.raw", np.uint16, "w+", shape=pixels.shape)
        source[:] = pixels
    else:
        source = pixels.astype(np.float32 if kind == "float" else ">u2")
    view = opened(source, "general-2d-x2", tile=32)
    key = (slice(70, 190), slice(30, 140))
    whole = upscale(source, "general-2d-x2", tile=32)
    np.testing.assert_array_equal(looked_at(view, key), whole[key])


def test_the_numbers_are_those_of_the_first_measurement(opened):
    source = image()
    view = opened(source, "general-2d-x2", consistent=True, tile=32)
    whole = upscale(source, "general-2d-x2", consistent=True, tile=32)
    np.testing.assert_array_equal(looked_at(view, (slice(0, 80), slice(0, 80))), whole[:80, :80])
    assert view.record("cells")["source"] == "cells"
    assert view.record()["consistent"]
    assert view.record()["intensity_sampled"] is False


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_until_pixels_are_computed_they_are_interpolated_in_place(dtype, gate, opened):
    source = image((40, 30), dtype)
    view = opened(source, "general-2d-x2", tile=16)
    early = np.asarray(view.array[7:61, 5:60])
    linear = Interpolation(2, (2, 2), "linear")
    expected = linear(torch.from_numpy(source.astype(np.float32))[None, None])[0, 0].numpy()
    tolerance = 0.5001 if dtype == np.uint8 else 1e-4
    np.testing.assert_allclose(early, expected[7:61, 5:60], atol=tolerance)
    assert gate.reached.wait(TIMEOUT)


def test_pixels_that_are_there_are_shown_beside_those_that_are_not(opened, gate):
    source = image((64, 64))
    view = opened(source, "general-2d-x2", tile=32)
    whole = None
    gate.opened.set()
    left = looked_at(view, (slice(None), slice(0, 64)))
    gate.opened.clear()
    both = np.asarray(view.array)
    np.testing.assert_array_equal(both[:, :64], left)
    gate.opened.set()
    assert view.wait(TIMEOUT)
    whole = upscale(source, "general-2d-x2", tile=32)
    assert (both[:, 64:] != whole[:, 64:]).any()
    np.testing.assert_array_equal(np.asarray(view.array), whole)


def test_nothing_is_computed_before_it_is_looked_at_or_twice(opened, gate):
    gate.opened.set()
    view = opened(image((200, 200)), "cubic-2x2", tile=20)
    looked_at(view, (slice(0, 40), slice(0, 40)))
    assert len(view.cache) == 1
    calls = gate.calls
    looked_at(view, (slice(10, 30), slice(0, 40)))
    assert gate.calls == calls


def test_what_is_no_longer_looked_at_is_left_out(opened, gate, monkeypatch):
    monkeypatch.setattr("napari_hrsr.jobs.choose_batch", lambda *_: 1)
    view = opened(image((200, 200)), "cubic-2x2", tile=20)
    np.asarray(view.array[0:200, 0:200])
    assert gate.reached.wait(TIMEOUT)
    np.asarray(view.array[320:360, 320:360])
    assert view.progress == (0, 1)
    gate.opened.set()
    assert view.wait(TIMEOUT)
    # The tile that was under way, at most one that had been read ahead, and the new one.
    assert len(view.cache) <= 3
    assert view.progress == (1, 1)


def test_what_is_only_passed_by_is_not_computed(opened, monkeypatch):
    monkeypatch.setattr(live_module, "_REST", 2.0)
    view = opened(image((64, 200)), "cubic-2x2", tile=16)
    passed, reached = ((0, 32), (0, 32)), ((0, 32), (300, 332))
    np.asarray(view.array[:32, :32])
    np.asarray(view.array[:32, 300:332])
    assert view.wait(TIMEOUT)
    assert all(tile.index in view.cache for tile in view.tiles.tiles(reached))
    assert not any(tile.index in view.cache for tile in view.tiles.tiles(passed))


def test_a_thread_that_holds_nothing_up_waits_for_the_source(opened, gate, monkeypatch):
    monkeypatch.setattr(source_levels, "_PATIENCE", TIMEOUT)
    source = image()
    view = opened(OnDisk(source), "cubic-2x2")
    with ThreadPoolExecutor(1) as thread:
        seen = thread.submit(np.asarray, view.array[...]).result(TIMEOUT)
    np.testing.assert_array_equal(seen, np.asarray(opened(source, "cubic-2x2").array[...]))
    assert not view.outdated
    gate.opened.set()
    assert view.wait(TIMEOUT)
    assert view.outdated
    np.asarray(view.array[...])
    assert not view.outdated


def test_the_middle_of_what_is_looked_at_comes_first(opened, monkeypatch):
    monkeypatch.setattr("napari_hrsr.jobs.choose_batch", lambda *_: 1)
    order = []
    put = live_module.PixelCache.put
    monkeypatch.setattr(
        live_module.PixelCache, "put", lambda cache, *a: (order.append(a[0]), put(cache, *a))
    )
    view = opened(image((100, 100)), "cubic-2x2", tile=20)
    looked_at(view, ...)
    assert order[0] == 12
    assert sorted(order) == list(range(25))
    assert set(order[-4:]) == {0, 4, 20, 24}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_computing_gives_way_to_the_thread_that_draws(opened, gate):
    before = set(threading.enumerate())
    view = opened(image(), "cubic-2x2")
    np.asarray(view.array[:40, :40])
    assert gate.reached.wait(TIMEOUT)
    (computing,) = (t for t in {*threading.enumerate()} - before if t.name == "hrsr-live")
    drawing = threading.main_thread()
    priority = [os.getpriority(os.PRIO_PROCESS, t.native_id) for t in (computing, drawing)]
    assert priority[0] > priority[1]


def test_nobody_looking_means_nothing_is_computed(opened, gate):
    view = opened(image(), "cubic-2x2", tile=16)
    view.in_view = lambda: False
    np.asarray(view.array)
    assert view.wait(TIMEOUT)
    assert (gate.calls, len(view.cache)) == (0, 0)


def test_memory_stays_within_its_bound(opened, monkeypatch):
    monkeypatch.setattr(source_levels, "_SIDE", 32)
    rng = np.random.default_rng(1)
    source = OnDisk(image((500, 500)))
    bound = 300_000
    view = opened(source, "linear-2x2", tile=32, memory=bound)
    for y, x in rng.integers(0, 900, (200, 2)):
        key = (slice(y, y + 100), slice(x, x + 100))
        np.asarray(view.array[key])
        assert view.wait(TIMEOUT)
        assert view.nbytes <= bound
    assert view.cache.most + view.blocks.cache.most <= bound
    # It is used, not merely kept empty.
    assert view.cache.most > bound / 2
    assert view.blocks.cache.most > bound / 8


def test_values_that_cannot_be_used_are_shown_interpolated_and_told_once(opened):
    source = image((128, 128), np.float32)
    source[40, 40] = np.nan
    source[100, 100] = np.inf
    view = opened(source, "cubic-2x2", tile=32)
    looked_at(view, ...)
    found = looked_at(view, ...)
    assert len(view.told) == 1
    assert "NaN" in view.told[0]
    clean = source.copy()
    clean[~np.isfinite(clean)] = 0
    linear = Interpolation(2, (2, 2), "linear")(torch.from_numpy(clean)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found[64:76, 64:76], linear[64:76, 64:76], atol=1e-3)
    assert view.record()["intensity_sampled"]
    whole = upscale(clean, "cubic-2x2", tile=32)
    np.testing.assert_allclose(found[:60, 140:], whole[:60, 140:], atol=1e-3)


def test_a_large_image_is_sampled_and_says_so(opened, monkeypatch):
    monkeypatch.setattr(sampling, "READ_WHOLE", 1000)
    view = opened(image(dtype=np.float32), "cubic-2x2")
    looked_at(view, (slice(0, 20), slice(0, 20)))
    assert view.record()["intensity_sampled"]


def test_given_numbers_are_taken(opened):
    source = image(dtype=np.float32)
    first = opened(source, "general-2d-x2", tile=32)
    looked_at(first, (slice(0, 20), slice(0, 20)))
    second = opened(source, "general-2d-x2", tile=32, intensity=first.settled.intensity, noise=0.5)
    looked_at(second, (slice(0, 20), slice(0, 20)))
    assert second.record()["intensity"]["low"] == first.record()["intensity"]["low"]
    assert np.all(second.settled.intensity.noise == 0.5)


def test_a_failure_is_told_once_and_leaves_the_interpolation(opened, monkeypatch):
    def broken(*_):
        raise ValueError("no such kernel")

    monkeypatch.setattr(Runner, "_forward", broken)
    view = opened(image(), "general-2d-x2", tile=16)
    np.asarray(view.array[:40, :40])
    assert view.wait(TIMEOUT)
    assert np.asarray(view.array[:40, :40]).any()
    assert view.closed
    assert len(view.told) == 1
    assert "no such kernel" in view.told[0]


def test_a_source_that_cannot_be_read_is_told_once(opened):
    def block(block_info=None):
        raise OSError("the disk is gone")

    source = da.map_blocks(block, chunks=((50, 50), (50, 50)), dtype=np.uint16)
    view = opened(source, "cubic-2x2", tile=16)
    looked_at(view, ...)
    # Once by the thread that computes, once by the one that reads.
    assert 1 <= len(view.told) <= 2
    assert all("the disk is gone" in message for message in view.told)


def test_closing_stops_at_once_and_lets_go_of_everything(gate):
    view = live_view(image((300, 300)), "cubic-2x2", tile=16)
    np.asarray(view.array)
    assert gate.reached.wait(TIMEOUT)
    view.close()
    calls = gate.calls
    gate.opened.set()
    assert view.join(TIMEOUT)
    assert view.nbytes == 0
    assert gate.calls <= calls + 1
    np.asarray(view.array[:10, :10])
    gone = weakref.ref(view)
    del view
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("shape", "model", "shapes"),
    [
        ((300, 200), "cubic-2x2", [(600, 400), (300, 200)]),
        ((300, 200), "denoise-2d", [(300, 200), (150, 100)]),
        ((5000, 300), "cubic-2x2", [(10000, 600), (5000, 300), (2500, 150), (1250, 75)]),
        ((10, 300, 200), "slices-3d-4x1x1", [(40, 300, 200), (10, 150, 100)]),
    ],
)
def test_coarse_levels_are_the_source(shape, model, shapes, opened):
    source = image(shape, np.uint8)
    view = opened(source, model)
    assert [tuple(level.shape) for level in view.levels] == shapes
    assert all(level.dtype == np.uint8 for level in view.levels)
    coarse = np.asarray(view.levels[-1])
    k = round(source.shape[-1] / coarse.shape[-1])
    middle = slice(k // 2, None, k)
    np.testing.assert_array_equal(coarse, source[..., middle, middle])


def test_a_plane_on_disk_is_filled_into_its_coarsest_level(opened):
    pixels = image((3000, 500))
    view = opened(da.from_array(pixels, chunks=(512, 512)), "cubic-2x2")
    kept = np.asarray(view.levels[-1])
    assert view.blocks.wait(TIMEOUT)
    np.testing.assert_array_equal(kept, pixels[1::2, 1::2])


def test_what_cannot_be_looked_at_is_refused(opened):
    view = opened(image(), "cubic-2x2")
    with pytest.raises(InputError, match="live view"):
        upscale(view.array, "cubic-2x2")
    with pytest.raises(InputError, match="more memory"):
        live_view(image((500, 500)), "cubic-2x2", memory=1000)
    with pytest.raises(HrsrError):
        live_view(image(), "no-such-model")


def test_models_that_give_values_of_their_own_are_refused(monkeypatch):
    from dataclasses import replace

    from napari_hrsr import load_model

    model = load_model("general-2d-x2")
    model.spec = replace(model.spec, restored=False)
    with pytest.raises(ModelError, match="values of its own"):
        live_view(image(), model)
