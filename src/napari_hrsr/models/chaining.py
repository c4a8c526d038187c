"""What is known of models that run one after another: facts alone, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from napari_hrsr.errors import ModelError
from napari_hrsr.models.spec import ModelSpec

JOINT = "+"
"""What stands between the names of the models of a chain."""


def chain_spec(specs: Sequence[ModelSpec]) -> ModelSpec:
    """Compose the facts of a chain.

    Parameters
    ----------
    specs : sequence of ModelSpec
        Of its models, the first one first; chains among them are taken apart.

    Returns
    -------
    ModelSpec
        Its factor is the product of theirs. Its halo is the first one's plus
        each later one's, counted in source pixels. Where some of the models
        take one channel and the others several, it has several.

    Raises
    ------
    ModelError
        If they do not fit together.
    """
    specs = [part for spec in specs for part in (spec.parts or (spec,))]
    if not specs:
        msg = "a chain needs at least one model"
        raise ModelError(msg)
    first = specs[0]
    for spec in specs:
        _check_axes(first, spec)
        if not spec.restored:
            msg = (
                f"model {spec.name!r} gives values of its own, not the image's: "
                "it cannot be a step of a chain"
            )
            raise ModelError(msg)
    channels = max(s.channels for s in specs)
    for spec in specs:
        if spec.channels not in (1, channels):
            msg = (
                f"model {spec.name!r} takes {spec.channels} channels and another one of the chain "
                f"{channels}: the models of a chain share their channels, or take one at a time"
            )
            raise ModelError(msg)
    scale, width = [1] * first.ndim, 0
    halo: list[int] | None = [0] * first.ndim
    multiple, minimum = [1] * first.ndim, [1] * first.ndim
    for spec in specs:
        for axis, k in enumerate(scale):
            # The model's input is k times finer than the chain's.
            multiple[axis] = math.lcm(
                multiple[axis], spec.multiple[axis] // math.gcd(spec.multiple[axis], k)
            )
            minimum[axis] = max(minimum[axis], math.ceil(spec.minimum[axis] / k))
        if halo is None or spec.halo is None:
            halo = None
        else:
            halo = [h + math.ceil(m / k) for h, m, k in zip(halo, spec.halo, scale, strict=True)]
        # A later model holds its features for each of the finer pixels.
        width = max(width, _features(spec) * math.prod(scale))
        scale = [k * s for k, s in zip(scale, spec.scale, strict=True)]
    # Interpolation takes values as they are, so it follows those that do not.
    lead = next((s for s in specs if s.normalisation != "none"), first)
    return replace(
        first,
        name=JOINT.join(s.name for s in specs),
        title=", then ".join(s.title for s in specs),
        task=specs[-1].task,
        architecture="chain",
        arguments={"features": width},
        channels=channels,
        scale=tuple(scale),
        halo=None if halo is None else tuple(halo),
        multiple=tuple(multiple),
        minimum=tuple(minimum),
        value_range=lead.value_range,
        normalisation=lead.normalisation,
        percentiles=lead.percentiles,
        dtypes=tuple(d for d in first.dtypes if all(d in s.dtypes for s in specs)),
        precision=first.precision if all(first.precision in s.dtypes for s in specs) else "float32",
        noise_input=any(s.noise_input for s in specs),
        weights=None,
        trained_on="",
        gains={},
        caution=next((s.caution for s in specs if s.caution), ""),
        parts=tuple(specs),
    )


def chain_steps(spec: ModelSpec) -> tuple[str, ...]:
    """Say in a word what each model of a chain does, for example ``("denoise", "x2")``.

    Parameters
    ----------
    spec : ModelSpec
        Of any model; one that is no chain is one step.
    """
    return tuple(_step(part) for part in spec.parts or (spec,))


def _step(spec: ModelSpec) -> str:
    if set(spec.scale) == {1}:
        return spec.task
    same = len(set(spec.scale)) == 1
    label = str(spec.scale[0]) if same else "x".join(map(str, spec.scale))
    return f"x{label}" if spec.task == "upscale" else f"{spec.task} x{label}"


def _check_axes(first: ModelSpec, spec: ModelSpec) -> None:
    if first.ndim == spec.ndim:
        return
    msg = (
        "the models of a chain must have the same number of axes: "
        f"{first.name!r} is for {first.ndim}D images and {spec.name!r} for {spec.ndim}D ones; "
        f"choose {first.ndim}D models for all steps"
    )
    raise ModelError(msg)


def _features(spec: ModelSpec) -> int:
    features = spec.arguments.get("features", 0)
    return features if isinstance(features, int) else 0
