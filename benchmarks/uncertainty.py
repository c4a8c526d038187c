"""How often the intervals of the shipped models hold the truth, on sources left out.

    python benchmarks/uncertainty.py --data DATA --folds FOLDS --out RESULTS [--ship]

Every source is scored with the fold of `default_models.py` whose network has not
seen it (folds that are missing are trained, which takes hours). The table calibrates
on all other sources and measures the source left out. What ships (`--ship`) is
calibrated on all sources, each scored by the network that has not seen it: the
shipped weights have seen all of them, so their own errors would be too small.

There is one source of colours. Its fold is calibrated on grey images that are stained
at random as well, and most of these the fold has seen.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import default_models as folds_of
import numpy as np
import torch
from scipy.stats import spearmanr

from napari_hrsr.evaluation import calibration
from napari_hrsr.evaluation.calibrating import cut_scores, measure_errors
from napari_hrsr.evaluation.conformal import grouped_factor
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.load import load_model
from napari_hrsr.training.collection import TrainingImage
from napari_hrsr.training.config_file import read_config
from napari_hrsr.training.degrade import degrade
from napari_hrsr.training.staining import stained

COVERAGE = 0.9
SHIPPED_COVERAGES = (0.5, 0.68, 0.8, 0.9, 0.95)
SIDE = {2: 96, 3: 64}
"""Longest side of what is measured, fine pixels, cut from the middle."""
SEEN = 3
"""Every so many of the images that a fold has seen, where they are needed."""
PLANES = 8
"""Every so many planes of a volume in 2D: they are much alike."""
KEPT = 4000
"""Pixels of an image that are kept for the widths and the rank correlation."""


@dataclass(frozen=True)
class Row:
    """An image, recorded in one way: errors and normalisers, as shares of its range."""

    image: str
    source: str
    modality: str
    formation: str
    noisy: bool
    seen: bool
    blocks: list[np.ndarray]
    error: np.ndarray
    unit: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Errors over the normaliser."""
        return self.error / self.unit


def fold(model: str, left_out: Sequence[str], data: Path, folders: Sequence[Path]) -> Path:
    """Return a fold's model, from the first folder that has it."""
    for folder in folders:
        path = folds_of.fold_folder(folder, model, left_out) / "model.safetensors"
        if path.exists():
            return path
    return folds_of.train_fold(model, left_out, data, folders[0], None)


def chosen_images(
    model: str, data: Path, folders: Sequence[Path]
) -> Iterator[tuple[Path, list[TrainingImage], set[str]]]:
    """Yield the model of each fold, what is measured, and the names of what it has seen."""
    recipe = read_config(folds_of.RECIPES / f"{model}.toml")
    grey = replace(recipe, channels=1)
    every = folds_of.opened(data, recipe)
    if recipe.channels == 3:
        every += folds_of.opened(data, grey)
    for left_out in folds_of.COLOUR_FOLDS if recipe.channels == 3 else folds_of.FOLDS[recipe.ndim]:
        seen = {image.name for image in folds_of.opened(data, grey, left_out)}
        held = [image for image in every if image.name not in seen]
        if recipe.channels == 3:
            # The slide in grey is the slide once more.
            held = [image for image in held if image.channels == 3 or image.source != "torchstain"]
            held += [image for image in every if image.name in seen][::SEEN]
        planes = [i for i in held if recipe.ndim == 2 and re.search(" [zyx]=", i.name)]
        held = [image for image in held if image not in planes] + planes[::PLANES]
        yield fold(model, left_out, data, folders), held, seen


def measure(model: str, data: Path, folders: Sequence[Path]) -> list[Row]:
    """Return one row for each image and each way to record it."""
    recipe = read_config(folds_of.RECIPES / f"{model}.toml")
    ndim, scale = recipe.ndim, recipe.scale
    rows = []
    side = SIDE[ndim] * (2 if min(scale) == 4 else 1)
    folds_of.SIDE[ndim] = side
    for path, held, seen in chosen_images(model, data, folders):
        network = load_model(path)
        for image in held:
            truth = folds_of.truth_of(image, scale, acquired=False)
            fine, modality = truth.fine, folds_of.modality(truth.name)
            if recipe.channels == 3 and image.channels == 1:
                fine, modality = stained(fine, np.random.default_rng(2)), f"stained {modality}"
            for formation, degradation in folds_of.formations(scale).items():
                coarse = degrade(fine, degradation, np.random.default_rng(1)).astype(np.float32)
                error, unit = measure_errors(
                    coarse,
                    fine.astype(np.float32),
                    [network],
                    axes=("S" if fine.ndim > ndim else "") + "ZYX"[3 - ndim :],
                    device="cpu",
                )
                span = float(np.subtract(*np.percentile(coarse, (99.9, 0.1)))) or 1.0
                picked = np.random.default_rng(0).permutation(error.size)[:KEPT]
                rows.append(
                    Row(
                        truth.name, truth.source, modality, formation, "noise" in formation,
                        image.name in seen,
                        cut_scores(error / unit, scale),
                        error.ravel()[picked] / span, unit.ravel()[picked] / span,
                    )
                )  # fmt: skip
    return rows


