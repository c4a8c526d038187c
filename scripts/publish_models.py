"""Put trained models into the package: weights, measured gains, index and model cards.

    python scripts/publish_models.py --runs RUNS --results RESULTS --data DATA
        --out src/napari_hrsr/models/weights

RUNS holds one run folder for each model, made by
``napari-hrsr train --config recipes/MODEL.toml --out RUNS/MODEL``; RESULTS is
what ``benchmarks/default_models.py`` wrote; DATA holds SOURCES.md with one
section for each training image. Models without a run stay as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_hrsr.models.spec import ModelSpec, Weights, spec_from_dict, spec_to_dict
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.config_file import read_config
from napari_hrsr.training.preparing import open_data

ORDER = (
    "general-2d-x2",
    "general-2d-x4",
    "lowlight-2d-x2",
    "colour-2d-x2",
    "general-3d-x2",
    "slices-3d-4x1x1",
)
"""In which people choose from them."""

LIMITS = """\
- The network restores what is likely from images like those listed below; it
  does not measure. Fine detail in a result can be wrong. Compare with the
  source, and do not diagnose from it.
- Many of the training images are noisy themselves. Noise in a truth cannot be
  predicted, so it puts a ceiling on the gain that can be measured, most of all
  in electron microscopy and in single sections; the tables therefore use
  images binned by two where they are large enough.
- The network is told one noise level for the whole image. Where noise grows
  with the signal it follows the brightness by itself, as far as it learned to.
- It was trained for the blur and the noise in the settings above. Correlated
  noise, JPEG blocks and stronger blur were not trained for.
- A linear filter that is fitted to the exact blur (PSF + area, no noise) can
  gain more than this network, which has to serve every blur without knowing it.
