"""How much there is to learn: the network of "Make isotropic", taught with the truth.

    python benchmarks/isotropic_ceiling.py --data DATA --out RESULTS [--steps 4000]
        [--cases fib:x4-box,fib:x2]

A network that learns from the slices of a stack can at best do what the same
network does once it has seen what lies between them. For each case it is taught
twice, with the same steps: from the slices of the coarse stack alone, as
``make_isotropic`` does, and from planes across the slices with their truth, taken
from the first half of the volume along y. Both are measured on the second half,
which the latter has not seen, as decibels of PSNR over the cubic B-spline. Where
the second gains little there is little to be gained. Volumes and cases are those
of ``isotropic.py``; results are written after each to ``RESULTS/isotropic_ceiling.json``.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from isotropic import CASES, VOLUMES, b_spline, read_truth, record

from napari_hrsr.isotropic import self_pairs
from napari_hrsr.isotropic.running import (
    Choices,
    make_wishes,
    prepare,
    restoration_job,
    restore,
)
from napari_hrsr.training.patches import Pair, make_pair

APART = 16
"""Voxels between what is learned from and what is measured on."""

DEFAULT_CASES = "fib:x4-box,fib:x2,t1:x4,ct:x4"


def taught_pairs(truth: np.ndarray, coarse: np.ndarray) -> type[self_pairs.SelfPairs]:
    """Return what draws planes across the slices with their truth, in place of `SelfPairs`."""
    half = truth.shape[1] // 2

    class TaughtPairs(self_pairs.SelfPairs):
        def __call__(self, rng: np.random.Generator) -> Pair:
            low, high, noise = self.intensity.at(())
            if rng.random() < 0.5:
                y = int(rng.integers(half))
                planes = coarse[:, y], truth[:, y]
            else:
                x = int(rng.integers(truth.shape[2]))
                planes = coarse[:, :half, x], truth[:, :half, x]
            given, wanted = map(np.ascontiguousarray, planes)
            return make_pair(given, wanted, ndim=2, levels=(low, high), noise=noise)

    return TaughtPairs


def restored(coarse: np.ndarray, kind: str, factor: int, steps: int) -> np.ndarray:
    """Learn, and make the stack isotropic."""
    wishes = make_wishes((factor, 1, 1), profile=kind, fwhm=float(factor))
    choices = Choices(steps=steps, dtype="float32")
    measured, model = prepare(coarse, None, wishes, choices, lambda *state: None, lambda: False)
    job = restoration_job(measured, model, choices)
    out = np.zeros(job.shape, np.float32)
    restore(job, measured, out, lambda *state: None, lambda: False)
    return out


def psnr(result: np.ndarray, truth: np.ndarray, peak: float) -> float:
    """Return the peak signal-to-noise ratio in decibels."""
    return 10 * math.log10(peak**2 / float(np.mean((result.astype(float) - truth) ** 2)))


def measure(data: Path, volume: str, name: str, steps: int) -> dict[str, Any]:
    """Learn both ways in one case."""
    case = CASES[name]
    truth = read_truth(data, volume, case.factor)
    coarse = record(truth, case, 1)
    peak = float(truth.max() - truth.min())
    unseen = np.s_[:, truth.shape[1] // 2 + APART :]
    spline = psnr(b_spline(coarse, case.factor)[unseen], truth[unseen], peak)
    found = {"volume": volume, "case": name, "steps": steps, "b-spline": spline}
    own = restored(coarse, case.kind, case.factor, steps)
    found["from its own slices"] = psnr(own[unseen], truth[unseen], peak) - spline
    with patch.object(self_pairs, "SelfPairs", taught_pairs(truth, coarse)):
        taught = restored(coarse, case.kind, case.factor, steps)
    found["from the truth of the other half"] = psnr(taught[unseen], truth[unseen], peak) - spline
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as markdown."""
    lines = [
        "# How much there is to learn",
        "",
        "Made by `python benchmarks/isotropic_ceiling.py`. Decibels of PSNR over the cubic",
        "B-spline, on the half of the volume that the taught network has not seen.",
        "",
        "| volume | case | steps | B-spline, dB | from its own slices | taught with the truth |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        own, taught = row["from its own slices"], row["from the truth of the other half"]
        lines.append(
            f"| {VOLUMES[row['volume']][0]} | {CASES[row['case']].title} | {row['steps']} "
            f"| {row['b-spline']:.2f} | {own:+.2f} | {taught:+.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--cases", default=DEFAULT_CASES)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for chosen in options.cases.split(","):
        volume, _, name = chosen.partition(":")
        rows.append(measure(options.data, volume, name, options.steps))
        (options.out / "isotropic_ceiling.json").write_text(json.dumps(rows, indent=1) + "\n")
        (options.out / "isotropic_ceiling.md").write_text(table(rows))
        print(table(rows[-1:]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
