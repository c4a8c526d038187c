"""An evaluation as one page that needs nothing else: pictures, curves, figures, recipe."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import napari_hrsr
from napari_hrsr.errors import OutputError
from napari_hrsr.evaluation.evaluated import Evaluation
from napari_hrsr.evaluation.pictures import (
    Picture,
    bar,
    coloured,
    contrast,
    grey,
    overview,
    picture,
)
from napari_hrsr.evaluation.showing import Map
from napari_hrsr.evaluation.subject import Subject
from napari_hrsr.evaluation.svg import curve_svg, legend_html
from napari_hrsr.evaluation.verdicts import LIMITS
from napari_hrsr.files.partial import partial_file

_ROLES = {
    "source": "Source", "result": "Result", "reference": "Reference",
    "second": "Result of a second recording",
}  # fmt: skip
_SMALL = 300
"""Pictures smaller than this are enlarged."""


def write_report(
    path: Path, evaluation: Evaluation, subject: Subject, *, overwrite: bool = False
) -> None:
    """Write a page that opens in any browser, from this one file.

    Parameters
    ----------
    path : Path
        Where to; it appears complete or not at all.
    evaluation : Evaluation
        What was found.
    subject : Subject
        What it was found of.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        If it exists, or cannot be written.
    """
    if path.exists() and not overwrite:
        msg = f"{path.name} exists: choose another name, or allow it to be overwritten"
        raise OutputError(msg)
    text = report_html(evaluation, subject).encode()
    with partial_file(path, len(text)) as file:
        file.write(text)


def report_html(evaluation: Evaluation, subject: Subject) -> str:
    """Return the page.

    Parameters
    ----------
    evaluation : Evaluation
        What was found.
    subject : Subject
        What it was found of.

    Returns
    -------
    str
        HTML without scripts and without addresses of anything outside itself.
    """
    name = escape(subject.names.get("result", "") or "result")
    style = (files("napari_hrsr.evaluation") / "report.css").read_text("utf-8")
    return "".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            # Nothing is loaded, nothing is run, whatever the names of images say.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">",
            f"<title>Evaluation of {name}</title><style>{style}</style></head><body>",
            f"<h1>How far to trust {name}</h1>",
            _facts(evaluation, subject),
            _section("In short", _list(evaluation.verdicts()) + _paragraphs(evaluation.remarks)),
            _section("Pictures", _pictures(evaluation, subject)),
            _section("Figures", _figures(evaluation)),
            _section("Beside the reference", _reference(evaluation)),
            _section("Curves", _curves(evaluation)),
            _section("Left out", _list(evaluation.notes)),
            _section("What this cannot tell", _limits(evaluation)),
            _section("Recipe", _recipe(subject)),
            f"<footer>napari-hrsr {escape(napari_hrsr.__version__)}</footer></body></html>",
        ]
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _list(items: Any) -> str:
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else ""


def _paragraphs(items: Any) -> str:
    return "".join(f'<p class="remark">{escape(item)}</p>' for item in items)


def _table(rows: list[list[str]], *, heading: bool = False) -> str:
    lines = []
    for number, row in enumerate(rows):
        tag = "th" if heading and number == 0 else "td"
        cells = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _facts(evaluation: Evaluation, subject: Subject) -> str:
    size = " x ".join(f"{s:.4g}" for s in evaluation.voxel_size)
    rows = [[_ROLES.get(role, role), name] for role, name in subject.names.items()]
    rows += [
        ["Pixels", " x ".join(map(str, evaluation.shape))],
        ["Pixel size", f"{size} {evaluation.unit}"],
    ]
    if evaluation.factor:
        rows.append(["Factor", " x ".join(f"{f:g}" for f in evaluation.factor)])
    if subject.record and subject.record.get("model"):
        rows.append(["Model", str(subject.record["model"])])
    return _table(rows)


def _figures(evaluation: Evaluation) -> str:
    rows = [[row.label, row.value, row.meaning] for row in evaluation.rows()]
    return _table([["", "", "What it says"], *rows], heading=True) if rows else ""


def _reference(evaluation: Evaluation) -> str:
    part = evaluation.reference
    if part is None:
        return ""
    said = f"Range of intensities {part.span:g}: {part.range_name}."
    if part.matched:
        said += " Gain and offset were fitted first."
    if part.border:
        said += f" {part.border} pixels along every edge were left out."
    return _table(part.rows(), heading=True) + f"<p>{escape(said)}</p>"


def _curves(evaluation: Evaluation) -> str:
    return "".join(
        f"<figure><figcaption><b>{escape(curve.title)}</b> {legend_html(curve)}</figcaption>"
        f"{curve_svg(curve)}<p>{escape(curve.meaning)}</p></figure>"
        for curve in evaluation.curves()
    )


def _limits(evaluation: Evaluation) -> str:
    said = [LIMITS]
    assumption = getattr(evaluation.uncertainty, "assumption", "")
    if assumption:
        said.append(str(assumption))
    return "".join(f"<p>{escape(text)}</p>" for text in said)


def _recipe(subject: Subject) -> str:
    if subject.record is None:
        return (
            "<p>The result holds no record of how it was made: what needs the model was left "
            "out.</p>"
        )
    text = json.dumps(subject.record, indent=1, ensure_ascii=False, default=str)
    return f"<pre>{escape(text)}</pre>"


def _pictures(evaluation: Evaluation, subject: Subject) -> str:
    planes = _planes(evaluation, subject)
    shown = []
    limits = None
    for role in ("source", "result", "reference"):
        image = getattr(subject, role)
        if image is None:
            continue
        plane = planes["source" if role == "source" else "result"]
        values = overview(image, plane, rgb=subject.rgb)
        # Source and result share their contrast: a change of brightness must be seen.
        limits = limits or contrast(values)
        shown.append(_figure(_ROLES[role], grey(values, limits), "", plane))
    shown += [_map(part, planes[part.on]) for part in evaluation.maps()]
    return f'<div class="pictures">{"".join(shown)}</div>'


def _planes(evaluation: Evaluation, subject: Subject) -> dict[str, int | None]:
    """Choose the slices of volumes: where the result contradicts the source most, or the middle."""
    if len(evaluation.shape) == 2:
        return {"source": None, "result": None}
    factor = evaluation.factor[0] if evaluation.factor else 1.0
    count = round(evaluation.shape[0] / factor)
    chosen = count // 2
    found = evaluation.consistency
    if found is not None:
        energy = [float(np.square(found.deviation[z]).mean()) for z in range(count)]
        chosen = int(np.argmax(energy))
    return {
        "source": chosen,
        "result": min(evaluation.shape[0] - 1, int((chosen + 0.5) * factor)),
    }


def _map(part: Map, plane: int | None) -> str:
    values = overview(part.data, plane, extreme=True)
    pixels = coloured(values, part.low, part.high, diverging=part.diverging)
    scale = bar(diverging=part.diverging)
    legend = (
        f'<p class="scale">{part.low:.3g} <img src="{scale.uri}" alt=""> {part.high:.3g}</p>'
        f"<p>{escape(part.meaning)}</p>"
    )
    return _figure(part.name.capitalize(), pixels, legend, plane)


def _figure(title: str, pixels: Any, legend: str, plane: int | None) -> str:
    height, width = pixels.shape[:2]
    grow = max(1, -(-_SMALL // max(height, width)))
    made: Picture = picture(pixels, (height * grow, width * grow))
    where = "" if plane is None else f", slice {plane}"
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{escape(where)}</figcaption>"
        f'<img src="{made.uri}" width="{made.width}" height="{made.height}" '
        f'alt="{escape(title)}">{legend}</figure>'
    )
