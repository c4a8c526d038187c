"""What the default models gain on sources that they were not trained on.

    python benchmarks/default_models.py --data DATA --out RESULTS [--only MODEL]

Each fold leaves whole sources out, trains on all others with the recipe of the
model (``recipes/MODEL.toml``; folds that are there already are not trained
again, and those that were stopped go on), and is measured on the sources left
out. A recipe that starts from another one starts from its fold which has left
out the same sources, and trains that first.

The low-resolution images are made in several ways (see `formations`). The
network is told the noise that `estimate_noise` finds in them, nothing else.
Beside it stand cubic interpolation (what the gains are over), iterative
back-projection, and the optimal linear filter, which is fitted on the training
sources for each formation: it knows the formation and the network does not.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from linear_filter import LinearFilter
from scipy.ndimage import zoom

from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets.back_projection import BackProjection
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.training.collection import TrainingImage, open_collection
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.config_file import read_config
from napari_hrsr.training.degrade import Degradation, degrade
from napari_hrsr.training.fit import resume_training, run_training
from napari_hrsr.training.patches import Pair, make_pair

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MODELS = (
    "general-2d-x2",
    "lowlight-2d-x2",
    "general-2d-x4",
    "colour-2d-x2",
    "general-3d-x2",
    "slices-3d-4x1x1",
)

FOLDS = {
    2: (
        ("cellprofiler", "torchstain"),
        ("neubias",),
        ("dlegland", "datalad*", "flyem*", "usiigaci", "totalsegmentator", "brainreg*"),
    ),
    3: (
        ("totalsegmentator",),
        ("datalad*", "neubias"),
        ("flyem*", "dlegland", "brainreg*"),
    ),
}
COLOUR_FOLDS = (("cellprofiler", "torchstain"),)
"""There is one source of colours: without it, all training images are stained grey ones."""
MODALITIES = (
    ("EM", ("em_", "flyem")),
    ("CT", ("totalsegmentator", "_tomo_")),
    ("MRI", ("datalad", "mri_head")),
    ("light sheet", ("brainreg",)),
    ("phase contrast, bright field", ("usiigaci", "UntangleWorms")),
    ("macroscopy, histology", ("torchstain", "appleCells", "e4a1", "m02g", "leaf_crop")),
)
SHAVE = 8
"""Fine pixels left out along each border."""
SIDE = {2: 320, 3: 96}
"""Longest side of what is measured, fine pixels, cut from the middle."""
SMALLEST = {2: 256, 3: 96}
"""An image with all sides this long in the plane is binned by two before it serves as truth."""


@dataclass(frozen=True)
class Held:
    """A truth, and where it is from."""

    name: str
    source: str
    fine: np.ndarray


def formations(scale: tuple[int, ...]) -> dict[str, Degradation]:
    """Return the ways in which low-resolution images are made from the truth."""
    if scale == (4, 1, 1):

        def slices(profile: str, fwhm: float) -> ForwardModel:
            return ForwardModel(scale, slice_axis=0, slice_fwhm=4 * fwhm, slice_profile=profile)  # type: ignore[arg-type]

        return {
            "Gaussian slices": Degradation(slices("gaussian", 1.0)),
            "thin Gaussian slices": Degradation(slices("gaussian", 0.75)),
            "box slices": Degradation(slices("box", 1.0)),
            "Gaussian slices + noise": Degradation(slices("gaussian", 1.0), 200, 0.01),
        }
    # As large against a low-resolution pixel for every factor.
    soft = ForwardModel(scale, tuple(0.4 * k for k in scale))
    return {
        "bicubic": Degradation(ForwardModel(scale, sampling="bicubic")),
        "area": Degradation(ForwardModel(scale)),
        "PSF + area": Degradation(soft),
        "PSF + area + noise": Degradation(soft, photons=200, read_noise=0.01),
    }


def modality(name: str) -> str:
    """Return the modality of a file by its name; fluorescence unless listed."""
    return next((m for m, keys in MODALITIES if any(k in name for k in keys)), "fluorescence")


def truth_of(image: TrainingImage, scale: tuple[int, ...], *, acquired: bool) -> Held:
    """Read the middle, binned by two where the image is large enough."""
    if not acquired and min(image.shape[-2:]) >= SMALLEST[len(scale)]:
        image = image.binned()
    window = []
    for length, factor in zip(image.shape, scale, strict=True):
        taken = min(length, SIDE[len(scale)]) // factor * factor
        start = (length - taken) // 2
        window.append(slice(start, start + taken))
    return Held(image.name, image.source, image.read(window))


def psnr(result: np.ndarray, truth: np.ndarray, ndim: int) -> float:
    """Return the peak signal-to-noise ratio in decibels for a peak of 1."""
    lengths = truth.shape[truth.ndim - ndim :]
    inner = (..., *(slice(min(SHAVE, n // 4), n - min(SHAVE, n // 4)) for n in lengths))
    return -10 * math.log10(float(np.mean((result[inner] - truth[inner]) ** 2)) + 1e-12)


def record(held: Held, degradation: Degradation, ndim: int, seed: int) -> Pair:
    """Make the pair of a low-resolution image and its truth."""
    coarse = degrade(held.fine, degradation, np.random.default_rng(seed))
    return make_pair(coarse, held.fine, ndim=ndim)


def fit_linear(
    truths: Sequence[Held], degradation: Degradation, scale: tuple[int, ...]
) -> LinearFilter:
    """Fit the linear filter to the training sources, grey ones, for one formation."""
    rng, ndim = np.random.default_rng(0), len(scale)
    linear = LinearFilter(scale, 3 if ndim == 2 else 2)
    for held in truths:
        pair = record(held, degradation, ndim, 0)
        linear.add(pair.coarse, pair.fine, rng)
    linear.fit()
    return linear


def measure_image(
    held: Held, degradation: Degradation, network: torch.nn.Module, linear: LinearFilter,
    scale: tuple[int, ...],
) -> dict[str, float]:  # fmt: skip
    """Return the gains over cubic interpolation on one image, in decibels."""
    ndim = len(scale)
    pair = record(held, degradation, ndim, 1)
    colours = pair.coarse if held.fine.ndim > ndim else pair.coarse[None]
    truth = pair.fine if held.fine.ndim > ndim else pair.fine[None]
    batch = torch.from_numpy(colours)
    with torch.inference_mode():
        results = {
            "cubic": Interpolation(ndim, scale)(batch[:, None]).numpy()[:, 0],
            "network": network(batch[None], torch.tensor(pair.noise)).numpy()[0],
            "back-projection": BackProjection(ndim, scale)(batch[:, None]).numpy()[:, 0],
            "linear": np.stack([linear(colour) for colour in colours]),
        }
    if ndim == 3:
        splines = [zoom(c, scale, order=3, mode="nearest", grid_mode=True) for c in colours]
        results["b-spline"] = np.stack(splines)
    values = {name: psnr(result, truth, ndim) for name, result in results.items()}
    gains = {name: value - values["cubic"] for name, value in values.items()}
    return {**gains, "cubic": values["cubic"], "noise": pair.noise}


def fold_folder(folds: Path, model: str, left_out: Sequence[str]) -> Path:
    """Return the run folder of a fold."""
    return folds / f"{model}-without-{'-'.join(left_out).replace('*', '')}"


def train_fold(
    model: str, left_out: Sequence[str], data: Path, folds: Path, steps: int | None
) -> Path:
    """Train a fold, or go on with it, and return its model."""
    folder = fold_folder(folds, model, left_out)
    if (folder / "config.toml").exists():
        path = resume_training(folder)
    else:
        config = fold_config(model, left_out, data, folds)
        parent = config.model.start_from
        if parent and not Path(parent).exists():
            train_fold(_parent(model), left_out, data, folds, steps)
        path = run_training(replace(config, steps=steps or config.steps), folder)
    assert path is not None
    return path


def _parent(model: str) -> str:
    """Return the recipe that the recipe of a model starts from."""
    return Path(read_config(RECIPES / f"{model}.toml").model.start_from).stem


def fold_config(model: str, left_out: Sequence[str], data: Path, folds: Path) -> TrainingConfig:
    """Return the recipe without some sources, started from the right fold."""
    config = read_config(RECIPES / f"{model}.toml")
    settings = config.model
    if settings.start_from:
        parent = fold_folder(folds, _parent(model), left_out)
        settings = replace(settings, start_from=str((parent / "model.safetensors").absolute()))
    return replace(
        config,
        model=settings,
        data=replace(config.data, images=(str(data.absolute()),), leave_out=tuple(left_out)),
    )


def opened(
    data: Path, recipe: TrainingConfig, leave_out: Sequence[str] = ()
) -> tuple[TrainingImage, ...]:
    """Open the images of a kind of model."""
    return open_collection(
        [data],
        ndim=recipe.ndim,
        channels=recipe.channels,
        minimum=recipe.data.minimum,
        leave_out=leave_out,
    ).images


def measure(
    model: str, data: Path, folds: Path, *, acquired: bool, steps: int | None
) -> list[dict[str, object]]:
    """Return one row for each image left out and each formation."""
    recipe = read_config(RECIPES / f"{model}.toml")
    ndim, scale = recipe.ndim, recipe.scale
    rows: list[dict[str, object]] = []
    every = opened(data, recipe)
    for left_out in COLOUR_FOLDS if recipe.channels == 3 else FOLDS[ndim]:
        others = opened(data, replace(recipe, channels=1), left_out)
        names = {image.name for image in others}
        held_out = [image for image in every if image.name not in names]
        # The planes of one volume are much alike: every third will do.
        planes = [i for i in held_out if ndim == 2 and re.search(" [zyx]=", i.name)]
        held_out = [image for image in held_out if image not in planes] + planes[::3]
        network = load_model(train_fold(model, left_out, data, folds, steps)).network  # type: ignore[union-attr]
        truths = [truth_of(image, scale, acquired=acquired) for image in held_out]
        # Every fourth image holds more than enough pixels for so few weights.
        fitted = [truth_of(i, scale, acquired=acquired) for i in others[:: 4 if ndim == 2 else 1]]
        for formation, degradation in formations(scale).items():
            linear = fit_linear(fitted, degradation, scale)
            rows += [
                {
                    "image": held.name,
                    "source": held.source,
                    "modality": modality(held.name),
                    "formation": formation,
                    **measure_image(held, degradation, network, linear, scale),
                }
                for held in truths
            ]
    return rows


def table(rows: Sequence[Mapping[str, object]], group: str, methods: Sequence[str]) -> list[str]:
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


def describe_folds(model: str, folds: Path) -> str:
    """Return how long each fold was trained, and what it started from."""
    recipe = read_config(RECIPES / f"{model}.toml")
    parts = []
    for left_out in COLOUR_FOLDS if recipe.channels == 3 else FOLDS[recipe.ndim]:
        steps = read_config(fold_folder(folds, model, left_out) / "config.toml").steps
        parts.append(f"{steps} without {', '.join(left_out).replace('*', '')}")
    text = f"Steps of the folds: {'; '.join(parts)}."
    if not recipe.model.start_from:
        return text
    parent = _parent(model)
    return f"{text} They go on from {parent}. {describe_folds(parent, folds)}"


def report(
    model: str, rows: Sequence[Mapping[str, object]], folds: Path, *, acquired: bool
) -> list[str]:
    """Return the tables by modality and by source, as lines of markdown."""
    truth = "as acquired" if acquired else "binned by two where large enough"
    methods = ["network", "linear", "back-projection"]
    methods += ["b-spline"] * ("b-spline" in rows[0])
    lines = [f"## {model}, truth {truth}", "", describe_folds(model, folds), ""]
    lines += [" / ".join(methods), ""]
    for group in ("modality", "source"):
        lines += [*table(rows, group, methods), ""]
    return lines


def main() -> None:
    """Parse the command line, train the folds that are missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp images")
    parser.add_argument("--folds", type=Path, help="runs of the folds; default: OUT/folds")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", choices=MODELS, action="append", help="default: all")
    parser.add_argument("--steps", type=int, help="of each fold; default: those of the recipe")
    parser.add_argument("--acquired", action="store_true", help="measure unbinned truth as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folds = options.folds or options.out / "folds"
    options.out.mkdir(parents=True, exist_ok=True)
    for model in options.only or MODELS:
        for acquired in (False, True)[: 1 + options.acquired]:
            rows = measure(model, options.data, folds, acquired=acquired, steps=options.steps)
            lines = report(model, rows, folds, acquired=acquired)
            stem = f"{model}-acquired" if acquired else model
            (options.out / f"{stem}.md").write_text("\n".join(lines))
            (options.out / f"{stem}.json").write_text(json.dumps(rows, indent=1))
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
