"""How many false structures, pasted into a result, the consistency map finds.

    python benchmarks/planted_fakes.py --data DATA --out RESULTS

DATA is the folder of training images, with ``2d`` in it. The middle of each
image is upscaled as it is, with `general-2d-x2`. Then 100 discs and boxes, 2 to
5 pixels of the source wide, bright or dark, three times the noise once they are
degraded, are pasted in one by one. One is found if its mean score
(`local_score` for its size) is in the top per cent of the map. The same is done
with a result that was made consistent with its source. Images with very
different amounts of noise are there: over noise too weak for the eye, what a
network gets wrong everywhere hides a structure of three times that noise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import napari_hrsr
from napari_hrsr.errors import HrsrError
from napari_hrsr.evaluation import check_consistency, local_score, make_consistent
from napari_hrsr.evaluation.consistency import Consistency
from napari_hrsr.files import read_image

SIDE = 224
PLACEMENTS = 100
SIZES = (2, 5)
MODEL = "general-2d-x2"


def structure(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a disc or a box of a size in source pixels, at a place between pixels."""
    wide = 2.0 * size
    centre = [rng.uniform(wide, n - wide) for n in shape]
    y, x = np.ogrid[: shape[0], : shape[1]]
    down, across = np.abs(y - centre[0]) / wide, np.abs(x - centre[1]) / wide
    if rng.random() < 0.5:
        return (down**2 + across**2 <= 0.25).astype(float)
    return (np.maximum(down, across) <= 0.5).astype(float)


def found(before: Consistency, shape: tuple[int, ...]) -> int:
    """Count the structures that are found. The instrument is linear: deviations add up."""
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(PLACEMENTS):
        size = int(rng.integers(SIZES[0], SIZES[1] + 1))
        pasted = torch.from_numpy(structure(shape, size, rng))
        seen = before.forward.apply(pasted).numpy()
        height = rng.choice([-1, 1]) * 3 / seen.max()
        score = local_score(before.deviation + height * seen, size)
        count += score[seen > 0.5 * seen.max()].mean() >= np.quantile(score, 0.99)
    return int(count)


def measure(path: Path) -> dict[str, float] | None:
    """Measure one image; None if it is no single plane, or shows no noise."""
    image = np.asarray(read_image(path).data)
    if image.ndim != 2 or min(image.shape) < 64:
        return None
    middle = tuple(slice(max(0, (n - SIDE) // 2), (n + SIDE) // 2) for n in image.shape)
    source = image[middle].astype(np.float64)
    result = napari_hrsr.upscale(source.astype(np.float32), MODEL).astype(np.float64)
    try:
        before = check_consistency(result, source)
        projected = make_consistent(result, source, before.forward, noise=before.noise).data
    except HrsrError as error:
        print(path.name, "left out:", error)
        return None
    after = check_consistency(projected, source, forward=before.forward, noise=before.noise)
    return {
        "range_over_noise": float(np.ptp(source) / before.noise),
        "chi_square": before.chi_square,
        "found": found(before, result.shape),
        "chi_square_consistent": after.chi_square,
        "found_consistent": found(after, result.shape),
    }


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for path in sorted((asked.data / "2d").iterdir()):
        row = measure(path)
        if row is not None:
            rows[path.name] = row
            print(path.name, row, flush=True)
    lines = [
        "False structures found, of 100: in the result, and in one made consistent with its source",
        "",
        "| image | range / noise | chi-square | found | chi-square, consistent | found |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["chi_square"]):
        lines.append(
            f"| {name} | {row['range_over_noise']:.0f} | {row['chi_square']:.2f} "
            f"| {row['found']:.0f} | {row['chi_square_consistent']:.2f} "
            f"| {row['found_consistent']:.0f} |"
        )
    (asked.out / "planted_fakes.md").write_text("\n".join(lines) + "\n")
    (asked.out / "planted_fakes.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
