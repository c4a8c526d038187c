"""The model card of a trained model: what it has seen, how it was trained, what it gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.collection import LeftOut
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.config_file import config_to_dict
from napari_hrsr.training.measured_point_spread import widths_of

_MOST_NAMES = 200


def model_card(
    spec: ModelSpec,
    config: TrainingConfig,
    names: Sequence[str],
    left_out: Sequence[LeftOut],
    values: Mapping[str, float],
    section: str = "",
) -> str:
    """Write the card.

    Parameters
    ----------
    spec : ModelSpec
        Facts of the model.
    config : TrainingConfig
        How it was trained.
    names : sequence of str
        Images it was trained on.
    left_out : sequence of LeftOut
        Images that were not used.
    values : Mapping
        The last measurement.
    section : str
        Markdown that comes after the gain.

    Returns
    -------
    str
        Markdown.
    """
    factor = " x ".join(map(str, spec.scale))
    lines = [f"# {spec.title}", ""]
    if spec.caution:
        lines += [f"**{spec.caution}**", ""]
    lines += [
        f"- Name: `{spec.name}`",
        f"- Factor: {factor}; {'RGB' if spec.channels == 3 else 'one channel at a time'}",
        f"- Network: `{spec.architecture}`. {spec.citation}",
        f"- Licence of the weights: {spec.licence}",
        f"- Steps: {int(values['step'])} of {config.steps}",
        "",
        "## What it gains",
        "",
        "On images that were set aside, degraded in the same way as those it learned from "
        "(peak signal-to-noise ratio for a peak of one between black and white):",
        "",
        "| | dB |",
        "| --- | --- |",
        f"| this model | {values['psnr']:.2f} |",
        f"| cubic interpolation | {values['cubic_psnr']:.2f} |",
        f"| gain | {values['gain']:+.2f} |",
        "",
        "Images of another kind, or recorded in another way, can gain less or lose. The network",
        "restores what is likely from images like those below; it does not measure.",
        "",
        *([section, ""] if section else []),
        *_point_spread(config),
        "## Trained on",
        "",
        *(f"- {name}" for name in names[:_MOST_NAMES]),
    ]
    if len(names) > _MOST_NAMES:
        lines.append(f"- and {len(names) - _MOST_NAMES} more")
    if left_out:
        lines += ["", "## Left out", "", *(f"- {item.name}: {item.reason}" for item in left_out)]
    settings = tomli_w.dumps(_without_folders(config)).rstrip()
    lines += ["", "## Settings", "", "```toml", settings, "```", ""]
    return "\n".join(lines)


def _point_spread(config: TrainingConfig) -> list[str]:
    """Say which blur the network undoes, where it was measured."""
    degradation = config.degradation
    if not degradation.measured:
        return []
    spread = degradation.measured_point_spread(config.ndim)
    sides = " x ".join(map(str, spread.kernel.shape))
    widths = " x ".join(f"{width:.2f}" for width in widths_of(spread))
    return [
        "## Point spread function",
        "",
        f"- Measured: {Path(degradation.point_spread_file).name}, {sides} pixels",
        f"- Width (standard deviation along {'ZYX'[-config.ndim :]}): {widths} sharp pixels",
        f"- sha256 of the file: `{degradation.point_spread_sha256}`",
        "",
        "Images that another instrument blurred need a model of their own.",
        "",
    ]


def _without_folders(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings with the names of files only: a card may be published."""
    values = config_to_dict(config)
    for name in ("images", "coarse", "unpaired", "validation", "validation_coarse"):
        values["data"][name] = [Path(item).name for item in values["data"][name]]
    degradation = values["degradation"]
    degradation["point_spread_file"] = Path(degradation["point_spread_file"]).name
    values["model"]["start_from"] = Path(values["model"]["start_from"]).name
    if "teacher" in values:
        values["teacher"]["model"] = Path(values["teacher"]["model"]).name
    return values
