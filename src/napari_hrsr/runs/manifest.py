"""What a run computes from what: written once, before its first unit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_hrsr.errors import ResumeError
from napari_hrsr.file_planning import Settings
from napari_hrsr.runs.ledger import write_durably

FILE = "run.json"
_FORMAT = 1

_OPTIONS = {
    "model": "the model",
    "axes": "the axes",
    "tile": "the tile",
    "device": "the device",
    "precision": "the precision",
    "noise": "the noise",
    "intensity": "what shares a measurement of intensity",
    "dtype": "the data type of the result",
    "consistent": "what the result is held to",
    "region": "the region",
    "recipe": "the recipe",
}

_OWN = ("version", "versions", "source")
"""Of a record: what may differ without a change of the result."""


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """A run, as it was begun.

    Attributes
    ----------
    source : str
        Path of the image.
    identity : dict
        From `identity.identify`.
    settings : dict
        What the user chose, from `summarise`.
    record : dict
        From `jobs.describe_job`: all that is needed to make the result again.
    batch : int
        Tiles that the network is given at once.
    unit : int
        Tiles in a unit.
    """

    source: str
    identity: dict[str, Any]
    settings: dict[str, Any]
    record: dict[str, Any]
    batch: int
    unit: int


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into the folder of its run.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    content = {"format": _FORMAT} | asdict(manifest)
    write_durably(folder / FILE, json.dumps(content, indent=1).encode())


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a run; None where there is none.

    Raises
    ------
    ResumeError
        If it is damaged, or of another version.
    """
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"{folder.name}/{FILE} cannot be read ({error}): begin anew, with --restart"
        raise ResumeError(msg) from error
    if content.pop("format", None) != _FORMAT:
        msg = (
            f"{folder.name} was begun by another version of napari-hrsr: begin anew, with --restart"
        )
        raise ResumeError(msg)
    try:
        return Manifest(**content)
    except TypeError as error:
        msg = f"{folder.name}/{FILE} is not complete ({error}): begin anew, with --restart"
        raise ResumeError(msg) from error


def summarise(settings: Settings) -> dict[str, Any]:
    """Write what a user chose in values that JSON can hold.

    Files of models are named by their whole path.
    """
    models = settings.model
    if models is not None:
        models = [models] if isinstance(models, str) else list(models)
        models = [_whole(model) for model in models]
    tile = settings.tile
    recipe = settings.recipe
    return {
        "model": models,
        "axes": settings.axes,
        "tile": list(tile) if isinstance(tile, Sequence) else tile,
        "device": settings.device,
        "precision": settings.precision,
        "noise": settings.noise,
        "intensity": settings.intensity,
        "dtype": settings.dtype,
        "consistent": None
        if settings.consistent is None
        else [list(settings.consistent.psf_sigma), settings.consistent.sampling],
        "region": None if settings.region is None else [s and list(s) for s in settings.region],
        "recipe": None if recipe is None else _digest(recipe),
    }


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say which choices differ from those that a run was begun with.

    What is left open now stays as it was.

    Parameters
    ----------
    before, now : dict
        From `summarise`.
    """
    return [
        told if key == "recipe" else f"{told} ({_shown(before[key])} then, {_shown(now[key])} now)"
        for key, told in _OPTIONS.items()
        if now[key] is not None and now[key] != before[key]
    ]


def changed_record(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say where the record of a run would differ if it were begun now.

    Parameters
    ----------
    before, now : dict
        From `jobs.describe_job`.
    """
    return [
        f"{key} ({before.get(key)} then, {now.get(key)} now)"
        for key in before | now
        # As text, in which NaN equals NaN and a tuple a list.
        if key not in _OWN and json.dumps(before.get(key)) != json.dumps(now.get(key))
    ]


def _whole(model: str) -> str:
    path = Path(model)
    return str(path.resolve()) if path.exists() else model


def _shown(value: Any) -> str:
    if value is None:
        return "left open"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _digest(recipe: Any) -> str:
    content = (recipe.model, recipe.sha256, recipe.axes, recipe.dtype, recipe.precision)
    numbers = (recipe.tile, recipe.region, recipe.intensity.summary())
    return hashlib.sha256(repr((content, numbers)).encode()).hexdigest()
