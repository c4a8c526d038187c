"""How much models, and mirrored views of an image, differ in what they make of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from napari_hrsr.errors import ModelError
from napari_hrsr.models.compose import (
    Cancelled,
    Interruptible,
    Wanted,
    check_cancelled,
    mirrored_views,
    run_wanted,
    swaps_axes,
)
from napari_hrsr.models.spec import ModelSpec, Upscaler

_SIGMA = 1.5
"""Standard deviation of the smoothing, in fine pixels: that of a few views alone is
known to a quarter only, together with its neighbours' well."""

_REACH = math.ceil(3 * _SIGMA)


class ModelMean(Interruptible):
    """The mean of several models."""

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Wanted | None = None,
        cancelled: Cancelled | None = None,
    ) -> Tensor:
        """Average over the models; see `Upscaler`."""
        total = None
        for model in self.models:
            result = _run(model, batch, noise, wanted, cancelled)
            total = result if total is None else total + result
        assert total is not None
        return total / len(self.models)


class ViewSpread(Interruptible):
    """The standard deviation over all views and models, smoothed."""

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Wanted | None = None,
        cancelled: Cancelled | None = None,
    ) -> Tensor:
        """Return the spread; see `view_spread`."""
        mean, squares, count = batch.new_zeros(()), batch.new_zeros(()), 0
        # Welford's update: a sum of squares would lose a small spread on a large value.
        for result in self._results(batch, noise, cancelled):
            count += 1
            step = result - mean
            mean = mean + step / count
            squares = squares + step * (result - mean)
        return _smoothed(squares / (count - 1)).sqrt()

    def _results(
        self, batch: Tensor, noise: Tensor | None, cancelled: Cancelled | None
    ) -> Iterator[Tensor]:
        for model in self.models:
            for flips, swap in mirrored_views(self.spec):
                view = batch.transpose(-1, -2) if swap else batch
                result = _run(model, view.flip(flips), noise, None, cancelled).flip(flips)
                yield result.transpose(-1, -2) if swap else result


def view_spread(models: Sequence[Upscaler]) -> Upscaler:
    """Make a model that tells how much its views of an image differ.

    Parameters
    ----------
    models : sequence of Upscaler
        One, or several of the same factor.

    Returns
    -------
    Upscaler
        Like the models, but its result is the standard deviation over all
        models and mirrored views (8 in 2D where both axes are treated alike, 4
        where not, and 8 in 3D), as the root mean square under a Gaussian of 1.5
        fine pixels. It has the models' gain but no offset.

    Raises
    ------
    ModelError
        If the models do not fit together.
    """
    spec = _common(models)
    halo, minimum = spec.halo, spec.minimum
    if swaps_axes(spec):
        halo = halo and (max(halo),) * spec.ndim
        minimum = (max(minimum),) * spec.ndim
    if halo is not None:
        halo = tuple(h + math.ceil(_REACH / k) for h, k in zip(halo, spec.scale, strict=True))
    composed = replace(
        spec,
        name=f"{spec.name}-spread",
        title=f"Spread of {spec.title}",
        architecture="view_spread",
        halo=halo,
        minimum=minimum,
    )
    return ViewSpread(models, composed)


def count_views(models: Sequence[Upscaler]) -> int:
    """Return how many results a spread is over."""
    return sum(len(list(mirrored_views(_common(models)))) for _ in models)


def average_models(models: Sequence[Upscaler]) -> Upscaler:
    """Average models of the same factor.

    Parameters
    ----------
    models : sequence of Upscaler
        At least one; a single one is returned as it is.

    Raises
    ------
    ModelError
        If the models do not fit together.
    """
    spec = _common(models)
    if len(models) == 1:
        return models[0]
    return ModelMean(models, replace(spec, architecture="model_mean"))


def _common(models: Sequence[Upscaler]) -> ModelSpec:
    """Return the facts of models that are run side by side."""
    if not models:
        msg = "at least one model is needed"
        raise ModelError(msg)
    specs = [model.spec for model in models]
    first = specs[0]
    for spec in specs:
        for fact in ("ndim", "scale", "channels", "normalisation", "value_range"):
            if getattr(spec, fact) != getattr(first, fact):
                msg = (
                    f"models {first.name!r} and {spec.name!r} differ in their {fact}: "
                    f"{getattr(first, fact)} and {getattr(spec, fact)}. "
                    "Only models of the same kind can be compared"
                )
                raise ModelError(msg)
    if len(specs) == 1:
        return replace(first, weights=None, gains={})
    halos = [spec.halo for spec in specs if spec.halo is not None]
    return replace(
        first,
        name="|".join(spec.name for spec in specs),
        title=" and ".join(spec.title for spec in specs),
        halo=_each(halos, max) if len(halos) == len(specs) else None,
        multiple=_each([spec.multiple for spec in specs], math.lcm),
        minimum=_each([spec.minimum for spec in specs], max),
        arguments={"features": max(_features(spec) for spec in specs)},
        dtypes=("float32",),
        precision="float32",
        noise_input=any(spec.noise_input for spec in specs),
        weights=None,
        gains={},
        caution=next((spec.caution for spec in specs if spec.caution), ""),
    )


def _each(values: Sequence[tuple[int, ...]], join: object) -> tuple[int, ...]:
    assert callable(join)
    return tuple(int(join(*axis)) for axis in zip(*values, strict=True))


def _features(spec: ModelSpec) -> int:
    features = spec.arguments.get("features", 0)
    return features if isinstance(features, int) else 0


def _run(
    model: Upscaler,
    batch: Tensor,
    noise: Tensor | None,
    wanted: Wanted | None,
    cancelled: Cancelled | None,
) -> Tensor:
    check_cancelled(cancelled)
    level = noise
    if not model.spec.noise_input:
        level = None
    elif noise is None:
        level = batch.new_zeros((1,) * batch.ndim)
    return run_wanted(model, batch, level, wanted, cancelled)


def _smoothed(variance: Tensor) -> Tensor:
    """Average under a Gaussian; beyond the border the last pixel goes on."""
    n, channels, *spatial = variance.shape
    ndim = len(spatial)
    distance = torch.arange(-_REACH, _REACH + 1, device=variance.device, dtype=variance.dtype)
    weights = torch.exp(-0.5 * (distance / _SIGMA) ** 2)
    weights = weights / weights.sum()
    values = variance.reshape(n * channels, 1, *spatial)
    convolve = functional.conv2d if ndim == 2 else functional.conv3d
    for axis in range(ndim):
        # Padding is given from the last axis to the first.
        padding = [0] * (2 * ndim)
        padding[2 * (ndim - 1 - axis)] = padding[2 * (ndim - 1 - axis) + 1] = _REACH
        shape = [1] * (2 + ndim)
        shape[2 + axis] = 2 * _REACH + 1
        values = convolve(functional.pad(values, padding, "replicate"), weights.reshape(shape))
    return values.reshape(variance.shape)


__all__ = ["average_models", "count_views", "view_spread"]
