"""Put trained models into the package: weights, measured gains, index and model cards.

    python scripts/publish_models.py --runs RUNS --results RESULTS --data DATA
        --out src/napari_hrsr/models/weights

RUNS holds one run folder for each model, made by
``napari-hrsr train --config recipes/MODEL.toml --out RUNS/MODEL``; RESULTS is
what ``benchmarks/default_models.py`` wrote (``benchmarks/restoration.py`` for
models that keep the size); DATA holds SOURCES.md with one
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
    "denoise-2d",
    "denoise-3d",
    "deblur-2d",
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


RESTORED_LIMITS = """\
- The network restores what is likely from images like those listed below; it
  does not measure. Faint detail that the noise hides can be lost, and noise can
  be taken for detail. Do not measure noise, texture or intensities of single
  pixels on a result.
- Noise was made as photon noise and Gaussian noise, independent in every pixel.
  Correlated noise (after binning by software, filtering, compression or
  reconstruction) was not trained for.
- The network is told one noise level for the whole image.
"""


def restored_gains(rows: list[dict[str, object]]) -> dict[str, float]:
    """Return the gain over the measured image for each formation, averaged over images."""
    cells: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        cells[str(row["formation"])].append(float(row["network"]) - float(row["measured"]))  # type: ignore[arg-type]
    return {formation: round(float(np.mean(gains)), 2) for formation, gains in cells.items()}


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
    if max(spec.scale) == 1:
        gains = restored_gains(json.loads((results / "restoration.json").read_text())[spec.name])
        # The recipe knows the task; so it does the title.
        config = read_config(recipe_of(spec))
        spec = replace(spec, task=config.task, title=config.model.title)
    else:
        gains = mean_gains(json.loads((results / f"{spec.name}.json").read_text()))
    spec = replace(spec, gains=gains, trained_on=trained_on)
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
    recipe = recipe_of(spec)
    parent = read_config(recipe).model.start_from
    before = f", after `recipes/{parent}.toml`" if parent else ""
    halo = "unbounded" if spec.halo is None else f"{tuple(spec.halo)} source pixels"
    colours = "three colours" if spec.channels == 3 else "one channel"
    beneath = "cubic interpolation" if max(spec.scale) > 1 else "the image itself"
    lines = [
        f"# {spec.name}",
        "",
        f"{spec.title}. Licence of the weights: {spec.licence}.",
        "",
        f"- Network: `{spec.architecture}` on top of {beneath}; halo {halo}; {spec.citation}.",
        f"- Input: {colours}, 0.1 % and 99.9 % percentiles of the image mapped to 0 and 1 "
        "(not clipped), and the standard deviation of its noise in the same units.",
        f"- File: `{spec.weights.file}`, {spec.weights.size} bytes, half precision, "
        f"sha256 `{spec.weights.sha256}`.",
        "",
        "## Recipe",
        "",
        f"`napari-hrsr train --config recipes/{spec.name}.toml`{before}: {config.steps} steps of "
        f"{config.batch} patches of {config.patch} source pixels a side.",
        "",
        "```toml",
        recipe.read_text().rstrip(),
        "```",
        "",
        *(
            restored(spec, results, config)
            if max(spec.scale) == 1
            else upscaled(spec, results, note)
        ),
        "## Images seen in training",
        "",
        *attribution(sources, used_files(config)),
        "",
    ]
    return "\n".join(lines)


def upscaled(spec: ModelSpec, results: Path, note: str) -> list[str]:
    """Return what was measured of a model that upscales, and its limits."""
    tables = (results / f"{spec.name}.md").read_text().replace("## ", "### ").rstrip()
    return [
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
    ]


def restored(spec: ModelSpec, results: Path, config: TrainingConfig) -> list[str]:
    """Return what was measured of a model that keeps the size, and its limits."""
    parts = (results / "restoration.md").read_text().split("\n## ")
    [part] = [p for p in parts if p.partition("\n")[0] == spec.name]
    sources = ", ".join(config.data.leave_out).replace("*", "")
    return [
        "## Measured gain",
        "",
        "Peak signal-to-noise ratio in decibels on whole sources that these very weights have "
        f"not seen ({sources}): they were left out of the training. The network is given the "
        "measured image alone and estimates its noise; the settings of the other methods are the "
        "best for each image, found with the truth. Made by "
        f"`python benchmarks/restoration.py --only {spec.name} --data DATA --out RESULTS`.",
        "",
        part.partition("\n")[2].strip(),
        "",
        "## Limits",
        "",
        RESTORED_LIMITS,
    ]


def recipe_of(spec: ModelSpec) -> Path:
    """Return the file of settings that a model was trained with."""
    return Path(__file__).resolve().parents[1] / "recipes" / f"{spec.name}.toml"


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
