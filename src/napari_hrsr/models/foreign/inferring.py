"""Find out by running it what a network makes of an image: its factor, channels and lengths."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import CancelledError, ModelFileError
from napari_hrsr.models.foreign.loading import with_field
from napari_hrsr.models.foreign.reading import read_file
from napari_hrsr.models.foreign.wrapped import (
    WRAPPED,
    Run,
    WrappedNetwork,
    Wrapping,
    wrapping_to_text,
)
from napari_hrsr.models.receptive_field import ReceptiveField, measure_receptive_field
from napari_hrsr.models.spec import ModelSpec

_LARGEST_SIDECAR = 2**16
_LARGEST_FACTOR = 16
_SIDES = {2: (65, 66, 68, 72, 80, 96, 64), 3: (25, 26, 28, 24, 32)}
"""Lengths to try, each a multiple of one power of two that the ones before are not."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "factor": (int, list),
    "channels": (int,),
    "ndim": (int,),
    "normalisation": (str,),
    "value_range": (list,),
    "task": (str,),
    "licence": (str,),
    "citation": (str,),
    "trained_on": (str,),
}
_NORMALISATIONS = ("none", "percentile", "photo", "range", "standard")
_TASKS = ("upscale", "denoise", "deblur", "enhance")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read the facts beside a file, in ``<its name>.json``; empty where there is none.

    Parameters
    ----------
    path : Path
        Of the network.

    Returns
    -------
    dict
        Any of factor, channels, ndim, normalisation, value_range, task,
        licence, citation and trained_on.

    Raises
    ------
    ModelFileError
        If it is not understood.
    """
    beside = path.with_name(path.name + ".json")
    if not beside.exists():
        return {}
    content = read_file(beside)
    try:
        facts = json.loads(content) if len(content) <= _LARGEST_SIDECAR else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        msg = f"{beside.name} is no description of a network in JSON"
        raise ModelFileError(msg)
    return check_given(beside.name, facts)


def check_given(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse facts that cannot be used; leave out those that are None.

    Raises
    ------
    ModelFileError
        With the fact and what is expected.
    """
    given = {key: value for key, value in facts.items() if value is not None}
    for key, value in given.items():
        kinds = _KINDS.get(key)
        if kinds is None or not isinstance(value, kinds) or isinstance(value, bool):
            msg = f"{name} states {key!r}: expected {', '.join(_KINDS)}"
            raise ModelFileError(msg)
    factor = given.get("factor")
    factors = factor if isinstance(factor, list) else [1 if factor is None else factor]
    fits = all(isinstance(k, int) and 1 <= k <= _LARGEST_FACTOR for k in factors)
    span = given.get("value_range", [0, 1])
    fits &= len(span) == 2 and all(isinstance(v, (int, float)) for v in span)
    fits = fits and span[0] < span[1]
    fits &= given.get("ndim", 2) in (2, 3) and given.get("channels", 1) in (1, 3, 4)
    fits &= given.get("normalisation", "none") in _NORMALISATIONS
    fits &= given.get("task", "upscale") in _TASKS
    if not fits:
        msg = (
            f"{name} states what cannot be: factors go from 1 to {_LARGEST_FACTOR}, channels are "
            f"1, 3 or 4, ndim is 2 or 3, value_range has two numbers, normalisation is one of "
            f"{', '.join(_NORMALISATIONS)}, task one of {', '.join(_TASKS)}"
        )
        raise ModelFileError(msg)
    return given


