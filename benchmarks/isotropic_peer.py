"""Make a stack isotropic with isotropic CARE (csbdeep), as a peer in ``isotropic.py``.

    python -m venv PEER && PEER/bin/pip install csbdeep tensorflow-cpu
    PEER/bin/python benchmarks/isotropic_peer.py STACK.npy RESULT.npy --factor 4 --minutes 3

Needs csbdeep (tried: 0.8.2) and TensorFlow (2.21), not napari-hrsr; reads and
writes arrays with the axes Z, Y, X. The network, its loss and optimiser, the
drawing of patches, the choice of the best epoch and the prediction on both
orientations are csbdeep's, with its defaults (U-Net of depth 2, 32 features,
kernels of 5, residual), but for batches of 4 in place of 16 and patches of 64 x 64:
more steps in the time. Three more things are done for it:

- csbdeep's own `anisotropic_distortions` and ``predict(factor=...)`` take the
  centres of the first and last slice for those of the first and last voxel, which
  stretches the result against the truth. Training pairs and input are made on the
  grid of the truth here (Gaussian slices as wide as their distance, then linear
  interpolation as in csbdeep), and prediction is asked for a factor of one.
- The training time is cut off by the clock, from the second step on (compiling is
  not counted), and the learning rate falls along half a cosine until then; by
  default it would hardly fall in minutes.
- Slices blurred along x and those blurred along y both serve for training, as in
  `make_isotropic`. Values are scaled to between the smallest and the 99.8th
  percentile, as the prediction's geometric mean of both orientations needs them
  not to be negative.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PATCHES = 1024
HELD = 16
"""Patches to choose the best epoch on."""

STEPS_PER_EPOCH = 25
BATCH = 4
PATCH = 64


def coarse_and_back(voxels: int, factor: int, fwhm: float = 1.0) -> np.ndarray:
    """Return the matrix that makes Gaussian slices and interpolates between them linearly."""
    slices = voxels // factor
    centres = (np.arange(slices) + 0.5) * factor - 0.5
    sigma = fwhm * factor / math.sqrt(8 * math.log(2))
    reach = math.ceil(4 * sigma) + 1
    positions = np.round(centres).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = positions - centres[:, None]
    weights = np.where(np.abs(distance) <= 4 * sigma, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    sliced = np.zeros((slices, voxels))
    rows = np.broadcast_to(np.arange(slices)[:, None], positions.shape)
    clipped = np.clip(positions, 0, voxels - 1)
    np.add.at(sliced, (rows, clipped), weights / weights.sum(1, keepdims=True))
    return interpolated(slices, factor) @ sliced


def interpolated(slices: int, factor: int) -> np.ndarray:
    """Return the matrix that interpolates linearly; the outer edges of both grids coincide."""
    at = (np.arange(slices * factor) + 0.5) / factor - 0.5
    return np.stack([np.interp(at, np.arange(slices), row) for row in np.eye(slices)], axis=1)


def make_patches(stack: np.ndarray, factor: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw patches of slices that are coarse along their last axis, and of sharp ones."""
    from csbdeep.data import RawData, create_patches
    from csbdeep.data.transform import Transform

    def images() -> Iterator[tuple[np.ndarray, np.ndarray, str, None]]:
        for volume in (stack, stack.transpose(0, 2, 1)):
            whole = np.ascontiguousarray(volume[..., : volume.shape[-1] // factor * factor])
            yield whole, whole, "ZYX", None

    def distorted(inputs: Any) -> Iterator[tuple[np.ndarray, np.ndarray, str, Any]]:
        for volume, target, axes, mask in inputs:
            matrix = coarse_and_back(volume.shape[-1], factor).astype(np.float32)
            yield volume @ matrix.T, target, axes, mask

    side = min(PATCH, min(stack.shape[1:]) // (4 * factor) * 4 * factor)
    source, target, axes = create_patches(
        RawData(images, 2, "slices along both of their axes"),
        patch_size=(1, side, side),
        n_patches_per_image=PATCHES // 2,
        transforms=[Transform("slices", distorted, 1)],
        normalization=None,
        verbose=False,
    )
    z = axes.index("Z")
    order = np.random.default_rng(seed).permutation(len(source))
    # S C Z Y X, with one plane, to S Y X C.
    move = [np.moveaxis(np.take(a, 0, axis=z), 1, -1)[order] for a in (source, target)]
    return move[0], move[1]


def train(
    source: np.ndarray, target: np.ndarray, minutes: float, folder: str, *, processor: bool
) -> tuple[Any, int]:
    """Train for some minutes, of the clock or of the processor."""
    import keras
    from csbdeep.models import Config, IsotropicCARE

    config = Config(
        "SYXC",
        1,
        1,
        train_batch_size=BATCH,
        train_steps_per_epoch=STEPS_PER_EPOCH,
        train_epochs=100_000,
        train_reduce_lr=None,
        train_tensorboard=False,
    )
    model = IsotropicCARE(config, "peer", basedir=folder)
    model.prepare_for_training()
    rate, budget = config.train_learning_rate, 60 * minutes
    now = time.process_time if processor else time.perf_counter

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        """Lets the learning rate fall, and stops in time."""

        begin = 0.0
        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """Look at the clock."""
            self.steps += 1
            if self.steps == 1:
                self.begin = now()
            done = min(1.0, (now() - self.begin) / budget)
            self.model.optimizer.learning_rate = rate * (1 + math.cos(math.pi * done)) / 2
            if done >= 1:
                self.model.stop_training = True

    clock = Clock()
    model.callbacks.append(clock)
    held = source[:HELD], target[:HELD]
    model.train(source[HELD:], target[HELD:], validation_data=held)
    return model, clock.steps


def main() -> None:
    """Parse the command line, train, restore, and write the result and its facts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stack", type=Path)
    parser.add_argument("result", type=Path, help="facts are written beside it, as JSON")
    parser.add_argument("--factor", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--processor", action="store_true", help="minutes of processor time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow  # noqa: F401, its import is not counted below
    from csbdeep.models import IsotropicCARE  # noqa: F401, nor is this

    keras.utils.set_random_seed(options.seed)
    stack = np.load(options.stack).astype(np.float32)
    cpu, wall = time.process_time(), time.perf_counter()
    low, high = float(stack.min()), float(np.percentile(stack, 99.8))
    scaled = (stack - low) / (high - low)
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        model, steps = train(
            *make_patches(scaled, options.factor, options.seed),
            minutes=options.minutes,
            folder=folder,
            processor=options.processor,
        )
        fine = np.tensordot(
            interpolated(len(stack), options.factor).astype(np.float32), scaled, (1, 0)
        )
        result = model.predict(fine, "ZYX", 1, normalizer=None)
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    np.save(options.result, (result * (high - low) + low).astype(np.float32))
    options.result.with_suffix(".json").write_text(json.dumps(seconds | {"steps": steps}))


if __name__ == "__main__":
    main()
