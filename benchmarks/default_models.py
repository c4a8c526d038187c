"""What the default models gain on sources that they were not trained on.

    python benchmarks/default_models.py --data DATA/train --out RESULTS

Each fold leaves whole sources out, trains on all others with the shipped
recipe, and is measured on the sources left out: antialiased bicubic, pixel
areas, a point spread function with pixel areas, and the same with noise. The
network is told the noise that `estimate_noise` finds in the coarse image,
nothing else. Beside it stand iterative back-projection and the optimal linear
filter of 7 x 7 (or 5 x 5 x 5) source pixels, which is fitted on the training
sources for each formation, so it knows the formation and the network does not.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from linear_filter import LinearFilter
from safetensors.torch import load_file
from scipy.ndimage import zoom
from torch import nn

from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.nets.back_projection import BackProjection
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.training.degrade import Degradation, degrade
from napari_hrsr.training.images import Image, binned, load_images
from napari_hrsr.training.patches import make_pair

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from train_default_models import build, save, train_job

FOLDS = {
    2: (
        ("cellprofiler", "torchstain"),
        ("neubias",),
        ("dlegland", "datalad", "flyem", "usiigaci", "totalsegmentator", "brainreg"),
    ),
    3: (
        ("totalsegmentator",),
        ("datalad", "neubias"),
        ("flyem", "dlegland", "brainreg"),
    ),
}
MODALITIES = (
    ("EM", ("em_", "flyem")),
    ("CT", ("totalsegmentator", "_tomo_")),
    ("MRI", ("datalad", "mri_head")),
    ("light sheet / two-photon", ("brainreg",)),
    ("phase contrast, bright field", ("usiigaci", "UntangleWorms")),
    ("macroscopy, histology", ("torchstain", "appleCells", "e4a1", "m02g", "leaf_crop")),
)
SHAVE = 8
"""Fine pixels left out along each border."""
SIDE = {2: 320, 3: 96}
"""Longest side of what is measured, fine pixels, cut from the middle."""
SMALLEST = {2: 256, 3: 96}
"""An image with all sides this long is binned by two before it serves as truth."""


def formations(ndim: int) -> dict[str, Degradation]:
    """Return the ways in which coarse images are made from the truth."""
    two = (2,) * ndim
    sharp, soft = ForwardModel(two), ForwardModel(two, (0.8,) * ndim)
    return {
        "bicubic": Degradation(ForwardModel(two, sampling="bicubic")),
        "area": Degradation(sharp),
        "PSF + area": Degradation(soft),
        "PSF + area + noise": Degradation(soft, photons=200, read_noise=0.01),
    }


def modality(name: str) -> str:
    """Return the modality of a file by its name; fluorescence unless listed."""
    return next((m for m, keys in MODALITIES if any(k in name for k in keys)), "fluorescence")


def truth_of(image: Image, ndim: int, acquired: bool) -> np.ndarray:
    """Return the pixels that serve as truth: binned where the image is large enough."""
    if not acquired and min(image.pixels.shape[-2:]) >= SMALLEST[ndim]:
        image = binned(image)
    window = []
    for length in image.pixels.shape:
        taken = min(length, SIDE[ndim]) // 2 * 2
        start = (length - taken) // 2
        window.append(slice(start, start + taken))
    return image.pixels[tuple(window)]


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in decibels for a peak of 1."""
    inner = tuple(slice(min(SHAVE, n // 4), n - min(SHAVE, n // 4)) for n in truth.shape)
    return -10 * math.log10(float(np.mean((result[inner] - truth[inner]) ** 2)) + 1e-12)


def fit_linear(
    images: Sequence[Image], degradation: Degradation, ndim: int, acquired: bool
) -> LinearFilter:
    """Fit the linear filter to the training sources, for one formation."""
    rng = np.random.default_rng(0)
    linear = LinearFilter((2,) * ndim, 3 if ndim == 2 else 2)
    # Every fourth image holds more than enough pixels for so few weights.
    for image in images[:: 4 if ndim == 2 else 1]:
        fine = truth_of(image, ndim, acquired)
        pair = make_pair(degrade(fine, degradation, rng), fine)
        linear.add(pair.coarse, pair.fine, rng)
    linear.fit()
    return linear


def measure_image(
    fine: np.ndarray, degradation: Degradation, network: nn.Module, linear: LinearFilter
) -> dict[str, float]:
    """Return the gains over bicubic upsampling on one image, in decibels."""
    pair = make_pair(degrade(fine, degradation, np.random.default_rng(1)), fine)
    ndim = fine.ndim
    two = (2,) * ndim
    batch = torch.from_numpy(pair.coarse)[None, None]
    with torch.inference_mode():
        results = {
            "bicubic": Interpolation(ndim, two)(batch).numpy()[0, 0],
            "network": network(batch, torch.tensor(pair.noise)).numpy()[0, 0],
            "back-projection": BackProjection(ndim, two)(batch).numpy()[0, 0],
            "linear": linear(pair.coarse),
        }
    if ndim == 3:
        results["b-spline"] = zoom(pair.coarse, 2, order=3, mode="nearest", grid_mode=True)
    values = {name: psnr(result, pair.fine) for name, result in results.items()}
    gains = {name: value - values["bicubic"] for name, value in values.items()}
    return {**gains, "bicubic": values["bicubic"], "noise": pair.noise}


def measure(
    ndim: int, data: Path, folds: Path, acquired: bool, iterations: int | None
) -> list[dict[str, object]]:
    """Return one row for each image left out and each formation."""
    name = f"general-{ndim}d-x2"
    rows: list[dict[str, object]] = []
    images = load_images(data, ndim)
    for left_out in FOLDS[ndim]:
        path = folds / f"{name}-without-{'-'.join(left_out)}.safetensors"
        if not path.exists():
            trained, spec, _ = train_job(name, data, leave_out=left_out, iterations=iterations)
            save(trained, spec, path)
        network, _ = build(name)
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        network.eval()
        held_out = [i for i in images if i.source in left_out]
        # The planes of one volume are much alike: every third will do.
        planes = [i for i in held_out if "=" in i.name]
        held_out = [i for i in held_out if "=" not in i.name] + planes[::3]
        others = [i for i in images if i.source not in left_out]
        for formation, degradation in formations(ndim).items():
            linear = fit_linear(others, degradation, ndim, acquired)
            for image in held_out:
                fine = truth_of(image, ndim, acquired)
                rows.append(
                    {
                        "image": image.name,
                        "source": image.source,
                        "modality": modality(image.name),
                        "formation": formation,
                        **measure_image(fine, degradation, network, linear),
                    }
                )
    return rows


def table(rows: Sequence[dict[str, object]], group: str, methods: Sequence[str]) -> list[str]:
    """Return a markdown table of mean gains: groups down, formations across."""
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for method in methods:
            cells[str(row[group]), str(row["formation"]), method].append(float(row[method]))  # type: ignore[arg-type]
    groups = sorted({g for g, _, _ in cells})
    names = list(dict.fromkeys(f for _, f, _ in cells))
    lines = [
        f"| {group} | images | " + " | ".join(names) + " |",
        "| --- |" + " --- |" * (len(names) + 1),
    ]
    for g in [*groups, "mean"]:
        texts = []
        for f in names:
            means = []
            for m in methods:
                chosen = [g] if g != "mean" else groups
                means.append(float(np.mean([np.mean(cells[c, f, m]) for c in chosen])))
            texts.append(" / ".join(f"{v:+.2f}" for v in means))
        count = sum(len(cells[c, names[0], methods[0]]) for c in ([g] if g != "mean" else groups))
        lines.append(f"| {g} | {count} | " + " | ".join(texts) + " |")
    return lines


def report(rows: Sequence[dict[str, object]], ndim: int, acquired: bool) -> list[str]:
    """Return the tables by modality and by source, as lines of markdown."""
    truth = "as acquired" if acquired else "binned by two where large enough"
    methods = ["network", "linear", "back-projection", *(["b-spline"] * (ndim == 3))]
    lines = [f"## {ndim}D x2, truth {truth}", "", " / ".join(methods), ""]
    for group in ("modality", "source"):
        lines += [*table(rows, group, methods), ""]
    return lines


def main() -> None:
    """Parse the command line, train the folds that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with 2d and 3d in it")
    parser.add_argument("--folds", type=Path, help="weights of the folds; default: OUT/folds")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--ndim", type=int, choices=(2, 3), action="append", help="default: both")
    parser.add_argument("--iterations", type=int, help="training steps of a fold")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folds = options.folds or options.out / "folds"
    options.out.mkdir(parents=True, exist_ok=True)
    for ndim in options.ndim or (2, 3):
        for acquired in (False, True):
            rows = measure(ndim, options.data, folds, acquired, options.iterations)
            lines = report(rows, ndim, acquired)
            stem = f"default_models_{ndim}d_{'acquired' if acquired else 'binned'}"
            (options.out / f"{stem}.md").write_text("\n".join(lines))
            (options.out / f"{stem}.json").write_text(json.dumps(rows, indent=1))
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
