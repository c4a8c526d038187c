"""A network that was learned from one stack, with what it was learned for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError, ModelError, ModelFileError
from napari_hrsr.forward import AxialProfile, slice_matrix
from napari_hrsr.isotropic.stack import Stack, levels_of
from napari_hrsr.models.header import parse_header, parse_spec, read_header
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import user_folder
from napari_hrsr.training.model_file import save_model
from napari_hrsr.training.validation import ValidationImage, run_network

METADATA_KEY = "napari_hrsr_axial"
"""Where a model's file keeps its `AxialFacts`, as JSON."""

_LIKE = 0.1
"""Relative difference of distances up to which two stacks are of the same kind."""


@dataclass(frozen=True, slots=True)
class AxialFacts:
    """What a network was learned for.

    Attributes
    ----------
    ratio : float
        Pixels of a slice from slice to slice.
    profile : AxialProfile
        Of the slices.
    misfit : float
        How much slices of what it restores differ from those that were
        recorded, noise taken off: root mean square over the slices held out,
        black and white at 0 and 1.
    """

    ratio: float
    profile: AxialProfile
    misfit: float

    def fits(self, stack: Stack) -> bool:
        """Tell whether a stack is of the kind that was learned from.

        Parameters
        ----------
        stack : Stack
            Any.
        """
        near = abs(self.ratio / stack.ratio - 1) <= _LIKE
        return near and levels_of(self.ratio) == stack.levels

    def to_json(self) -> str:
        """Return the facts as a line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AxialFacts:
        """Rebuild the facts from `to_json`.

        Raises
        ------
        ValueError, TypeError, KeyError, InputError
            If the text is something else.
        """
        values: Mapping[str, Any] = json.loads(text)
        profile = dict(values["profile"])
        profile["samples"] = tuple(float(v) for v in profile["samples"])
        ratio, misfit = float(values["ratio"]), float(values["misfit"])
        if not (1 <= ratio < math.inf and 0 <= misfit < math.inf):
            msg = f"a ratio of {ratio} and a misfit of {misfit} make no sense"
            raise ValueError(msg)
        return cls(ratio, AxialProfile(**profile), misfit)


@dataclass(frozen=True, slots=True, eq=False)
class AxialModel:
    """A network learned from a stack, ready to be used.

    Attributes
    ----------
    network : NetworkUpscaler
        With two spatial axes; its first one is refined.
    facts : AxialFacts
        What it was learned for.
    path : Path
        Its file.
    """

    network: NetworkUpscaler
    facts: AxialFacts
    path: Path

    @property
    def spec(self) -> ModelSpec:
        """Facts of the network."""
        return self.network.spec

    def check(self, stack: Stack) -> None:
        """Refuse a stack of another kind.

        Raises
        ------
        ModelError
            If its slices lie at another distance.
        """
        if abs(self.facts.ratio / stack.ratio - 1) > _LIKE or (self.spec.scale[0] != stack.levels):
            msg = (
                f"model {self.spec.name!r} was learned from slices {self.facts.ratio:.3g} pixels "
                f"apart, these are {stack.ratio:.3g} apart: learn a new one"
            )
            raise ModelError(msg)


def measure_misfit(
    model: NetworkUpscaler, stack: Stack, profile: AxialProfile, images: list[ValidationImage]
) -> float:
    """Return how far slices of what a network restores are from those it was given.

    Parameters
    ----------
    model : NetworkUpscaler
        In evaluation mode.
    stack : Stack
        Whose slices were held out.
    profile : AxialProfile
        Of the slices.
    images : list of ValidationImage
        The slices held out.

    Returns
    -------
    float
        Root mean square over the noise, black and white at 0 and 1.
    """
    total = 0.0
    for image in images:
        restored = run_network(model.network, image)[0, 0].numpy()
        slices = image.coarse.shape[2]
        recorded = slice_matrix(profile, stack.levels, slices, len(restored)) @ restored
        residual = float(np.mean((recorded - image.pair.coarse) ** 2))
        total += max(0.0, residual - image.pair.noise**2)
    return math.sqrt(total / len(images))


def write_axial_model(model: AxialModel, path: Path) -> AxialModel:
    """Write a network with what it was learned for, and return it as read again.

    Parameters
    ----------
    model : AxialModel
        From `making.learn_model`.
    path : Path
        Of the new file.
    """
    metadata = {METADATA_KEY: model.facts.to_json()}
    save_model(model.network.network, model.spec, path, metadata=metadata)
    return read_axial_model(path)


def read_axial_model(path: str | Path) -> AxialModel:
    """Open a network that was learned from a stack.

    Parameters
    ----------
    path : str or Path
        Its file, or the name under which it was kept; see `axial_models`.

    Raises
    ------
    ModelFileError
        If there is none, or it was not learned from a stack.
    """
    found = Path(path)
    if found.suffix != ".safetensors":
        found = axial_folder() / f"{path}.safetensors"
        if not found.exists():
            known = ", ".join(axial_models()) or "there are none yet"
            msg = f"there is no model {str(path)!r} learned from a stack; known are: {known}"
            raise ModelFileError(msg)
    facts = _facts(found)
    network = load_model(found)
    assert isinstance(network, NetworkUpscaler)
    return AxialModel(network, facts, found)


def axial_folder() -> Path:
    """Return the folder of the networks that were kept; it need not exist."""
    return user_folder() / "axial"


def axial_models() -> dict[str, AxialFacts]:
    """List the networks that were kept, the newest first, with what each was learned for."""
    folder = axial_folder()
    if not folder.is_dir():
        return {}
    found = sorted(folder.glob("*.safetensors"), key=lambda p: -p.stat().st_mtime_ns)
    known = {}
    for path in found:
        try:
            known[path.stem] = _facts(path)
        except ModelFileError:
            continue
    return known


def _facts(path: Path) -> AxialFacts:
    content = read_header(path)
    spec = parse_spec(path.name, content)
    metadata = parse_header(path.name, content).get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if text is None or spec.ndim != 2 or spec.scale[1] != 1:
        msg = f"{path.name} was not learned from a stack: learn one, or choose another"
        raise ModelFileError(msg)
    try:
        return AxialFacts.from_json(text)
    except (
        ValueError, TypeError, KeyError, AttributeError, RecursionError, InputError
    ) as error:  # fmt: skip
        msg = f"{path.name} says in a way that is not understood what it was learned for: {error}"
        raise ModelFileError(msg) from None
