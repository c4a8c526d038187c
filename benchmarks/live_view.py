"""Measure how soon a live view is there after a pan, and whether the viewer waits for it.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/live_view.py

Opens a real napari window on an image of 20000 x 20000 pixels (uint16, three
levels of zarr, written to a temporary folder) and on a volume of 64 x 1024 x
1024 voxels (uint8, in memory), each with napari's slicing in the main thread
and in a thread of its own. The source's own layer is hidden. After a jump to a new
place it prints

- the time until the window shows the computed pixels, beside the time that the
  same tiles take with nothing else running, from the same source;
- the longest time for which the window handled no event, beside that of napari
  with the source alone;
- the most bytes that the live view held over random pans, and its bound.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
import zarr
from napari.settings import get_settings
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEventLoop, QTimer

from napari_hrsr import live_view
from napari_hrsr._napari.live_view import LiveViewLayer
from napari_hrsr.jobs import start_job

SIDE, LEVELS, CHUNK = 20_000, 3, 1024
VOLUME = (64, 1024, 1024)
BOUND = 128 * 2**20


class Heartbeat:
    """A timer of the window's event loop that remembers the longest gap between its ticks."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(10)

    def reset(self) -> None:
        """Forget all gaps."""
        self.longest, self._last = 0.0, time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now


@dataclass
class Jumps:
    """What was measured of several jumps, in seconds."""

    shown: list[float]
    bare: list[float]
    blocked: list[float]
    tiles: list[int]


def pattern(shape: tuple[int, ...]) -> np.ndarray:
    """Return waves of many lengths and noise, from 0 to 1."""
    rng = np.random.default_rng(0)
    grid = np.meshgrid(
        *(np.arange(n, dtype=np.float32) for n in shape),
        indexing="ij",
        sparse=True,
    )
    lengths = np.random.default_rng(0).normal(0, 0.3, (6, len(shape)))
    waves = sum(np.sin(sum(g * k for g, k in zip(grid, wave, strict=True))) for wave in lengths)
    noise = rng.standard_normal(shape, np.float32) * 0.01
    return np.clip(0.5 + waves / 14 + noise, 0, 1)


