"""How well several frames are fused: real images, sampled coarsely at random places.

    python benchmarks/frames.py --data DATA --out RESULTS [--images apple,em] [--only x2,x3]

Each image of ``DATA/2d`` is the truth. Frames of it are made by moving it (in Fourier
space, by up to one pixel of the frames either way; not the way the reconstruction
models it), averaging over the pixels of the frames, and adding Gaussian noise, stated
over the range of the truth from its 0.1st to its 99.9th percentile. See `CASES`.
`fuse_frames` gets nothing but the frames. Beside it:

- cubic: one frame, by the cubic B-spline, outer edges aligned;
- mean: average of the frames, each interpolated likewise where it lies by the shifts
  that were found;
- shift-and-add, drizzle: likewise, with the shifts that were found;
- oracle: the reconstruction with the true shifts.

Where two frames are wrong, the result is also compared with that of eight right frames,
and with that of the six right ones alone.

Peak signal-to-noise ratio in decibels, for a peak of that range, without the outer 8
pixels of the frames. The error of a shift is the median over frames and axes, in
pixels of the frames. Seconds are those of the clock for all of `fuse_frames`.

Results are written after each case to ``RESULTS/frames.json`` and ``RESULTS/frames.md``;
what is there already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_hrsr import fuse_frames
from napari_hrsr.files import read_image
from napari_hrsr.regridding import resampling_matrix

IMAGES = {
    "apple": "dlegland__appleCells.tif",
    "leaf": "dlegland__leaf_crop.tif",
    "em": "neubias__xy_8bit__em_mitochondria_er.tif",
    "eye": "neubias__xy_8bit__em_fly_eye.tif",
    "tubules": "neubias__xy_16bit__microtubules.tif",
    "bacteria": "neubias__xy_16bit__bacteria_cords_thick.tif",
    "neuron": "neubias__xy_16bit__rat_hippocampal_neuron.tif",
    "phase": "usiigaci__set1_raw.tif",
    "fly": "cellprofiler__ExampleFly__01_POS002_D.TIF",
    "stain": "torchstain__source.png",
}
"""Names, and files in ``2d``."""

OTHER = "wheat", "dlegland__wheatGrain_tomo_180a_z630.tif"
"""What wrong frames show."""

SIDE, EDGE = 288, 8


@dataclass(frozen=True)
class Case:
    """A way to record an image in frames.

    Attributes
    ----------
    title : str
        For people.
    scale, frames : int
        Fine pixels in a pixel, and number of frames.
    noise : float
        Over the range.
    kind : str
        ``"shifted"``; ``"wrong"``: frames 2 and 6 show another scene;
        ``"copies"``: of one frame; ``"still"``: frames that differ in noise only;
        ``"finer"``: made from an image twice as fine as the truth, so that what
        the reconstruction assumes between fine pixels is put to the test.
    """

    title: str
    scale: int = 2
    frames: int = 8
    noise: float = 0.01
    kind: str = "shifted"


CASES = {
    "x2": Case("x2, 8 frames, 1 % noise"),
    "x3": Case("x3, 16 frames, 1 % noise", scale=3, frames=16),
    "x2-noise": Case("x2, 8 frames, 5 % noise", noise=0.05),
    "x2-wrong": Case("x2, 8 frames, 1 % noise, two show another scene", kind="wrong"),
    "x2-copies": Case("x2, 8 copies of one frame", kind="copies"),
    "x2-still": Case("x2, 8 frames at the same place, 1 % noise", kind="still"),
    "x2-finer": Case("x2, 8 frames, 1 % noise, from an image twice as fine", kind="finer"),
}

COLUMNS = ("cubic", "mean", "shift-and-add", "drizzle", "ours", "oracle")


def read_truth(data: Path, file: str, side: int) -> np.ndarray:
    """Read the part of an image with the most detail, its range from 0 to 1."""
    image = np.asarray(read_image(data / "2d" / file).data[...]).astype(float)
    while image.ndim > 2:
        axis = int(np.argmin(image.shape))
        image = image[..., :3].mean(-1) if file.endswith(".png") else image.take(0, axis)
    side = min(side, *(n // 12 * 12 for n in image.shape))
    starts = [np.unique(np.linspace(0, n - side, 5).astype(int)) for n in image.shape]
    crops = (image[y : y + side, x : x + side] for y in starts[0] for x in starts[1])
    crop = max(crops, key=lambda c: float(np.abs(np.diff(c, axis=0)).mean()))
    low, high = np.percentile(crop, (0.1, 99.9))
    return (crop - low) / (high - low)


def make_frames(
    truth: np.ndarray, case: Case, rng: np.random.Generator, shifts: np.ndarray
) -> np.ndarray:
    """Record frames of an image."""
    big = np.pad(truth, 32, mode="reflect")
    spectrum = np.fft.fft2(big)
    fy, fx = np.fft.fftfreq(big.shape[0])[:, None], np.fft.fftfreq(big.shape[1])
    k = case.scale
    frames = []
    for y, x in shifts * k:
        moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (fy * y + fx * x))).real[
            32:-32, 32:-32
        ]
        coarse = binned(moved, k)
        frames.append(coarse + rng.normal(0, case.noise, coarse.shape))
    return np.stack(frames)


def binned(image: np.ndarray, k: int) -> np.ndarray:
    """Average over squares of pixels."""
    return image.reshape(image.shape[0] // k, k, image.shape[1] // k, k).mean((1, 3))


def draw_shifts(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Draw where frames lie; the first is the reference."""
    shifts = rng.uniform(-1, 1, (case.frames, 2))
    shifts[0] = 0
    return shifts


