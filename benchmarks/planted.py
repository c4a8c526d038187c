"""What the models that ship make of planted points and lesions.

    python benchmarks/planted.py --out benchmarks/results --cards src/napari_hrsr/models/weights

Pairs of points 1 to 4 pixels of the source apart, single points, and discs 2 to
6 pixels wide are planted, on a flat background and on a photograph that no
model has seen (scikit-image's ``camera``; for volumes it moves along z), which
is as bright as a point and five times as bright as a lesion. Instrument: pixels
integrate over their area behind a Gaussian of 0.4 pixels; for thick slices a
Gaussian profile of the width of a slice. All models are compared with cubic
interpolation of the same sources. See `napari_hrsr.evaluation.planted`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data

from napari_hrsr.evaluation.planted import planted_doublets, planted_lesions
from napari_hrsr.evaluation.planted_measures import APART
from napari_hrsr.evaluation.planted_scenes import default_instrument
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.catalog import list_models
from napari_hrsr.models.spec import ModelSpec

HEADING = "## Planted points and lesions"
COUNTS = {2: 40, 3: 12}
PLANES = 80
TEXTURED = {"points": 20.0, "lesions": 5.0}
"""Level of the noise on texture."""


def instrument(spec: ModelSpec) -> ForwardModel:
    """Return what degrades the scenes of a model."""
    if spec.name.startswith("slices"):
        return ForwardModel(spec.scale, slice_axis=0, slice_fwhm=spec.scale[0])
    return default_instrument(spec.scale)


def texture(ndim: int) -> np.ndarray:
    """Return a background that no model has seen."""
    plane = data.camera().astype(float)
    if ndim == 2:
        return plane
    plane = plane[150:360, 150:360]
    return np.stack([np.roll(plane, shift, axis=1) for shift in range(PLANES)])


def measure(spec: ModelSpec) -> dict[str, Any]:
    """Plant on both backgrounds."""
    count, forward, rough = COUNTS[spec.ndim], instrument(spec), texture(spec.ndim)
    began = time.monotonic()
    points = planted_doublets(spec.name, count=count, forward=forward).to_dict()
    lesions = planted_lesions(spec.name, count=count // 2, forward=forward).to_dict()
    level = TEXTURED["points"]
    points_on = planted_doublets(
        spec.name, count=count, forward=forward, background=rough, levels=(level,)
    ).to_dict()
    level = TEXTURED["lesions"]
    lesions_on = planted_lesions(
        spec.name, count=count // 2, forward=forward, background=rough, levels=(level,)
    ).to_dict()
    assert spec.weights is not None
    return {
        "weights_sha256": spec.weights.sha256,
        "factor": list(spec.scale),
        "seconds": round(time.monotonic() - began, 1),
        "flat": points | lesions,
        "texture": points_on | lesions_on,
    }


def section(found: dict[str, Any]) -> list[str]:
    """Return the tables of a model in Markdown, without a heading."""
    lines = [
        "Dip between two points over their height, model / cubic interpolation, and the truth at "
        "the result's sampling; columns are the peak of a point in the source over the noise. "
        f"From {APART:.2f} up two points count as resolved.",
        "",
        "| two points | truth | no noise | 20 | 5 | texture, 20 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    everything = [*found["flat"]["doublets"], *found["texture"]["doublets"]]
    for distance in dict.fromkeys(d["distance"] for d in everything):
        rows = [d for d in everything if d["distance"] == distance]
        cells = [f"{d['model']:.2f} / {d['cubic']:.2f}" for d in rows]
        lines.append(f"| {distance:g} px apart | {rows[0]['truth']:.2f} | {' | '.join(cells)} |")
    singles = [*found["flat"]["singles"], *found["texture"]["singles"]]
    counts = "; ".join(
        f"{round(s['split'] * s['count'])} of {s['count']} "
        f"(cubic {round(s['cubic_split'] * s['count'])})"
        for s in singles
    )
    lines += ["", f"Single points made into two, in the order of the columns: {counts}.", ""]
    lines += [
        "Contrast of lesions that is kept, model / cubic; in brackets the share of them that lost "
        "more than half of it. Columns are contrast over noise.",
        "",
        "| lesions | no noise | 5 | 2 | texture, 5 |",
        "| --- | --- | --- | --- | --- |",
    ]
    everything = [*found["flat"]["lesions"], *found["texture"]["lesions"]]
    for width in dict.fromkeys(x["width"] for x in everything):
        cells = [
            f"{x['kept']:.2f} / {x['cubic_kept']:.2f} "
            f"({100 * x['lost']:.0f} / {100 * x['cubic_lost']:.0f} %)"
            for x in everything
            if x["width"] == width
        ]
        lines.append(f"| {width:g} px wide | {' | '.join(cells)} |")
    empty = sum(x["count"] for x in everything)
    made, cubic = (
        sum(round(x[key] * x["count"]) for x in everything) for key in ("created", "cubic_created")
    )
    lines += [
        "",
        f"Lesions made up in {empty} empty places: {made} (cubic {cubic}).",
        "",
        "Made by `python benchmarks/planted.py`.",
        "",
    ]
    return lines


def put_on_card(card: Path, lines: list[str]) -> None:
    """Replace the section on a model card, or add it before the limits."""
    text = card.read_text()
    text = re.sub(rf"{HEADING}\n.*?(?=^## )", "", text, flags=re.DOTALL | re.MULTILINE)
    before, limits, after = text.partition("## Limits\n")
    if not limits:
        raise SystemExit(f"{card} has no section on limits")
    card.write_text("\n".join([before + HEADING, "", *lines, limits]) + after)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cards", type=Path, help="folder of the model cards to put it on")
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    path = asked.out / "planted.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    shipped = [
        s for s in list_models() if s.weights and Path(s.weights.file).name == s.weights.file
    ]
    for spec in shipped:
        if asked.only and spec.name not in asked.only.split(","):
            continue
        results[spec.name] = measure(spec)
        print(spec.name, results[spec.name]["seconds"], "s", flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
    lines = ["# Planted points and lesions", ""]
    for name, found in results.items():
        part = section(found)
        lines += [f"## {name}", "", *part]
        if asked.cards:
            put_on_card(asked.cards / f"{name}.md", part)
    (asked.out / "planted.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