def write_plane(folder: Path) -> list[Any]:
    """Write the large plane and its coarser levels; return them as zarr arrays."""
    levels = [
        zarr.create_array(
            folder / str(level),
            shape=(SIDE >> level, SIDE >> level),
            chunks=(CHUNK >> min(level, 1),) * 2,
            dtype=np.uint16,
        )
        for level in range(LEVELS)
    ]
    step = 4 * CHUNK
    whole = (pattern((step, step)) * 4000).astype(np.uint16)
    for y, x in itertools.product(range(0, SIDE, step), repeat=2):
        # The same waves from another place on: no two chunks are equal.
        block = np.roll(whole, (y // 7, x // 11), (0, 1))[: SIDE - y, : SIDE - x]
        for level, array in enumerate(levels):
            k = 2**level
            part = block[::k, ::k]
            array[y // k : y // k + part.shape[0], x // k : x // k + part.shape[1]] = part
    return levels


def spin(until: Callable[[], bool], limit: float = 120.0) -> float:
    """Run the event loop until something is so; return the seconds it took."""
    loop, timer, start = QEventLoop(), QTimer(), time.perf_counter()

    def look() -> None:
        if until() or time.perf_counter() - start > limit:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(10)
    loop.exec()
    timer.stop()
    return time.perf_counter() - start


def rest(seconds: float) -> None:
    """Run the event loop for a time."""
    end = time.perf_counter() + seconds
    spin(lambda: time.perf_counter() > end)


class Watcher:
    """Knows when the window has drawn what was computed."""

    def __init__(self, live: LiveViewLayer, viewer: napari.Viewer) -> None:
        self.live, self.viewer = live, viewer
        self.drawn = False
        self._waiting = False
        canvas = viewer.window._qt_viewer.canvas
        canvas._scene_canvas.events.draw.connect(self._on_draw)
        live.layer.events.set_data.connect(self._on_set)

    def expect(self) -> None:
        """Wait for the next complete picture."""
        self.drawn = self._waiting = False

    def _on_set(self, _: Any) -> None:
        done, total = self.live.view.progress
        self._waiting = total > 0 and done == total and self._complete()

    def _on_draw(self, _: Any) -> None:
        self.drawn = self.drawn or self._waiting

    def _complete(self) -> bool:
        """Tell whether every tile of what napari holds is computed, not only asked for."""
        view, layer = self.live.view, self.live.layer
        return all(tile.index in view.cache for tile in view.tiles.tiles(in_view(layer)))


def in_view(layer: Any) -> tuple[tuple[int, int], ...]:
    """Return the box of the result that napari shows."""
    point = layer.world_to_data(napari.current_viewer().dims.point)
    displayed = layer._slice_input.displayed
    return tuple(
        (int(a), int(b) + 1) if axis in displayed else (round(point[axis]), round(point[axis]) + 1)
        for axis, (a, b) in enumerate(layer.corner_pixels.T)
    )


def bare(live: LiveViewLayer) -> tuple[float, int]:
    """Compute the tiles in view with nothing else running; return seconds and their number."""
    view = live.view
    tiles = [tile.index for tile in view.tiles.tiles(in_view(live.layer))]

    class Nowhere:
        shape, dtype = view.job.shape, view.job.dtype

        def __setitem__(self, key: Any, value: Any) -> None:
            pass

    start = time.perf_counter()
    for _ in start_job(view.job, Nowhere(), view.settled.intensity, indices=tiles):
        pass
    return time.perf_counter() - start, len(tiles)


def move(viewer: napari.Viewer, source: Any, rng: np.random.Generator) -> None:
    """Jump to a random place, and slice."""
    shape = source.data[0].shape if source.multiscale else source.data.shape
    if len(shape) == 3:
        viewer.dims.set_point(0, float(rng.integers(shape[0])))
    margin = 0.15
    place = [n * rng.uniform(margin, 1 - margin) for n in shape[-2:]]
    viewer.scene.camera.center = (0, *place)


def alone(viewer: napari.Viewer, source: Any) -> float:
    """Return for how long napari by itself handles no event while it shows the source."""
    rng, heartbeat = np.random.default_rng(2), Heartbeat()
    for _ in range(10):
        move(viewer, source, rng)
        rest(0.3)
    return heartbeat.longest


def measure(
    viewer: napari.Viewer, source: Any, model: str, jumps: int, pans: int
) -> tuple[Jumps, float, int]:
    """Open a live view, jump about, pan about; return what was measured."""
    live = LiveViewLayer(viewer, source, live_view(source, model, memory=BOUND))
    watcher, heartbeat = Watcher(live, viewer), Heartbeat()
    rng = np.random.default_rng(1)
    # The live view shows the source where it is not upscaled: napari need not slice it too.
    source.visible = False
    watcher.expect()
    move(viewer, source, rng)
    spin(lambda: watcher.drawn)
    rest(1.0)
    found = Jumps([], [], [], [])
    for _ in range(jumps):
        watcher.expect()
        heartbeat.reset()
        start = time.perf_counter()
        move(viewer, source, rng)
        spin(lambda: watcher.drawn)
        found.shown.append(time.perf_counter() - start)
        found.blocked.append(heartbeat.longest)
        rest(0.3)
        took, count = bare(live)
        found.bare.append(took)
        found.tiles.append(count)
    heartbeat.reset()
    for _ in range(pans):
        move(viewer, source, rng)
        rest(0.1)
        assert live.view.nbytes <= BOUND
    panning = heartbeat.longest
    most = live.view.cache.most + live.view.blocks.cache.most
    view = live.view
    live.remove()
    view.join()
    return found, panning, most


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jumps", type=int, default=7)
    parser.add_argument("--pans", type=int, default=200)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hrsr-live-"))
    try:
        plane = write_plane(folder)
        volume = (pattern(VOLUME) * 200).astype(np.uint8)
        print("| image, slicing | tiles in view | bare s | shown after s | ratio (median, worst) | "
              "longest block: napari alone, jumps, pans | most held / bound |")  # fmt: skip
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, data, model in (
            (f"{SIDE} x {SIDE} zarr", plane, "general-2d-x2"),
            (f"{' x '.join(map(str, VOLUME))}", volume, "general-3d-x2"),
        ):
            for threaded in (False, True):
                get_settings().experimental.async_ = threaded
                viewer = napari.Viewer()
                viewer.window.resize(1300, 900)
                with notification_manager:
                    source = viewer.add_image(
                        data, name="source", multiscale=isinstance(data, list), colormap="gray",
                        contrast_limits=(0, 4000 if isinstance(data, list) else 200),
                    )  # fmt: skip
                    viewer.scene.camera.zoom = 1.6 if isinstance(data, list) else 4.0
                    rest(2.0)
                    napari_only = alone(viewer, source)
                    found, panning, most = measure(
                        viewer, source, model, options.jumps, options.pans
                    )
                ratios = np.array(found.shown) / np.array(found.bare)
                print(
                    f"| {name}, {'async' if threaded else 'sync'} | {np.median(found.tiles):.0f} | "
                    f"{np.median(found.bare):.2f} | {np.median(found.shown):.2f} | "
                    f"{np.median(ratios):.2f}, {ratios.max():.2f} | "
                    f"{1000 * napari_only:.0f}, {1000 * max(found.blocked):.0f}, "
                    f"{1000 * panning:.0f} ms | "
                    f"{most / 2**20:.0f} / {BOUND / 2**20:.0f} MiB |",
                    flush=True,
                )
                viewer.close()
    finally:
        get_settings().experimental.async_ = False
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