def record_case(
    data: Path, name: str, case: Case, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
    """Return the truth, the frames, their shifts, and which show another scene."""
    rng = np.random.default_rng(seed)
    shifts = draw_shifts(case, rng)
    if case.kind == "finer":
        finest = read_truth(data, IMAGES[name], 2 * SIDE)
        # Whole pixels of the finest image: nothing is interpolated.
        steps = np.rint(shifts * 4).astype(int)
        padded = np.pad(finest, 8, mode="reflect")
        frames = []
        for y, x in steps:
            moved = padded[8 - y : 8 - y + len(finest), 8 - x : 8 - x + len(finest)]
            coarse = binned(moved, 4)
            frames.append(coarse + rng.normal(0, case.noise, coarse.shape))
        return binned(finest, 2), np.stack(frames), steps / 4, ()
    truth = read_truth(data, IMAGES[name], SIDE)
    if case.kind in ("copies", "still"):
        shifts[:] = 0
    frames = make_frames(truth, case, rng, shifts)
    if case.kind == "copies":
        frames[:] = frames[0]
    if case.kind != "wrong":
        return truth, frames, shifts, ()
    other = read_truth(data, OTHER[1], len(truth))
    frames[[2, 6]] = make_frames(other, case, rng, shifts)[[2, 6]]
    return truth, frames, shifts, (2, 6)


def cubic(frame: np.ndarray, k: int) -> np.ndarray:
    """Interpolate one frame."""
    matrices = [
        resampling_matrix(n, n * k, step=1 / k, offset=(1 / k - 1) / 2) for n in frame.shape
    ]
    return matrices[0] @ frame @ matrices[1].T


def psnr(image: np.ndarray, truth: np.ndarray, edge: int) -> float:
    """Compare inside."""
    inner = slice(edge, -edge)
    error = np.mean(np.square(image[inner, inner] - truth[inner, inner]))
    return float(10 * np.log10(1 / error))


def measure(data: Path, name: str, case: Case, seed: int) -> dict[str, Any]:
    """Run one case on one image."""
    truth, frames, shifts, wrong = record_case(data, name, case, seed)
    frames = frames.astype(np.float32)
    begin = time.perf_counter()
    fusion = fuse_frames(frames, case.scale)
    seconds = time.perf_counter() - begin
    kept = [k for k in range(case.frames) if k not in fusion.left_out]
    base, found, true = frames[kept], fusion.shifts[kept], shifts[kept]
    results = {"cubic": cubic(frames[fusion.reference].astype(float), case.scale)}
    simple = {"mean": "average", "shift-and-add": "shift-and-add", "drizzle": "drizzle"}
    for column, method in simple.items():
        results[column] = fuse_frames(base, case.scale, shifts=found, method=method).data
    results["ours"] = fusion.data
    results["oracle"] = fuse_frames(base, case.scale, shifts=true).data
    row: dict[str, Any] = {c: psnr(results[c], truth, EDGE * case.scale) for c in COLUMNS}
    row["gain"] = row["ours"] - row["cubic"]
    row["over_mean"] = row["ours"] - row["mean"]
    if wrong:
        right = fuse_frames(np.delete(frames, wrong, 0), case.scale).data
        row["right_frames_only"] = psnr(right, truth, EDGE * case.scale)
    error = np.abs(found - true)[1:]
    row |= {
        "shift_error": float(np.median(error)),
        "largest_shift_error": float(error.max()),
        "left_out": sorted(fusion.left_out),
        "right_left_out": sorted(fusion.left_out) == list(wrong),
        "strength": fusion.record["strength"],
        "moving": fusion.record["moving"],
        "message": fusion.message,
        "seconds": seconds,
        "shape": list(frames.shape),
    }
    return row


def table(results: dict[str, Any]) -> str:
    """Return all results as markdown."""
    lines = ["# Several frames, one finer image", ""]
    for key, case in CASES.items():
        rows = results["cases"].get(key, {})
        if not rows:
            continue
        lines += [f"## {case.title}", ""]
        heads = [*COLUMNS, "gain over cubic", "over mean", "shift error", "left out", "s"]
        lines += ["| image | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for name, row in rows.items():
            cells = [f"{row[c]:.2f}" for c in COLUMNS]
            cells += [f"{row['gain']:+.2f}", f"{row['over_mean']:+.2f}"]
            cells += [
                f"{row['shift_error']:.4f}",
                str(row["left_out"] or ""),
                f"{row['seconds']:.1f}",
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        mean = {
            c: float(np.mean([r[c] for r in rows.values()]))
            for c in (*COLUMNS, "gain", "over_mean", "seconds")
        }
        error = float(np.median([r["shift_error"] for r in rows.values()]))
        cells = [f"{mean[c]:.2f}" for c in COLUMNS]
        cells += [
            f"{mean['gain']:+.2f}",
            f"{mean['over_mean']:+.2f}",
            f"{error:.4f}",
            "",
            f"{mean['seconds']:.1f}",
        ]
        lines += ["| **mean** | " + " | ".join(cells) + " |", ""]
        if case.kind == "wrong":
            clean = results["cases"].get("x2", {})
            loss = [clean[n]["ours"] - r["ours"] for n, r in rows.items() if n in clean]
            least = [r["right_frames_only"] - r["ours"] for r in rows.values()]
            lines.append(
                f"Less than with eight right frames: {np.mean(loss):.2f} dB on average, at most "
                f"{max(loss, default=0):.2f}; less than with the six right ones alone: at most "
                f"{max(least):.2f}."
            )
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", default=",".join(IMAGES))
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "frames.json"
    results: dict[str, Any] = {"seed": asked.seed, "side": SIDE, "cases": {}}
    if path.exists():
        before = json.loads(path.read_text())
        if before["seed"] == asked.seed:
            results = before
    for key in asked.only.split(","):
        rows = results["cases"].setdefault(key, {})
        for name in asked.images.split(","):
            if name in rows:
                continue
            rows[name] = row = measure(asked.data, name, CASES[key], asked.seed)
            print(
                f"{key:10} {name:10} "
                + " ".join(f"{c} {row[c]:.2f}" for c in COLUMNS)
                + f" gain {row['gain']:+.2f} over mean {row['over_mean']:+.2f} "
                + f"shifts {row['shift_error']:.4f} left out {row['left_out']} "
                + f"moving {row['moving']:.4f} strength {row['strength']} {row['seconds']:.1f} s",
                flush=True,
            )
            path.write_text(json.dumps(results, indent=1) + "\n")
            (asked.out / "frames.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
