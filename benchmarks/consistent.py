"""What holding a result to its source gains, and what it costs.

    python benchmarks/consistent.py --data DATA --out RESULTS

DATA is the folder of training images, with ``2d`` and ``3d`` in it. The models
that ship have seen these images in training: the figures are about the
projection, not about the models. From the middle of each image a truth is cut
and degraded: averaged over the area of a pixel, with or without a Gaussian blur
of 0.4 source pixels before that, with white noise of 0, 1 and 3 % of the range
added. Noise-free sources are upscaled twice: told that they are clean, and with
the noise measured, as by default. Everything is computed by `upscale`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_hrsr import upscale
from napari_hrsr.files import read_image
from napari_hrsr.forward import ForwardModel
from napari_hrsr.intensity import measure_intensity
from napari_hrsr.jobs import plan_job, start_job
from napari_hrsr.projecting import Projections
from napari_hrsr.projection_weight import settle_projection

IMAGES = {
    "2d": (
        "cellprofiler__ExampleFly__01_POS002_D.TIF",
        "dlegland__NucleiDAPIconfocal.png",
        "dlegland__leaf_crop.tif",
        "neubias__xy_16bit__microtubules.tif",
        "neubias__xy_8bit__em_mitochondria_er.tif",
        "usiigaci__set1_raw.tif",
    ),
    "3d": (
        "brainreg_mouse_brain_crop.ome.tif",
        "datalad_t1_crop.ome.tif",
        "flyem_medulla_s1_z128.ome.tif",
    ),
}
MODELS = {"general-2d-x2": "2d", "general-2d-x4": "2d", "general-3d-x2": "3d"}
SIDES = {"2d": (384, 384), "3d": (48, 96, 96)}
"""Of the truth, fine pixels."""
BLUR = 0.4
"""Standard deviation, source pixels."""
CASES = (
    ("clean, told so", 0.0, 0.0),
    ("clean", 0.0, "auto"),
    ("1 %", 0.01, "auto"),
    ("3 %", 0.03, "auto"),
)
"""Name, noise over the range, what the run is told of it."""


@dataclass(frozen=True)
class Row:
    """One image, one model, one degradation; decibels, chi-square by the measured noise."""

    model: str
    blur: float
    case: str
    image: str
    without: float
    held: float
    residual_before: float
    residual_after: float
    chi_before: float | None
    chi_after: float | None
    weight: float | None
    seconds: float
    seconds_held: float


def main() -> None:
    """Measure, and write a table and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for model, kind in MODELS.items():
        for name in IMAGES[kind]:
            truth = middle(read_image(given.data / kind / name).data, SIDES[kind])
            for blur in (0.0, BLUR):
                for case, noise, told in CASES:
                    rows.append(measure(model, name, truth, blur, case, noise, told))
                    print(rows[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    figures = [{field: getattr(row, field) for field in Row.__dataclass_fields__} for row in rows]
    (given.out / "consistent.json").write_text(json.dumps(figures, indent=1) + "\n")
    (given.out / "consistent.md").write_text(table(rows))


def middle(image: Any, sides: tuple[int, ...]) -> np.ndarray:
    """Cut from the middle, with lengths that are whole at a factor of 4."""
    keys = []
    for n, side in zip(image.shape, sides, strict=True):
        length = min(n, side) // 4 * 4
        keys.append(slice((n - length) // 2, (n - length) // 2 + length))
    return np.asarray(image[tuple(keys)], np.float64)


def measure(
    model: str, name: str, truth: np.ndarray, blur: float, case: str, noise: float, told: Any
) -> Row:
    """Degrade, upscale without and with the projection, compare."""
    ndim = truth.ndim
    factor = (4 if model.endswith("x4") else 2,) * ndim
    forward = ForwardModel(factor, tuple(blur * k for k in factor))
    span = float(np.ptp(np.percentile(truth, (0.1, 99.9))))
    source = applied(forward, truth)
    source = source + np.random.default_rng(0).normal(0, noise * span, source.shape)
    source = source.astype(np.float32)
    started = time.perf_counter()
    plain = upscale(source, model, noise=told, device="cpu")
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    job = plan_job(source, model, device="cpu", consistent=forward)
    intensity = measure_intensity(source, job.axes)
    intensity = intensity if told == "auto" else intensity.with_noise(told)
    job = settle_projection(job, intensity)
    held = np.zeros(job.shape, job.dtype)
    for _ in start_job(job, held, intensity):
        pass
    seconds_held = time.perf_counter() - started
    before, after = (applied(forward, r) - source for r in (plain, held))
    sigma = float(intensity.noise.max())
    assert isinstance(job.regrid, Projections)
    weight = float(job.regrid.weight.max())
    return Row(
        model,
        blur,
        case,
        name.partition(".")[0],
        psnr(plain, truth, span),
        psnr(held, truth, span),
        float(np.sqrt(np.square(before).mean())) / span,
        float(np.sqrt(np.square(after).mean())) / span,
        float(np.square(before).mean()) / sigma**2 if sigma else None,
        float(np.square(after).mean()) / sigma**2 if sigma else None,
        weight if math.isfinite(weight) else None,
        seconds,
        seconds_held,
    )


def applied(forward: ForwardModel, image: np.ndarray) -> np.ndarray:
    """Degrade an image."""
    return forward.apply(torch.from_numpy(np.asarray(image, np.float64))).numpy()


def psnr(image: np.ndarray, truth: np.ndarray, span: float) -> float:
    """Return decibels over the range of the truth."""
    return float(10 * np.log10(span**2 / np.square(image - truth).mean()))


def table(rows: list[Row]) -> str:
    """Write the means over the images as Markdown."""
    lines = [
        "# Results held to their source",
        "",
        "PSNR in dB over the range of the truth, mean over the images; residual: root mean square",
        "of the degraded result less the source, per cent of the range; chi-square per pixel by",
        "the measured noise, least and most over the images that were moved; left alone: those",
        "whose result agreed with the source to within its noise already. Time: with over without;",
        "the patches that are measured cover most of images as small as these.",
        "",
        "| model | blur | noise | without | held | gain | least gain | residual without | held "
        "| chi-square without | held | left alone | time |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.blur, row.case), []).append(row)
    for (model, blur, case), group in groups.items():
        mean = {f: np.mean([getattr(r, f) for r in group]) for f in ("without", "held")}
        gains = [r.held - r.without for r in group]
        residuals = [
            100 * float(np.mean([getattr(r, f) for r in group]))
            for f in ("residual_before", "residual_after")
        ]
        chi = []
        for field in ("chi_before", "chi_after"):
            values = [getattr(r, field) for r in group if r.weight is not None and r.chi_after]
            chi.append(f"{min(values):.2f} to {max(values):.2f}" if values else "")
        left = sum(r.weight is None for r in group)
        ratio = sum(r.seconds_held for r in group) / sum(r.seconds for r in group)
        lines.append(
            f"| {model} | {blur:g} | {case} | {mean['without']:.2f} | {mean['held']:.2f} "
            f"| {np.mean(gains):+.3f} | {min(gains):+.3f} | {residuals[0]:.4f} "
            f"| {residuals[1]:.6f} | {chi[0]} | {chi[1]} | {left} of {len(group)} | x{ratio:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