"""


def mean_gains(rows: list[dict[str, object]]) -> dict[str, float]:
    """Return the gain of the network for each formation, averaged over modalities."""
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[str(row["formation"])][str(row["modality"])].append(float(row["network"]))  # type: ignore[arg-type]
    return {
        formation: round(float(np.mean([np.mean(gains) for gains in by_modality.values()])), 2)
        for formation, by_modality in cells.items()
    }


def publish(run: Path, results: Path, out: Path, trained_on: str) -> ModelSpec:
    """Write the weights of a run with their gains, and return their facts."""
    with safe_open(run / "model.safetensors", "numpy") as file:
        spec = spec_from_dict(json.loads(file.metadata()["napari_hrsr"]))
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    rows = json.loads((results / f"{spec.name}.json").read_text())
    spec = replace(spec, gains=mean_gains(rows), trained_on=trained_on)
    path = out / f"{spec.name}.safetensors"
    save_file(state, path, metadata={"napari_hrsr": json.dumps(spec_to_dict(spec))})
    path.chmod(0o644)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return replace(spec, weights=Weights(path.name, digest, len(content)))


def attribution(sources: str, used: set[str]) -> list[str]:
    """Return one line for each origin of training images that were used."""
    by_origin: dict[tuple[str, str], list[str]] = defaultdict(list)
    for section in sources.split("\n### ")[1:]:
        name = Path(section.splitlines()[0].strip()).name
        if name not in used:
            continue
        origin = _find(r"^- from (\S+)", section)
        commit = _find(r"commit ([0-9a-f]{7})", section)
        licence = _find(r"^- licence: \*\*(.+?)\*\*", section)
        proof = _find(r"^- licence: \*\*.+?\*\* \((.*)\)$", section)
        what = _find(r"^- modality: (.+)$", section)
        key = (f"{origin} (commit {commit})", f"{licence}: {proof}")
        by_origin[key].append(f"`{name.split('_', 1)[1].lstrip('_')}` ({what})")
    return [
        f"- {origin}, {licence}. {'; '.join(names)}"
        for (origin, licence), names in by_origin.items()
    ]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"no {pattern!r} in SOURCES.md section {text[:60]!r}")
    return found[1]


def used_files(config: TrainingConfig) -> set[str]:
    """Return the names of the files that a run learned from."""
    return {Path(image.file).name for image in open_data(config).make_pair.images}  # type: ignore[attr-defined]


def card(spec: ModelSpec, run: Path, results: Path, sources: str, note: str) -> str:
    """Return the text of a card."""
    assert spec.weights is not None
    config = read_config(run / "config.toml")
    recipe = Path(__file__).resolve().parents[1] / "recipes" / f"{spec.name}.toml"
    tables = (results / f"{spec.name}.md").read_text().replace("## ", "### ").rstrip()
    halo = "unbounded" if spec.halo is None else f"{tuple(spec.halo)} source pixels"
    colours = "three colours" if spec.channels == 3 else "one channel"
    lines = [
        f"# {spec.name}",
        "",
        f"{spec.title}. Licence of the weights: {spec.licence}.",
        "",
        f"- Network: `{spec.architecture}` on top of cubic interpolation; halo {halo}; "
        f"{spec.citation}.",
        f"- Input: {colours}, 0.1 % and 99.9 % percentiles of the image mapped to 0 and 1 "
        "(not clipped), and the standard deviation of its noise in the same units.",
        f"- File: `{spec.weights.file}`, {spec.weights.size} bytes, half precision, "
        f"sha256 `{spec.weights.sha256}`.",
        "",
        "## Recipe",
        "",
        f"`napari-hrsr train --config recipes/{spec.name}.toml`: {config.steps} steps of "
        f"{config.batch} patches of {config.patch} source pixels a side.",
        "",
        "```toml",
        recipe.read_text().rstrip(),
        "```",
        "",
        "## Measured gain",
        "",
        "Over cubic interpolation (Keys, a = -0.5), in decibels, on whole sources left out of "
        "the training, with the noise estimated from the low-resolution image. Each cell reads "
        "in the order above its table. The linear filter knows the formation, the network does "
        "not. The folds were trained with this recipe; the shipped weights, trained on all "
        "sources, are measured by no table. Made by "
        f"`python benchmarks/default_models.py --only {spec.name} --data DATA --out RESULTS`.",
        *(["", note] if note else []),
        "",
        tables,
        "",
        "## Planted points and lesions",
        "",
        planted(results, spec),
        "",
        "## Limits",
        "",
        LIMITS,
        "## Images seen in training",
        "",
        *attribution(sources, used_files(config)),
        "",
    ]
    return "\n".join(lines)


def planted(results: Path, spec: ModelSpec) -> str:
    """Return what `benchmarks/planted.py` found, if it was measured with these weights."""
    assert spec.weights is not None
    found = json.loads((results / "planted.json").read_text()).get(spec.name, {})
    if found.get("weights_sha256") != spec.weights.sha256:
        return "Not measured with these weights yet: `python benchmarks/planted.py`."
    parts = (results / "planted.md").read_text().split("\n## ")
    [part] = [p for p in parts if p.partition("\n")[0] == spec.name]
    return part.partition("\n")[2].strip()


def main() -> None:
    """Parse the command line, write weights, index and cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.md in it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", action="append", default=[], metavar="MODEL=TEXT")
    options = parser.parse_args()
    notes = dict(note.split("=", 1) for note in options.note)
    sources = (options.data / "SOURCES.md").read_text()
    index = options.out / "index.json"
    facts = {spec["name"]: spec for spec in json.loads(index.read_text())}
    for run in sorted(path.parent for path in options.runs.glob("*/model.safetensors")):
        spec = publish(
            run, options.results, options.out, "Openly licensed images, each listed in the card"
        )
        text = card(spec, run, options.results, sources, notes.get(spec.name, ""))
        (options.out / f"{spec.name}.md").write_text(text)
        facts[spec.name] = spec_to_dict(spec)
        print(spec.name, spec.gains)
    ordered = [facts[name] for name in ORDER if name in facts]
    index.write_text(json.dumps(ordered, indent=2) + "\n")


if __name__ == "__main__":
    main()
