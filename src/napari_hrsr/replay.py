"""Making a result again from the record that it carries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.intensity import Intensity, intensity_from_summary
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.projecting import Projections, read_projections


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """The settings and measured numbers of an earlier run.

    Attributes
    ----------
    model : str or tuple of str
        Name of the model; of a chain those of its models with ``+`` between, or
        the names and files of its models.
    sha256 : tuple of str or None
        Digest of its weights; of a chain those of its models, in their order.
    axes, dtype, precision, device : str
        As for `api.upscale`.
    tile : tuple of int
        Per spatial axis, in source pixels.
    region : tuple of (int, int)
        Per axis of the source, first and one past the last pixel.
    source_shape : tuple of int
        Of the image that it was made from.
    intensity : Intensity
        The range and the noise that were used.
    consistent : Projections or None
        How the result was held to its source.
    """

    model: str | tuple[str, ...]
    sha256: tuple[str | None, ...]
    axes: str
    dtype: str
    precision: str
    device: str
    tile: tuple[int, ...]
    region: tuple[tuple[int, int], ...]
    source_shape: tuple[int, ...]
    intensity: Intensity
    consistent: Projections | None = None

    def region_for(self, shape: Sequence[int]) -> tuple[tuple[int, int] | None, ...]:
        """Region in an image of this shape: an axis that was whole stays whole."""
        if len(shape) != len(self.source_shape):
            msg = (
                f"the recipe was made for an image with {len(self.source_shape)} axes, "
                f"this one has {len(shape)}"
            )
            raise InputError(msg)
        spans = zip(self.region, self.source_shape, strict=True)
        return tuple(None if span == (0, n) else span for span, n in spans)

    def check_model(self, spec: ModelSpec) -> None:
        """Refuse a model whose weights are not those of the recipe.

        Raises
        ------
        ModelError
            If they differ.
        """
        parts = spec.parts or (spec,)
        if tuple(p.weights.sha256 if p.weights else None for p in parts) != self.sha256:
            msg = (
                f"the weights of model {spec.name!r} are not those of the recipe: "
                "install the version that made it, or name its file"
            )
            raise ModelError(msg)

    def check_intensity(self, lengths: Sequence[int]) -> None:
        """Refuse an image whose channels or time points do not match the numbers.

        Parameters
        ----------
        lengths : sequence of int
            Of the axes that are looped over.
        """
        groups = self.intensity.low.shape
        if len(groups) != len(lengths) or any(
            g not in (1, n) for g, n in zip(groups, lengths, strict=True)
        ):
            msg = (
                f"the recipe holds intensities for {groups} channels or time points, "
                f"the image has {tuple(lengths)}"
            )
            raise InputError(msg)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a result, or from a JSON file with its record.

    Parameters
    ----------
    path : str or Path
        Anything that `files.write_image` wrote with a record, or ``.json``.

    Raises
    ------
    InputError
        If there is no complete record in it.
    """
    from napari_hrsr.files import read_image

    path = Path(path)
    if path.suffix.lower() == ".json":
        try:
            record = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{path.name} is no recipe: {error}"
            raise InputError(msg) from error
    else:
        record = read_image(path).record
        if record is None:
            msg = f"{path.name} holds no record of how it was made: it is no result of napari-hrsr"
            raise InputError(msg)
    if isinstance(record, dict) and record.get("task"):
        msg = (
            f"{path.name} was not made by upscaling but by another task "
            f"({record['task']}): repeat it with the command for that"
        )
        raise InputError(msg)
    return recipe_from_record(record, path.name)


def recipe_from_record(record: dict[str, Any], name: str) -> Recipe:
    """Return the recipe that a record holds.

    Parameters
    ----------
    record : dict
        From `jobs.describe_job`.
    name : str
        Of the file that it was found in, for messages.

    Raises
    ------
    InputError
        If something is missing in it.
    """
    try:
        return _recipe(record)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the record in {name} is not complete ({type(error).__name__}: {error})"
        raise InputError(msg) from error


def _recipe(record: dict[str, Any]) -> Recipe:
    intensity = intensity_from_summary(record["intensity"])
    numbers = (intensity.low, intensity.high, intensity.noise)
    if len({n.shape for n in numbers}) != 1 or not all(np.isfinite(n).all() for n in numbers):
        msg = "intensities do not fit together"
        raise ValueError(msg)
    parts = record.get("chain") or [record]
    digests = [part["weights_sha256"] for part in parts]
    held = record.get("consistent")
    return Recipe(
        model=str(record["model"]),
        sha256=tuple(None if digest is None else str(digest) for digest in digests),
        axes=str(record["axes"]),
        dtype=str(np.dtype(record["dtype"])),
        precision=str(record["precision"]),
        device=str(record["device"]),
        tile=tuple(int(n) for n in record["tile"]),
        region=tuple((int(a), int(b)) for a, b in record["region"]),
        source_shape=tuple(int(n) for n in record["source_shape"]),
        intensity=intensity,
        consistent=None if held is None else read_projections(held),
    )