def infer_network(
    name: str, run: Run, given: Mapping[str, Any], *, runs: str, rank: int | None = None
) -> WrappedNetwork:
    """Run a network on small images, and state what it does.

    Parameters
    ----------
    name : str
        Of the file.
    run : callable
        Takes (1, C, *spatial) in float32.
    given : mapping
        Facts from `check_given`; they win over what is found.
    runs : str
        What runs it, for the facts.
    rank : int, optional
        Axes of its input, where the file says.

    Returns
    -------
    WrappedNetwork
        Its receptive field is not measured yet.

    Raises
    ------
    ModelFileError
        If it runs on no image that was tried, or does not give back an image
        larger by a whole factor.
    """
    ndims = [given["ndim"]] if "ndim" in given else [2, 3] if rank is None else [rank - 2]
    channels = [given["channels"]] if "channels" in given else [1, 3]
    reason = "it has neither 4 nor 5 axes"
    for ndim, count in itertools.product(ndims, channels):
        for side in _SIDES.get(ndim, ()):
            shape = (1, count, *(side,) * ndim)
            image = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
            try:
                result = np.asarray(run(image))
            except (ModelFileError, CancelledError):
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                continue
            if result.ndim != ndim + 2 or any(n % side for n in result.shape[2:]):
                reason = f"it makes {result.shape} of {shape}, which is no whole factor"
                continue
            return _stated(name, run, given, runs, shape, result)
    msg = f"{name} cannot be run on an image: {reason}"
    raise ModelFileError(msg)


def _stated(
    name: str,
    run: Run,
    given: Mapping[str, Any],
    runs: str,
    shape: tuple[int, ...],
    result: np.ndarray,
) -> WrappedNetwork:
    ndim, count, side = len(shape) - 2, shape[1], shape[-1]
    scale = tuple(n // side for n in result.shape[2:])
    stated = given.get("factor", list(scale))
    stated = tuple(stated) if isinstance(stated, list) else (stated,) * ndim
    if stated != scale or max(scale) > _LARGEST_FACTOR or min(scale) < 1:
        msg = f"{name} has the factor {scale}, stated is {stated}; 1 to 16 can be used"
        raise ModelFileError(msg)
    if result.shape[1] != count:
        msg = f"{name} makes {result.shape[1]} channels of {count}: it gives back no image"
        raise ModelFileError(msg)
    if not np.isfinite(result).all():
        msg = f"{name} makes NaN or infinite values of an image: its weights are damaged"
        raise ModelFileError(msg)
    multiple = side & -side
    letters = "bc" + "zyx"[-ndim:]
    wrapping = Wrapping(letters, letters, (multiple,) * ndim, (multiple,) * ndim, (0,) * ndim)
    stem = name.rpartition(".")[0] or name
    low, high = given.get("value_range", (0.0, 1.0))
    spec = ModelSpec(
        name=stem,
        title=f"{stem} ({runs})",
        task=given.get("task", "upscale" if max(scale) > 1 else "enhance"),
        architecture=WRAPPED,
        arguments={"runs": runs, "network": runs},
        ndim=2 if ndim == 2 else 3,
        scale=scale,
        channels=count,
        multiple=(multiple,) * ndim,
        value_range=(float(low), float(high)),
        normalisation=given.get("normalisation", "photo"),
        dtypes=("float32",),
        licence=given.get("licence", "not stated in the file"),
        citation=given.get("citation", ""),
        trained_on=given.get("trained_on", "not stated in the file"),
    )
    return WrappedNetwork(run, wrapping, spec)


_measured: dict[str, ReceptiveField] = {}
"""By what is measured: measuring takes seconds."""


def measured(
    model: WrappedNetwork,
    content: bytes,
    file: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> WrappedNetwork:
    """Return a network with its receptive field measured, and all facts in its arguments.

    Parameters
    ----------
    model : WrappedNetwork
        Left unchanged.
    content : bytes
        What the measurement is remembered by.
    file : str
        Where the network came from.
    cancelled : callable
        Polled while it is measured.

    Raises
    ------
    CancelledError
        If `cancelled` said so.
    """
    text = wrapping_to_text(model.wrapping)
    key = hashlib.sha256(content + text.encode()).hexdigest()
    if key not in _measured:
        _measured[key] = measure_receptive_field(model, cancelled=cancelled)
    arguments = dict(model.spec.arguments) | {"wrapping": text, "file": file}
    spec = with_field(replace(model.spec, arguments=arguments), _measured[key])
    return WrappedNetwork(model.run, model.wrapping, spec)
