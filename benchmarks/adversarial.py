"""What training against a discriminator adds to a model, and what it costs.

    python benchmarks/adversarial.py --data DATA --folds FOLDS --out RESULTS

Starts from a fold of ``general-2d-x2`` (see ``default_models.py``, which trains
the folds), trains it against a discriminator on the same sources for some
minutes, and measures both on the sources left out: the peak signal-to-noise
ratio, the distance of the radial power spectrum from the truth's in the upper
half of the band, the Fourier ring correlation with the truth there (noise and
invented texture lower it), and how far the result, recorded again, is from the
measurement freed of its noise.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from default_models import FOLDS, fold_config, fold_folder, formations, modality, opened, truth_of
from torch import Tensor, nn

from napari_hrsr.models.load import load_model
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.training.config import AdversarySettings
from napari_hrsr.training.degrade import Degradation, degrade
from napari_hrsr.training.detail import measure_detail
from napari_hrsr.training.fit import resume_training, run_training
from napari_hrsr.training.patches import make_pair
from napari_hrsr.training.validation import ValidationImage, psnr, run_network

MODEL = "general-2d-x2-first"
SCALE = (2, 2)
FIGURES = ("psnr", "spectrum_distance", "ring_correlation", "inconsistency")


def main() -> None:
    """Parse the command line, train, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp images")
    parser.add_argument("--folds", type=Path, required=True, help="runs of default_models.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--fold", type=int, default=2, help="which sources are left out")
    parser.add_argument("--minutes", type=float, default=15.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    left_out = FOLDS[2][options.fold]
    start = fold_folder(options.folds, MODEL, left_out) / "model.safetensors"
    adversarial = train(start, left_out, options.data, options.folds, options.minutes)
    rows = measure(start, adversarial, left_out, options.data)
    lines = table(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "adversarial.json").write_text(json.dumps(rows, indent=1))
    (options.out / "adversarial.md").write_text("\n".join(lines))
    print("\n".join(lines))


def train(start: Path, left_out: Sequence[str], data: Path, folds: Path, minutes: float) -> Path:
    """Train against a discriminator from a fold, or go on with it."""
    folder = fold_folder(folds, "adversarial-2d-x2", left_out)
    if (folder / "config.toml").exists():
        path = resume_training(folder)
    else:
        config = fold_config(MODEL, left_out, data, folds)
        config = replace(
            config,
            steps=0,
            minutes=minutes,
            model=replace(config.model, name="adversarial-2d-x2", start_from=str(start)),
            adversary=AdversarySettings(),
        )
        path = run_training(config, folder)
    assert path is not None
    return path


def measure(
    start: Path, adversarial: Path, left_out: Sequence[str], data: Path
) -> list[dict[str, object]]:
    """Return one row for each image left out, formation and model."""
    recipe = replace(fold_config(MODEL, left_out, data, data), channels=1)
    training = {image.name for image in opened(data, recipe, left_out)}
    held = [image for image in opened(data, recipe) if image.name not in training]
    truths = [truth_of(image, SCALE, acquired=False) for image in held]
    networks = {"before": network(start), "adversarial": network(adversarial)}
    rows: list[dict[str, object]] = []
    for formation, degradation in formations(SCALE).items():
        for truth in truths:
            image = recorded(truth.name, truth.fine, degradation)
            for name, model in networks.items():
                values = measure_detail(model, [image])
                values["psnr"] = psnr(run_network(model, image), image.fine)
                rows.append(
                    {
                        "image": truth.name,
                        "modality": modality(truth.name),
                        "formation": formation,
                        "model": name,
                        **values,
                    }
                )
    return rows


def network(path: Path) -> nn.Module:
    """Load a network."""
    model: nn.Module = load_model(path).network  # type: ignore[union-attr]
    return model.eval()


def recorded(name: str, fine: np.ndarray, degradation: Degradation) -> ValidationImage:
    """Record a truth in low resolution."""
    coarse = degrade(fine, degradation, np.random.default_rng(1))
    pair = make_pair(coarse, fine, instrument=degradation.instrument)

    def batch(image: np.ndarray) -> Tensor:
        return torch.from_numpy(image)[None, None]

    source = batch(pair.coarse)
    return ValidationImage(
        name=name,
        coarse=source,
        fine=batch(pair.fine),
        cubic=Interpolation(2, SCALE)(source),
        noise=torch.full((1, 1, 1, 1), pair.noise),
        pair=pair,
    )


def table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a markdown table: modalities down, before and after training across."""
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        for figure in FIGURES:
            if figure in row:
                cells[str(row["modality"]), str(row["model"]), figure].append(float(row[figure]))  # type: ignore[arg-type]
    groups = sorted({str(row["modality"]) for row in rows})
    lines = [
        "| modality | PSNR | spectrum's distance | ring correlation | inconsistency |",
        "| --- | --- | --- | --- | --- |",
    ]

    def mean(chosen: Sequence[str], model: str, figure: str) -> float:
        return float(np.mean([np.mean(cells[group, model, figure]) for group in chosen]))

    for group in [*groups, "mean"]:
        chosen = groups if group == "mean" else [group]
        texts = []
        for figure in FIGURES:
            before, after = (mean(chosen, name, figure) for name in ("before", "adversarial"))
            digits = {"psnr": 2, "inconsistency": 5}.get(figure, 3)
            change = f"{100 * (after / before - 1):+.0f} %"
            if figure in ("psnr", "ring_correlation"):
                change = f"{after - before:+.{digits}f}"
            texts.append(f"{before:.{digits}f} to {after:.{digits}f} ({change})")
        lines.append(f"| {group} | " + " | ".join(texts) + " |")
    return lines


if __name__ == "__main__":
    main()
