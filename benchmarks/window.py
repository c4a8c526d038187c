"""Measure whether the viewer stays responsive during a run and gives memory back.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/window.py

Opens a real napari window and upscales an image of 2048 x 2048 pixels (uint16)
and a volume of 64 x 256 x 256 voxels (uint8) by two with the widgets. Prints
the longest time for which the window handled no event, and the memory after
the first and the tenth of ten runs, next to that of napari alone showing and
removing layers of the same size.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

import napari
import numpy as np
import psutil
from qtpy.QtCore import QEventLoop, QTimer

from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.widget import SuperResolution, SuperResolution2D, SuperResolution3D


class Heartbeat:
    """A timer of the window's event loop that remembers the gaps between its ticks."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(5)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now

    def stop(self) -> None:
        """Stop the timer."""
        self._timer.stop()


def structured_image(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return waves of many lengths with a little noise, over most of the range."""
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    waves = sum(
        np.sin(sum(g * k for g, k in zip(grid, rng.normal(0, 0.3, len(shape)), strict=True)))
        for _ in range(6)
    )
    image = 0.5 + waves / 14 + rng.normal(0, 0.01, shape)
    return (np.clip(image, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def run(widget: SuperResolution) -> tuple[float, Heartbeat]:
    """Run a widget to its end in the window's event loop."""
    heartbeat, loop = Heartbeat(), QEventLoop()

    def leave(_: str) -> None:
        loop.quit()

    widget.controller.ended.connect(leave)
    start = time.perf_counter()
    widget.run()
    loop.exec()
    took = time.perf_counter() - start
    widget.controller.ended.disconnect(leave)
    heartbeat.stop()
    return took, heartbeat


def settle() -> int:
    """Let the event loop come to rest; return the memory of the process in bytes."""
    loop = QEventLoop()
    QTimer.singleShot(300, loop.quit)
    loop.exec()
    gc.collect()
    return psutil.Process().memory_info().rss


def responsiveness(viewer: napari.Viewer, folder: Path | None) -> None:
    """Print the longest gap between two events during a run in 2D and in 3D."""
    cases = [
        (SuperResolution2D, (2048, 2048), "uint16"),
        (SuperResolution3D, (64, 256, 256), "uint8"),
    ]
    print("| case | run | longest gap | 99th percentile | ticks |")
    print("| --- | --- | --- | --- | --- |")
    for kind, shape, dtype in cases:
        viewer.layers.clear()
        source = viewer.add_image(structured_image(shape, dtype), name="source", colormap="gray")
        widget = kind(viewer)
        dock = viewer.window.add_dock_widget(widget, name=kind.__name__)
        settle()
        took, heartbeat = run(widget)
        gaps = np.array(heartbeat.gaps) * 1000
        label = " x ".join(map(str, shape))
        print(
            f"| {label} {dtype} x2 | {format_time(took)} | {gaps.max():.0f} ms | "
            f"{np.percentile(gaps, 99):.0f} ms | {len(gaps)} |"
        )
        result = viewer.layers[-1]
        edges = [layer.extent.world + np.array([[-0.5], [0.5]]) * layer.scale
                 for layer in (source, result)]  # fmt: skip
        print(f"  outer edges differ by {np.abs(edges[0] - edges[1]).max():.1e} source pixels")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            settle()
            viewer.screenshot(
                str(folder / f"window-{len(shape)}d.png"), canvas_only=False, flash=False
            )
        viewer.window.remove_dock_widget(dock)


def memory(viewer: napari.Viewer, runs: int) -> None:
    """Print the memory after each of several runs whose layers were removed."""
    data = structured_image((1024, 1024), "uint16")
    larger = np.repeat(np.repeat(data, 2, 0), 2, 1)
    alone = []
    for _ in range(runs):
        viewer.layers.clear()
        viewer.add_image(data)
        viewer.add_image(larger.copy())
        settle()
        viewer.layers.clear()
        alone.append(settle())
    widget = SuperResolution2D(viewer)
    viewer.window.add_dock_widget(widget, name="memory")
    ours = []
    for _ in range(runs):
        viewer.add_image(data)
        run(widget)
        viewer.layers.clear()
        ours.append(settle())
    growth, baseline = ours[-1] - ours[0], alone[-1] - alone[0]
    print(f"memory after run 1: {ours[0] / 2**20:.0f} MiB, after run {runs}: "
          f"{ours[-1] / 2**20:.0f} MiB ({growth / ours[0]:+.1%}); "
          f"napari alone grew by {baseline / 2**20:.0f} MiB; "
          f"ours less napari's: {(growth - baseline) / ours[0]:+.1%}")  # fmt: skip


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of the window")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(1300, 900)
    responsiveness(viewer, options.screenshots)
    memory(viewer, options.runs)
    viewer.close()


if __name__ == "__main__":
    main()
