"""Write the model cards: what a model has seen, how it was trained, what it gains.

    python scripts/write_model_cards.py --weights src/napari_hrsr/models/weights
        --results RESULTS --data DATA --iterations 2=7000 --iterations 3=4500

RESULTS is what ``benchmarks/default_models.py`` wrote; DATA holds SOURCES.md
with one section for each training image.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

from train_default_models import JOBS

from napari_hrsr.training.images import load_images

LIMITS = """\
- The network restores what is likely from images like those listed below; it
  does not measure. Fine detail in a result can be wrong. Compare with the
  source, and do not diagnose from it.
- Many of the training images are noisy themselves. Noise in a truth cannot be
  predicted, so it puts a ceiling on the gain that can be measured; the tables
  therefore use images binned by two where they are large enough, and give the
  images as acquired beside them.
- The network is told one noise level for the whole image. Where noise grows
  with the signal it follows the brightness by itself, as far as it learned to.
- `estimate_noise` can take dense fine texture for noise; the result is then
  too smooth. Give the noise level yourself, or zero, if you know better.
- It was trained for blur from none to a Gaussian of one fine pixel (standard
  deviation), and for white noise. Correlated noise, JPEG blocks and stronger
  blur were not trained for.
- A linear filter that is fitted to the exact blur (PSF + area, no noise) can
  gain more than this network, which has to serve every blur without knowing it.
"""


def attribution(sources: str, used: set[str]) -> list[str]:
    """Return one line for each training image that was used."""
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


def card(
    name: str,
    weights: Path,
    results: Path,
    data: Path,
    iterations: int,
    left_out: str = "",
    note: str = "",
    folds: str = "",
) -> str:
    """Return the text of one card."""
    job = JOBS[name]
    facts = next(f for f in json.loads((weights / "index.json").read_text()) if f["name"] == name)
    used = {
        image.name.split("#")[0]
        for image in load_images(data / "train", job.ndim, left_out.split(","))
    }
    recipe = job.recipe
    tables = [
        (results / f"default_models_{job.ndim}d_{truth}.md").read_text().replace("## ", "### ")
        for truth in ("binned", "acquired")
        if (results / f"default_models_{job.ndim}d_{truth}.md").exists()
    ]
    extra = "".join(f" --leave-out {source}" for source in left_out.split(",") if source)
    size = " x ".join([str(recipe.size)] * job.ndim)
    lines = [
        f"# {name}",
        "",
        f"{facts['title']}. Licence of the weights: {facts['licence']}.",
        "",
        f"- Network: `{facts['architecture']}`, {facts['arguments']['features']} features, "
        f"{facts['arguments']['blocks']} {facts['arguments']['block']} blocks on top of cubic "
        f"interpolation; halo {tuple(facts['halo'])} source pixels; {facts['citation']}.",
        "- Input: one channel, 0.1 % and 99.9 % percentiles of the image mapped to 0 and 1 "
        "(not clipped), and the standard deviation of its noise in the same units.",
        f"- File: `{facts['weights']['file']}`, {facts['weights']['size']} bytes, half precision, "
        f"sha256 `{facts['weights']['sha256']}`.",
        "",
        "## Recipe",
        "",
        f"`scripts/train_default_models.py --only {name} --iterations {iterations}{extra}`: "
        f"{iterations} steps of {recipe.batch} patches of {size} source pixels, Charbonnier loss, "
        f"AdamW {recipe.learning_rate:g} with warm-up and cosine, gradients clipped at "
        f"{recipe.clip:g}, moving average {recipe.average:g}. Truth: the images below as they "
        "are and binned by two. Coarse images: three in ten antialiased bicubic, four pixel "
        "areas, three a Gaussian point spread function of 0.3 to 1.0 fine pixels with pixel "
        f"areas; {recipe.noisy_fraction:.0%} of all with Poisson (50 to 2000 photons at white) "
        "and Gaussian noise (0.2 to 4 % of white). Range and noise are measured on the coarse "
        "image, as in use." + (f" {note}" if note else ""),
        "",
        "## Measured gain",
        "",
        "Over bicubic upsampling (Keys, a = -0.5), in decibels, on whole sources left out of "
        "the training, with the noise level estimated from the coarse image. Each cell reads in "
        "the order above its table. "
        "The linear filter knows the formation, the network does not. Reproduce with "
        "`benchmarks/default_models.py`.",
        *(["", folds] if folds else []),
        "",
        *tables,
        "## Limits",
        "",
        LIMITS,
        "## Images seen in training",
        "",
        *attribution((data / "SOURCES.md").read_text(), used),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and write the cards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.md in it")
    parser.add_argument("--iterations", action="append", required=True, metavar="NDIM=STEPS")
    parser.add_argument("--leave-out", action="append", default=[], metavar="NDIM=SOURCE,SOURCE")
    parser.add_argument("--note", action="append", default=[], metavar="NDIM=TEXT")
    parser.add_argument("--folds", action="append", default=[], metavar="NDIM=TEXT")
    options = parser.parse_args()
    steps = dict(pair.split("=") for pair in options.iterations)
    left_out = dict(pair.split("=") for pair in options.leave_out)
    notes = dict(pair.split("=", 1) for pair in options.note)
    folds = dict(pair.split("=", 1) for pair in options.folds)
    for name, job in JOBS.items():
        ndim = str(job.ndim)
        text = card(
            name,
            options.weights,
            options.results,
            options.data,
            int(steps[ndim]),
            left_out.get(ndim, ""),
            notes.get(ndim, ""),
            folds.get(ndim, ""),
        )
        (options.weights / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
