"""The table of models: what ships, what the user trained, what others install, interpolation.

Reading it imports no torch. Trained models are listed in
``models/weights/index.json``, written by the training script. Interpolation
exists for every factor and is named by method and factor: ``cubic-2x2``,
``lanczos-2x2x2``, ``back-projection-4x1x1``.

Another installed package adds models by an entry point in the group
``napari_hrsr.models`` that returns `ModelSpec` objects.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from napari_hrsr.errors import ModelError
from napari_hrsr.models.chaining import JOINT, chain_spec
from napari_hrsr.models.spec import ModelSpec, spec_from_dict
from napari_hrsr.models.user_models import chosen_default, user_models

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

LARGEST_FACTOR = 16

_BACK_PROJECTION = "back-projection"
_METHODS = {
    "nearest": "Nearest neighbour",
    "linear": "Linear interpolation",
    "cubic": "Cubic interpolation",
    "lanczos": "Lanczos interpolation",
    _BACK_PROJECTION: "Iterative back-projection",
}
_CITATIONS = {
    "cubic": "Keys, IEEE Trans. Acoustics, Speech, Signal Processing 29 (1981) 1153",
    "lanczos": "Duchon, J. Applied Meteorology 18 (1979) 1016",
    _BACK_PROJECTION: "Irani and Peleg, CVGIP: Graphical Models 53 (1991) 231",
}
_LISTED_FACTORS = ((2, 2), (3, 3), (4, 4), (2, 2, 2), (4, 1, 1))
_NAME = re.compile(rf"({'|'.join(_METHODS)})-(\d{{1,3}}(?:x\d{{1,3}}){{1,2}})")


def list_models(*, ndim: int | None = None, task: str | None = None) -> list[ModelSpec]:
    """List the installed models, trained ones first.

    Parameters
    ----------
    ndim : int, optional
        Only models with this many spatial axes, 2 or 3.
    task : str, optional
        Only models for ``"upscale"``, ``"denoise"``, ``"deblur"`` or
        ``"enhance"``.

    Returns
    -------
    list of ModelSpec
        Interpolation is listed for common factors; `find_spec` knows it for
        every factor.
    """
    specs = [*_shipped(), *user_models(), *_installed()]
    specs += [
        interpolation_spec(method, factor) for factor in _LISTED_FACTORS for method in _METHODS
    ]
    return [s for s in specs if ndim in (None, s.ndim) and task in (None, s.task)]


def find_spec(name: str) -> ModelSpec:
    """Find a model by its name, or a chain by the names of its models with ``+`` between.

    Parameters
    ----------
    name : str
        For example ``"general-2d-x2"`` or ``"denoise-2d+general-2d-x2"``.

    Raises
    ------
    ModelError
        If there is none of that name, or the models of a chain do not fit together.
    """
    for spec in (*_shipped(), *user_models(), *_installed()):
        if spec.name == name:
            return spec
    match = _NAME.fullmatch(name)
    if match:
        factor = tuple(int(k) for k in match[2].split("x"))
        return interpolation_spec(match[1], factor)
    if JOINT in name and all(name.split(JOINT)):
        return chain_spec([find_spec(part) for part in name.split(JOINT)])
    known = ", ".join(spec.name for spec in list_models())
    msg = f"there is no model {name!r}. Installed: {known}"
    raise ModelError(msg)


def default_model(ndim: int) -> str:
    """Name the model that is used when none is named.

    Parameters
    ----------
    ndim : int
        Number of spatial axes, 2 or 3.
    """
    chosen = chosen_default(ndim)
    if chosen is not None and any(spec.name == chosen for spec in list_models(ndim=ndim)):
        return chosen
    name = f"general-{ndim}d-x2"
    shipped = any(spec.name == name for spec in _shipped())
    return name if shipped else "cubic-" + "x".join("2" * ndim)


def interpolation_spec(method: str, factor: tuple[int, ...]) -> ModelSpec:
    """Describe an interpolation by any whole factor per axis.

    Parameters
    ----------
    method : str
        ``"nearest"``, ``"linear"``, ``"cubic"``, ``"lanczos"`` or
        ``"back-projection"``.
    factor : tuple of int
        Factor per spatial axis, from 1 to 16.

    Raises
    ------
    ModelError
        If a factor is out of range.
    """
    if len(factor) not in (2, 3) or not all(1 <= k <= LARGEST_FACTOR for k in factor):
        msg = f"factors go from 1 to {LARGEST_FACTOR} on 2 or 3 axes, got {factor}"
        raise ModelError(msg)
    label = "x".join(map(str, factor))
    arguments: dict[str, Any] = {"ndim": len(factor), "scale": factor}
    architecture = "back_projection"
    if method != _BACK_PROJECTION:
        architecture = "interpolation"
        arguments["method"] = method
    return ModelSpec(
        name=f"{method}-{label}",
        title=f"{_METHODS[method]} {label}",
        task="upscale",
        architecture=architecture,
        arguments=arguments,
        ndim=3 if len(factor) == 3 else 2,
        scale=factor,
        halo=_interpolation_halo(method, factor),
        normalisation="percentile" if method == _BACK_PROJECTION else "none",
        citation=_CITATIONS.get(method, ""),
        trained_on="nothing, it is a fixed formula",
    )


def _interpolation_halo(method: str, factor: tuple[int, ...]) -> tuple[int, ...]:
    """Support of the kernels in source pixels; the networks' tests hold it to the truth."""
    support = {"nearest": 0, "linear": 1, "cubic": 2, "lanczos": 3, _BACK_PROJECTION: 12}[method]
    return tuple(support if k > 1 else 0 for k in factor)


@functools.cache
def _shipped() -> tuple[ModelSpec, ...]:
    index = WEIGHTS_FOLDER / "index.json"
    if not index.exists():
        return ()
    return tuple(spec_from_dict(facts) for facts in json.loads(index.read_text("utf-8")))


@functools.cache
def _installed() -> tuple[ModelSpec, ...]:
    specs: list[ModelSpec] = []
    for entry in entry_points(group="napari_hrsr.models"):
        provide: Callable[[], Iterable[ModelSpec]] = entry.load()
        specs.extend(provide())
    return tuple(specs)
