"""Packages of the BioImage Model Zoo: from a description to an Upscaler.

The description is checked by bioimageio.spec; nothing is downloaded, and none
of the author's code is run unless the user trusts it, see `trusted`. What the
description does to the values of an image is done here: statistics of a whole
image are measured once by the engine, so that tiles agree.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_hrsr.errors import ModelFileError
from napari_hrsr.models.foreign.package_weights import choose_weights, find_program, make_run
from napari_hrsr.models.foreign.packages import Reader
from napari_hrsr.models.foreign.programs import Program
from napari_hrsr.models.foreign.wrapped import WRAPPED, Step, WrappedNetwork, Wrapping
from napari_hrsr.models.spec import ModelSpec

ATTACHED = "napari_hrsr.safetensors"
"""Name of our own file in the packages that we write."""

_LETTERS = {"batch": "b", "channel": "c"}


def read_description(name: str, text: bytes) -> Any:
    """Parse and check a description of a model.

    Parameters
    ----------
    name : str
        Of the package, for messages.
    text : bytes
        YAML.

    Returns
    -------
    bioimageio.spec.model.v0_5.ModelDescr
        Older ones are converted.

    Raises
    ------
    ModelFileError
        If it is none, or bioimageio.spec is not installed.
    """
    try:
        import bioimageio.spec as library
        import yaml
    except ImportError:
        msg = (
            f'{name} is a package of the BioImage Model Zoo: pip install "napari-hrsr[bioimageio]"'
        )
        raise ModelFileError(msg) from None
    try:
        content = yaml.safe_load(io.BytesIO(text))
        context = library.ValidationContext(perform_io_checks=False, log_warnings=False)
        if not isinstance(content, dict):
            raise ValueError("it is no list of facts")
        found = library.build_description(content, context=context, format_version="latest")
    except Exception as error:
        msg = (
            f"{name} has a description that is not understood: {' '.join(str(error).split())[:300]}"
        )
        raise ModelFileError(msg) from None
    if getattr(found, "type", None) != "model" or isinstance(found, library.InvalidDescr):
        reason = " ".join(found.validation_summary.format().split())[-300:]
        msg = f"{name} describes no valid model: {reason}"
        raise ModelFileError(msg)
    return found


def load_package(
    name: str, description: bytes, read: Reader
) -> tuple[WrappedNetwork, dict[str, bytes]]:
    """Load the network of a package.

    Parameters
    ----------
    name : str
        Of the package, for messages.
    description : bytes
        YAML.
    read : callable
        Reads its files.

    Returns
    -------
    WrappedNetwork
        Its receptive field is not measured yet.
    dict of str to bytes
        The file of weights, by what runs it.

    Raises
    ------
    ModelFileError
        With the reason, if it is damaged, would run code that the user does not
        trust, or does what cannot be done tile by tile.
    """
    found = read_description(name, description)
    spec, wrapping = _facts(name, found)
    runs, content = choose_weights(name, found.weights, read)
    run = make_run(name, runs, content)
    spec = replace(spec, arguments={"runs": runs, "network": f"bioimage.io, {runs}"})
    model = WrappedNetwork(run, wrapping, spec)
    _try(name, model)
    return model, {runs: content}


def package_program(name: str, description: bytes, read: Reader) -> Program | None:
    """Return the code that the network of a package needs; None where it needs none.

    Parameters
    ----------
    name, description, read
        As for `load_package`.

    Raises
    ------
    ModelFileError
        If the package is damaged.
    """
    return find_program(name, read_description(name, description).weights, read)


def _facts(name: str, found: Any) -> tuple[ModelSpec, Wrapping]:
    if len(found.inputs) != 1 or len(found.outputs) != 1:
        msg = (
            f"{name} takes {len(found.inputs)} inputs and gives {len(found.outputs)} results: "
            "only networks from one image to one image can be used"
        )
        raise ModelFileError(msg)
    source, result = found.inputs[0], found.outputs[0]
    inputs, outputs = _axes(name, source), _axes(name, result)
    space = [letter for letter in "zyx" if letter in inputs]
    if space not in (["y", "x"], ["z", "y", "x"]) or set(inputs) - {"b"} - set("c") != set(
        outputs
    ) - {"b"} - set("c"):
        msg = f"{name} takes the axes {inputs} and gives {outputs}: expected y, x and perhaps z"
        raise ModelFileError(msg)
    channels = _channels(source), _channels(result)
    if channels[0] != channels[1] or channels[0] not in (1, 3, 4):
        msg = f"{name} makes {channels[1]} channels of {channels[0]}: it gives back no image"
        raise ModelFileError(msg)
    sizes = [_size(name, source, result, letter) for letter in space]
    least, step, scale, lost, _halo = zip(*sizes, strict=True)
    normalised, percentiles, before = _before(name, source, channels[0])
    after = tuple(_steps(name, result.postprocessing, channels[0]))
    minimum = tuple(max(1, n - 2 * k) for n, k in zip(least, lost, strict=True))
    spec = ModelSpec(
        name=Path(name).stem,
        title=str(found.name),
        task="upscale" if max(scale) > 1 else "enhance",
        architecture=WRAPPED,
        arguments={},
        ndim=2 if len(space) == 2 else 3,
        scale=scale,
        channels=channels[0],
        multiple=step,
        minimum=minimum,
        normalisation=normalised,  # type: ignore[arg-type]
        percentiles=percentiles,
        restored=False,
        dtypes=("float32",),
        licence=str(found.license or "not stated in the package"),
        citation="; ".join(str(c.text) for c in found.cite)[:500],
        trained_on="see the documentation of the package",
    )
    return spec, Wrapping(inputs, outputs, least, step, lost, before, after)


def _axes(name: str, tensor: Any) -> str:
    letters = []
    for axis in tensor.axes:
        letter = _LETTERS.get(axis.type, str(axis.id))
        if letter not in "bczyx" or len(letter) != 1:
            msg = f"{name} has the axis {str(axis.id)!r}, which cannot be used"
            raise ModelFileError(msg)
        letters.append(letter)
    return "".join(letters)


def _axis(tensor: Any, letter: str) -> Any:
    return next(a for a in tensor.axes if _LETTERS.get(a.type, str(a.id)) == letter)


def _channels(tensor: Any) -> int:
    return next((len(a.channel_names) for a in tensor.axes if a.type == "channel"), 1)


def _size(name: str, source: Any, result: Any, letter: str) -> tuple[int, int, int, int, int]:
    """Return least, step, factor, source pixels lost at each border, and halo of an axis."""
    given, made = _axis(source, letter), _axis(result, letter)
    size = given.size
    if not hasattr(size, "step"):
        msg = f"{name} takes images of one size only along {letter} ({size}): it cannot be tiled"
        raise ModelFileError(msg)
    reference = made.size
    if getattr(reference, "axis_id", None) != given.id:
        msg = f"{name} makes a result whose length along {letter} does not follow its input's"
        raise ModelFileError(msg)
    factor = given.scale / made.scale
    if abs(factor - round(factor)) > 1e-6 or not 1 <= round(factor) <= 16:
        msg = (
            f"{name} has the factor {factor:g} along {letter}; whole ones from 1 to 16 can be used"
        )
        raise ModelFileError(msg)
    lost = -reference.offset / (2 * round(factor))
    if lost < 0 or lost != int(lost):
        msg = f"{name} makes a result that is shifted along {letter} by {reference.offset} pixels"
        raise ModelFileError(msg)
    return size.min, size.step, round(factor), int(lost), int(getattr(made, "halo", 0))


def _before(
    name: str, source: Any, channels: int
) -> tuple[str, tuple[float, float], tuple[Step, ...]]:
    """Split what is done first into statistics of the whole image and steps value by value."""
    kind, percentiles = "none", (0.1, 99.9)
    steps: list[Step] = []
    for each in source.preprocessing:
        if each.id not in ("zero_mean_unit_variance", "scale_range"):
            steps += _steps(name, [each], channels)
            continue
        harmless = all(s[0] == "linear" and len(s[1]) == 1 and s[1][0] > 0 for s in steps)
        if kind != "none" or not harmless:
            msg = f"{name} measures the image after changing it, which cannot be done tile by tile"
            raise ModelFileError(msg)
        _check_statistics(name, source, each.kwargs, channels)
        # A shift or a gain before makes no difference to what is scaled afterwards.
        steps = []
        if each.id == "scale_range":
            percentiles = (float(each.kwargs.min_percentile), float(each.kwargs.max_percentile))
            kind = "percentile"
        else:
            kind = "standard"
    return kind, percentiles, tuple(steps)


def _check_statistics(name: str, source: Any, options: Any, channels: int) -> None:
    axes = [str(a) for a in options.axes] if options.axes is not None else None
    reference = getattr(options, "reference_tensor", None)
    if reference is not None and reference != source.id:
        msg = f"{name} scales its input by {str(reference)!r}, which cannot be done"
        raise ModelFileError(msg)
    if axes is None:
        return
    needed = {str(a.id) for a in source.axes if a.type == "space"}
    if channels > 1:
        needed |= {str(a.id) for a in source.axes if a.type == "channel"}
    if not needed <= set(axes):
        msg = (
            f"{name} measures the image along {', '.join(axes)} only, "
            "not as a whole: that cannot be done here"
        )
        raise ModelFileError(msg)


def _steps(name: str, described: Iterable[Any], channels: int) -> list[Step]:
    steps: list[Step] = []
    for each in described:
        kind = str(each.id)
        options: Any = getattr(each, "kwargs", None)
        if kind == "ensure_dtype":
            continue
        axis = getattr(options, "axis", None)
        if axis is not None and str(axis) != "channel":
            msg = f"{name}: {kind} along {str(axis)!r} cannot be done tile by tile"
            raise ModelFileError(msg)
        if kind == "scale_linear":
            gain, offset = _numbers(options.gain), _numbers(options.offset)
            steps.append(("linear", gain, offset))
        elif kind == "fixed_zero_mean_unit_variance":
            mean, std = _numbers(options.mean), _numbers(options.std)
            gains = tuple(1 / s for s in std)
            shifts = tuple(-m / s for m, s in zip(mean, std, strict=True))
            steps.append(("linear", gains, shifts))
        elif (
            kind == "clip"
            and getattr(options, "min_percentile", None) is None
            and getattr(options, "max_percentile", None) is None
        ):
            low = -math.inf if options.min is None else float(options.min)
            high = math.inf if options.max is None else float(options.max)
            steps.append(("clip", (low,), (high,)))
        elif kind == "binarize":
            steps.append(("above", _numbers(options.threshold), ()))
        elif kind in ("sigmoid", "softmax"):
            steps.append((kind, (), ()))
        else:
            msg = (
                f"{name} changes its values by {kind}, which needs the whole result or is not "
                "known here: it cannot be done tile by tile"
            )
            raise ModelFileError(msg)
        if any(len(part) not in (0, 1, channels) for part in steps[-1][1:]):
            msg = f"{name}: {kind} has numbers for other channels than the network's"
            raise ModelFileError(msg)
    return steps


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),)


def _try(name: str, model: WrappedNetwork) -> None:
    spec = model.spec
    sides = [
        max(-(-32 // k) * k, -(-m // k) * k)
        for m, k in zip(spec.minimum, spec.multiple, strict=True)
    ]
    image = torch.linspace(0, 1, math.prod(sides)).reshape(1, 1, *sides)
    try:
        result = model(image.expand(-1, spec.channels, *sides))
    except ModelFileError:
        raise
    except Exception as error:
        msg = f"{name} cannot be run on an image of {sides}: {' '.join(str(error).split())[:300]}"
        raise ModelFileError(msg) from None
    expected = (1, spec.channels, *(n * k for n, k in zip(sides, spec.scale, strict=True)))
    if tuple(result.shape) != expected:
        msg = f"{name} makes {tuple(result.shape)} of {sides}, not {expected} as it is described"
        raise ModelFileError(msg)
