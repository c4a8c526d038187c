"""Train the models that ship with the package, or one fold of their evaluation.

    python scripts/train_default_models.py --data DATA/train --out WEIGHTS

Deterministic for a seed, a number of iterations and a version of torch. With
``--minutes`` the number of iterations is chosen from the speed of the machine
and printed, so that the run can be repeated with ``--iterations``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from napari_hrsr.models.nets import build_network
from napari_hrsr.models.spec import ModelSpec, spec_to_dict
from napari_hrsr.training.images import Image, load_images
from napari_hrsr.training.recipe import PairMaker, Recipe, train


@dataclass(frozen=True)
class Job:
    """A model that ships and how it is trained."""

    title: str
    ndim: int
    scale: tuple[int, ...]
    arguments: dict[str, object]
    recipe: Recipe


JOBS = {
    "general-2d-x2": Job(
        title="General 2D x2 (microscopy, EM, CT, MRI)",
        ndim=2,
        scale=(2, 2),
        arguments={"features": 32, "blocks": 2, "block": "gated"},
        recipe=Recipe(iterations=17000, transpose_axes=(0, 1)),
    ),
    "general-3d-x2": Job(
        title="General 3D x2 (microscopy, EM, CT, MRI)",
        ndim=3,
        scale=(2, 2, 2),
        arguments={"features": 16, "blocks": 2, "block": "gated"},
        # The planes of a volume are often farther apart than its pixels: z stays z.
        recipe=Recipe(
            iterations=20000, batch=4, size=12, transpose_axes=(1, 2), pairs=60, largest=96
        ),
    ),
}
CITATION = (
    "Blocks after Wan et al., Swift Parameter-free Attention Network (SPAN), 2024; "
    "noise level input after Zhang et al., FFDNet, 2018"
)


def build(name: str, gains: dict[str, float] | None = None) -> tuple[nn.Module, ModelSpec]:
    """Return the untrained network of a job and its facts."""
    job = JOBS[name]
    arguments: dict[str, object] = {
        "ndim": job.ndim,
        "scale": job.scale,
        "channels": 1,
        **job.arguments,
        "noise_input": True,
    }
    network = build_network("convolutional", arguments)
    spec = ModelSpec(
        name=name,
        title=job.title,
        task="upscale",
        architecture="convolutional",
        arguments=arguments,
        ndim=job.ndim,
        scale=job.scale,
        halo=network.halo,
        noise_input=True,
        licence="BSD-3-Clause",
        citation=CITATION,
        trained_on="Openly licensed images, each listed in the model card",
        gains=gains or {},
    )
    return network, spec


def save(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write weights and facts into one safetensors file."""
    facts = spec_to_dict(replace(spec, weights=None))
    state = {k: v.detach().half().contiguous() for k, v in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata={"napari_hrsr": json.dumps(facts)})


def train_job(
    name: str,
    data: Path,
    *,
    leave_out: tuple[str, ...] = (),
    iterations: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    start_from: Path | None = None,
) -> tuple[nn.Module, ModelSpec, int]:
    """Train one model and return it with its facts and the iterations it took."""
    job = JOBS[name]
    torch.manual_seed(seed)
    network, spec = build(name)
    if start_from is not None:
        network.load_state_dict({k: v.float() for k, v in load_file(start_from).items()})
    images = load_images(data, job.ndim, leave_out)
    recipe = job.recipe
    if minutes is not None:
        iterations = measure_iterations(name, images, minutes)
    if iterations is not None:
        recipe = replace(recipe, iterations=iterations)
    print(f"{name}: {len(images)} images, {recipe.iterations} iterations, without {leave_out}")
    rng = np.random.default_rng(seed)
    start = time.process_time()

    def report(step: int, loss: float) -> None:
        if step % 1000 == 0:
            print(f"  {step} {loss:.5f} {time.process_time() - start:.0f} CPU-s", flush=True)

    trained = train(network, PairMaker(images, job.scale, recipe, rng), recipe, rng, report)
    print(f"  {time.process_time() - start:.0f} CPU-s", flush=True)
    return trained, spec, recipe.iterations


def measure_iterations(name: str, images: Sequence[Image], minutes: float) -> int:
    """Return how many iterations take about this long in CPU time."""
    job = JOBS[name]
    rng = np.random.default_rng(0)
    short = replace(job.recipe, iterations=40, pairs=8)
    make = PairMaker(images, job.scale, short, rng)
    network, _ = build(name)
    train(network, make, short, rng)
    start = time.process_time()
    train(network, make, short, rng)
    pace = (time.process_time() - start) / (short.iterations + short.pairs)
    return max(200, int(60 * minutes / pace) - job.recipe.pairs)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with 2d and 3d in it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--only", choices=sorted(JOBS), action="append", help="default: all")
    parser.add_argument("--leave-out", action="append", default=[], metavar="SOURCE")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--minutes", type=float, help="CPU minutes for each model")
    parser.add_argument("--start-from", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only or sorted(JOBS):
        network, spec, _ = train_job(
            name,
            options.data,
            leave_out=tuple(options.leave_out),
            iterations=options.iterations,
            minutes=options.minutes,
            seed=options.seed,
            start_from=options.start_from,
        )
        save(network, spec, options.out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