def group(rows: Sequence[Row]) -> dict[str, list[np.ndarray]]:
    """Return the blocks of each modality."""
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in rows:
        groups[row.modality] += row.blocks
    return groups


def coverages(rows: Sequence[Row]) -> list[float]:
    """Return the share of the truth in each row's intervals, calibrated on the other sources."""
    factors = {
        source: grouped_factor(group([r for r in rows if r.source != source]), COVERAGE)[0]
        for source in {row.source for row in rows}
    }
    return [
        float(np.mean([np.mean(block <= factors[row.source]) for block in row.blocks]))
        for row in rows
    ]


def relative_width(rows: Sequence[Row]) -> float:
    """Return the mean width over that of a constant band, both holding 90 % of the pixels."""
    units = np.concatenate([row.unit for row in rows])
    factor = np.quantile(np.concatenate([row.score for row in rows]), COVERAGE)
    constant = np.quantile(np.concatenate([row.error for row in rows]), COVERAGE)
    return float(factor * units.mean() / constant)


def summary(model: str, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return one entry for each modality of a model."""
    held = coverages(rows)
    entries = []
    tested = [i for i, row in enumerate(rows) if not row.seen]
    for modality in sorted({rows[i].modality for i in tested}):
        chosen = [i for i in tested if rows[i].modality == modality]

        def mean(keep: Callable[[Row], bool], chosen: Sequence[int] = chosen) -> float:
            return float(np.mean([held[i] for i in chosen if keep(rows[i])]))

        own = [rows[i] for i in chosen]
        entries.append(
            {
                "model": model,
                "modality": modality,
                "sources": sorted({row.source for row in own}),
                "images": len({row.image for row in own}),
                "coverage": mean(lambda row: True),
                "clean": mean(lambda row: not row.noisy),
                "noisy": mean(lambda row: row.noisy),
                "lowest": min(held[i] for i in chosen),
                "relative_width": relative_width(own),
                "spearman": float(np.nanmean([spearmanr(r.unit, r.error)[0] for r in own])),
            }
        )
    return entries


def table(entries: Sequence[dict[str, object]]) -> list[str]:
    """Return the entries as lines of markdown."""
    lines = [
        "| model | modality | sources, images | coverage | clean | noisy | lowest image "
        "| width against constant | rank correlation |",
        "| --- |" + " --- |" * 8,
    ]
    for e in entries:
        shares = f"{100 * float(e['coverage']):.1f} % | " + " | ".join(
            f"{100 * float(e[k]):.0f} %" for k in ("clean", "noisy", "lowest")
        )
        sources = len(e["sources"])  # type: ignore[arg-type]
        lines.append(
            f"| {e['model']} | {e['modality']} | {sources}, {e['images']} | {shares} "
            f"| {e['relative_width']:.2f} | {e['spearman']:.2f} |"
        )
    return lines


def shipped(model: str, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the calibrations of a model on all sources."""
    specs = [find_spec(model)]
    groups = group(rows)
    names = sorted({row.source for row in rows})
    how = "each scored by a network that had not seen its source"
    if any(row.seen for row in rows):
        how = "grey ones stained at random, most of them seen in training"
    entries = []
    for coverage in SHIPPED_COVERAGES:
        factor, factors = grouped_factor(groups, coverage)
        entries.append(
            calibration.Calibration(
                factor=round(factor, 3),
                coverage=coverage,
                model=model,
                weights_sha256=calibration.weights_of(specs),
                calibrated_on=f"images of {', '.join(names)}, degraded in "
                f"{len({row.formation for row in rows})} ways, {how}",
                images=len({row.image for row in rows}),
                blocks=sum(len(row.blocks) for row in rows),
                groups={name: round(f, 3) for name, f in sorted(factors.items())},
            ).to_dict()
        )
    return entries


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sharp images")
    parser.add_argument(
        "--folds", type=Path, action="append", required=True, help="runs of the folds; may repeat"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", choices=folds_of.MODELS, action="append", help="default: all")
    parser.add_argument("--ship", action="store_true", help="write the package's calibrations")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = options.out / "uncertainty"
    parts.mkdir(parents=True, exist_ok=True)
    for model in options.only or folds_of.MODELS:
        rows = measure(model, options.data, options.folds)
        found = {"rows": summary(model, rows), "calibrations": shipped(model, rows)}
        print("\n".join(table(found["rows"])), flush=True)
        (parts / f"{model}.json").write_text(json.dumps(found, indent=1) + "\n")
    # Models that were measured before stay in the table.
    known = [parts / f"{model}.json" for model in folds_of.MODELS]
    every = [json.loads(path.read_text()) for path in known if path.exists()]
    lines = [
        f"Nominal coverage {100 * COVERAGE:g} %. Made by `python benchmarks/uncertainty.py`.",
        "",
        *table([row for part in every for row in part["rows"]]),
    ]
    (options.out / "uncertainty.md").write_text("\n".join(lines) + "\n")
    if options.ship:
        path = Path(calibration.__file__).with_name("calibrations.json")
        entries = [entry for part in every for entry in part["calibrations"]]
        path.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
