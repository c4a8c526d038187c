"""What the models that restore gain on sources that they were not trained on.

    python benchmarks/restoration.py --data DATA --out RESULTS [--model NAME=FILE ...]

The sources are those that the recipe of each model (``recipes/MODEL.toml``)
leaves out, so the weights that ship are the ones that are measured. The truth
is binned by two where it is large enough, and noise and blur are made.

Denoising, beside scikit-image: bilateral filter and total variation
(Chambolle), each at the setting that is best for this very image and noise,
found with the truth; non-local means with the noise that scikit-image
estimates. Deblurring, beside scikit-image: Richardson-Lucy at the best number
of iterations and the Wiener filter at the best balance, both found with the
truth, both given the true point spread function. The networks are given the
measured image alone, by ``upscale`` as anybody calls it. The noise that scikit-image
estimates takes PyWavelets, which is not installed with napari-hrsr.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from skimage.restoration import (
    denoise_bilateral,
    denoise_nl_means,
    denoise_tv_chambolle,
    estimate_sigma,
    richardson_lucy,
    wiener,
)

from napari_hrsr import upscale
from napari_hrsr.forward import ForwardModel
from napari_hrsr.training.collection import TrainingImage, open_collection
from napari_hrsr.training.config_file import read_config
from napari_hrsr.training.patches import black_and_white
from napari_hrsr.training.recording import Degradation, degrade

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MODELS = ("denoise-2d", "denoise-3d", "deblur-2d")
NOISES = {"200 photons": (200.0, 0.01), "50 photons": (50.0, 0.02), "15 photons": (15.0, 0.04)}
"""Photons at white, and the standard deviation of what is read, against white."""
WIDTHS = (1.5,)
"""Standard deviation of the blur, pixels."""
BLURRED_NOISE = 0.01
SIDE = {2: 144, 3: 48}
"""Longest side of what is measured, cut from the middle."""
SMALLEST = {2: 256, 3: 96}
SHAVE = 8
PADDING = 24
ITERATIONS = (4, 8, 14, 24, 40, 64)
BALANCES = tuple(10.0**e for e in np.arange(-4, 0.01, 0.5))
WEIGHTS = (0.02, 0.04, 0.07, 0.12, 0.2, 0.35)
COLOURS = (0.05, 0.1, 0.15, 0.25)

Restored = Iterator[np.ndarray]


def truth_of(image: TrainingImage) -> np.ndarray:
    """Read the middle, black at 0 and white at 1, binned by two where it is large enough."""
    ndim = len(image.shape)
    if min(image.shape[-2:]) >= SMALLEST[ndim]:
        image = image.binned()
    window = []
    for length in image.shape:
        taken = min(length, SIDE[ndim])
        window.append(slice((length - taken) // 2, (length - taken) // 2 + taken))
    fine = image.read(tuple(window)).astype(np.float64)
    black, white = black_and_white(fine)
    return ((fine - black) / (white - black)).astype(np.float32)


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in decibels for a peak of 1, borders left out."""
    inner = tuple(slice(min(SHAVE, n // 4), n - min(SHAVE, n // 4)) for n in truth.shape)
    return -10 * math.log10(float(np.mean((result[inner] - truth[inner]) ** 2)) + 1e-12)


def bilateral(image: np.ndarray) -> Restored:
    """Filter plane by plane, which is what scikit-image has."""
    planes = image[None] if image.ndim == 2 else image
    for colour in COLOURS:
        yield np.stack([denoise_bilateral(p, sigma_color=colour, sigma_spatial=2) for p in planes]
                       ).reshape(image.shape)  # fmt: skip


def total_variation(image: np.ndarray) -> Restored:
    """Filter along all axes."""
    return (denoise_tv_chambolle(image, weight=weight) for weight in WEIGHTS)


def non_local_means(image: np.ndarray) -> Restored:
    """Filter with the noise that is estimated, at the strength scikit-image's example uses."""
    sigma = float(estimate_sigma(image))
    size = {"patch_size": 5, "patch_distance": 6} if image.ndim == 2 else {
        "patch_size": 3, "patch_distance": 3}  # fmt: skip
    for strength in (0.6, 0.8):
        yield denoise_nl_means(image, h=strength * sigma, sigma=sigma, fast_mode=True, **size)


def lucy(image: np.ndarray, kernel: np.ndarray) -> Restored:
    """Deconvolve by Richardson and Lucy; continued beyond its border by its edge."""
    lift = max(0.0, -float(image.min())) + 1e-3
    padded = np.pad(image + lift, PADDING, mode="edge")
    inner = (slice(PADDING, -PADDING),) * image.ndim
    for count in ITERATIONS:
        yield richardson_lucy(padded, kernel, num_iter=count, clip=False)[inner] - lift


def wiener_filter(image: np.ndarray, kernel: np.ndarray) -> Restored:
    """Deconvolve by Wiener's filter; continued likewise."""
    padded = np.pad(image, PADDING, mode="edge")
    inner = (slice(PADDING, -PADDING),) * image.ndim
    return (wiener(padded, kernel, balance, clip=False)[inner] for balance in BALANCES)


def gaussian_kernel(width: float, ndim: int) -> np.ndarray:
    """Return what a point becomes: as the images here were blurred."""
    point = np.zeros((4 * math.ceil(2 * width) + 1,) * ndim, np.float32)
    point[(point.shape[0] // 2,) * ndim] = 1
    blur = ForwardModel((1,) * ndim, (width,) * ndim)
    kernel: np.ndarray = blur.apply(torch.from_numpy(point)[None, None])[0, 0].double().numpy()
    return kernel / kernel.sum()


def methods_for(
    task: str, ndim: int
) -> dict[str, tuple[Degradation, dict[str, Callable[[np.ndarray], Restored]]]]:
    """Return, for each way of making the measured image, what restores it."""
    still = ForwardModel((1,) * ndim)
    if task == "denoise":
        filters = {
            "bilateral": bilateral,
            "total variation": total_variation,
            "non-local means": non_local_means,
        }
        return {
            name: (Degradation(still, photons, read), filters)
            for name, (photons, read) in NOISES.items()
        }
    formations = {}
    for width in WIDTHS:
        kernel = gaussian_kernel(width, ndim)
        filters = {
            "Richardson-Lucy": lambda image, k=kernel: lucy(image, k),
            "Wiener": lambda image, k=kernel: wiener_filter(image, k),
        }
        blur = ForwardModel((1,) * ndim, (width,) * ndim)
        formations[f"blur {width:g} px, 1 % noise"] = (
            Degradation(blur, math.inf, BLURRED_NOISE),
            filters,
        )
    return formations


def left_out(name: str, data: Path) -> list[TrainingImage]:
    """Return the images of the sources that the recipe of a model leaves out."""
    recipe = read_config(RECIPES / f"{name}.toml")
    found = open_collection([data], ndim=recipe.ndim, minimum=recipe.data.minimum).images
    kept = open_collection(
        [data], ndim=recipe.ndim, minimum=recipe.data.minimum, leave_out=recipe.data.leave_out
    ).images
    names = {image.name for image in kept}
    return [image for image in found if image.name not in names]


def measure(name: str, model: str, data: Path) -> list[dict[str, object]]:
    """Return one row for each image left out and each formation."""
    recipe = read_config(RECIPES / f"{name}.toml")
    rows: list[dict[str, object]] = []
    for image in left_out(name, data):
        truth = truth_of(image)
        for formation, (degradation, filters) in methods_for(recipe.task, recipe.ndim).items():
            measured = degrade(truth, degradation, np.random.default_rng(1)).astype(np.float32)
            values = {"measured": psnr(measured, truth)}
            values["network"] = psnr(upscale(measured, model, device="cpu"), truth)
            for method, restore in filters.items():
                values[method] = max(psnr(made, truth) for made in restore(measured))
            values["best other"] = max(values[method] for method in filters)
            rows.append({"image": image.name, "source": image.source, "formation": formation,
                         **{key: round(value, 3) for key, value in values.items()}})  # fmt: skip
    return rows


def table(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return a table in Markdown: mean decibels, formations down, methods across."""
    methods = [k for k in rows[0] if k not in ("image", "source", "formation", "best other")]
    lines = [
        f"| formation | images | {' | '.join(methods)} | network - best other of each image |",
        "| --- |" + " --- |" * (len(methods) + 2),
    ]
    for formation in [*dict.fromkeys(str(row["formation"]) for row in rows), "mean"]:
        chosen = [row for row in rows if formation in (row["formation"], "mean")]
        means = [f"{np.mean([row[m] for row in chosen]):.2f}" for m in methods]  # type: ignore[misc]
        gains = [float(row["network"]) - float(row["best other"]) for row in chosen]  # type: ignore[arg-type]
        lines.append(
            f"| {formation} | {len(chosen)} | {' | '.join(means)} | {np.mean(gains):+.2f} "
            f"({min(gains):+.2f} to {max(gains):+.2f}) |"
        )
    return lines


def by_image(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return a table in Markdown: images down, formations across."""
    formations = list(dict.fromkeys(str(row["formation"]) for row in rows))
    lines = [f"| image | {' | '.join(formations)} |", "| --- |" + " --- |" * len(formations)]
    for name in dict.fromkeys(str(row["image"]) for row in rows):
        gains = [
            f"{float(row['network']) - float(row['best other']):+.2f}"  # type: ignore[arg-type]
            for row in rows
            if row["image"] == name
        ]
        lines.append(f"| {name} | {' | '.join(gains)} |")
    return lines


def report(found: dict[str, list[dict[str, object]]]) -> list[str]:
    """Return all tables as lines of Markdown."""
    lines = [
        "# Restoration of sources left out of the training",
        "",
        "Peak signal-to-noise ratio in decibels, mean over images; see "
        "`benchmarks/restoration.py`, which made this.",
        "",
    ]
    for name in (n for n in MODELS if n in found):
        lines += [f"## {name}", "", *table(found[name]), ""]
        lines += ["Network over the best other of each image:", "", *by_image(found[name]), ""]
    return lines


def main() -> None:
    """Measure the models, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", choices=MODELS, action="append", help="default: all")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE",
                        help="measure this file in place of the weights that ship")  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = dict(text.split("=", 1) for text in options.model)
    record = options.out / "restoration.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for name in options.only or MODELS:
        found[name] = measure(name, files.get(name, name), options.data)
        print("\n".join(table(found[name])), flush=True)
    record.write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "restoration.md").write_text("\n".join(report(found)))


if __name__ == "__main__":
    main()
