"""Write the measured gains into the shipped weights, and the index of all of them.

    python scripts/index_weights.py src/napari_hrsr/models/weights --gains RESULTS

RESULTS is the folder that ``benchmarks/default_models.py`` wrote. The gains are
the means over modalities of the gains over bicubic upsampling.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_hrsr.models.spec import ModelSpec, Weights, spec_from_dict, spec_to_dict


def mean_gains(rows: list[dict[str, object]]) -> dict[str, float]:
    """Return the gain of the network for each formation, averaged over modalities."""
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[str(row["formation"])][str(row["modality"])].append(float(row["network"]))  # type: ignore[arg-type]
    return {
        formation: round(float(np.mean([np.mean(gains) for gains in by_modality.values()])), 2)
        for formation, by_modality in cells.items()
    }


def update(path: Path, results: Path | None) -> ModelSpec:
    """Rewrite one file with its gains and return its facts, weights included."""
    with safe_open(path, "numpy") as file:
        spec = spec_from_dict(json.loads(file.metadata()["napari_hrsr"]))
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if results is not None:
        rows = json.loads((results / f"default_models_{spec.ndim}d_binned.json").read_text())
        spec = replace(spec, gains=mean_gains(rows))
    save_file(state, path, metadata={"napari_hrsr": json.dumps(spec_to_dict(spec))})
    path.chmod(0o644)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return replace(spec, weights=Weights(path.name, digest, len(content)))


def main() -> None:
    """Parse the command line and write the index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the safetensors files")
    parser.add_argument("--gains", type=Path, help="folder of benchmark results")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.safetensors"))
    facts = [spec_to_dict(update(path, options.gains)) for path in paths]
    index = options.folder / "index.json"
    index.write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{index}: {len(facts)} models")


if __name__ == "__main__":
    main()
