"""The list of installed models as the widgets share it."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal

from napari_hrsr.models.catalog import WEIGHTS_FOLDER, default_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.models.user_models import user_models

COLUMNS = (
    "Model", "Task", "Axes", "Factor", "Channels", "Size", "Sees", "Licence", "From", "Gain",
)  # fmt: skip
"""Headings of the table of models."""

HINTS = (
    "Its name in Python and on the command line",
    "",
    "Spatial axes",
    "Pixels of the result in one of the source",
    "",
    "Of its weights",
    "Receptive field, in source pixels",
    "Of its weights",
    "",
    "Mean measured gain over cubic interpolation, or over the image where its size is kept",
)
"""Of the columns."""


class ModelList:
    """Tells those who show models that one was added, removed or chosen.

    Attributes
    ----------
    changed : Signal()
        The list, or a default, is another now.
    """

    changed = Signal()


model_list = ModelList()
"""The one list of this program."""


def model_row(spec: ModelSpec) -> tuple[str, ...]:
    """Say what is known of a model, a cell per column of `COLUMNS`.

    Parameters
    ----------
    spec : ModelSpec
        Its facts.
    """
    default = default_model(spec.ndim) == spec.name
    sees = "whole image"
    if spec.halo is not None:
        sides = [2 * h + 1 for h in spec.halo]
        sees = " x ".join(map(str, sides if len(set(sides)) > 1 else sides[:1]))
    gain = ""
    if spec.gains:
        over = "cubic" if max(spec.scale) > 1 else "image"
        gain = f"{sum(spec.gains.values()) / len(spec.gains):+.1f} dB over {over}"
    factors = spec.scale if len(set(spec.scale)) > 1 else spec.scale[:1]
    return (
        f"{spec.name} (default)" if default else spec.name,
        spec.task,
        f"{spec.ndim}D",
        " x ".join(map(str, factors)),
        {1: "grey", 3: "RGB"}.get(spec.channels, str(spec.channels)),
        "" if spec.weights is None else f"{spec.weights.size / 1e6:.2g} MB",
        sees,
        spec.licence,
        where_from(spec),
        gain,
    )


def where_from(spec: ModelSpec) -> str:
    """Say in a word or two how a model came to be in the list."""
    if spec.name in {own.name for own in user_models()}:
        file = spec.arguments.get("file")
        return f"added: {file}" if file else "trained by you"
    if spec.weights is None:
        return "a formula"
    path = Path(spec.weights.file)
    return "napari-hrsr" if path.parent in (Path(), WEIGHTS_FOLDER) else "another package"


def model_card(spec: ModelSpec) -> str:
    """Return the card of a model, in Markdown; empty where there is none."""
    if spec.weights is None:
        return ""
    path = (WEIGHTS_FOLDER / spec.weights.file).with_suffix(".md")
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
