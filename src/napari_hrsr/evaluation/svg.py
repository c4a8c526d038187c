"""Curves over frequency as inline SVG."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from napari_hrsr.evaluation.showing import Curve, Line

_WIDTH, _HEIGHT = 560, 270
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 14, 14, 42
_STYLES = {
    "main": 'stroke="#1b7f72" stroke-width="2"',
    "other": 'stroke="#d9771e" stroke-width="2"',
    "faint": 'stroke="#9db4d6" stroke-width="1"',
    "threshold": 'stroke="#b3303a" stroke-width="1.3" stroke-dasharray="6 4"',
}


def curve_svg(curve: Curve) -> str:
    """Draw lines over frequency.

    Parameters
    ----------
    curve : Curve
        What to draw.

    Returns
    -------
    str
        An ``svg`` element; all text in it is escaped.
    """
    right = max((float(line.x[-1]) for line in curve.lines if len(line.x)), default=1.0) or 1.0
    low = min(0.0, _lowest(curve))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        share = (min(max(y, low), 1.0) - low) / (1.0 - low)
        return _LEFT + min(max(x / right, 0.0), 1.0) * wide, _TOP + (1 - share) * high

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(curve.title)}">'
    ]
    for step in ticks(right):
        x, y = place(step, low)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" text-anchor="middle">{step:g}</text>')
    for value in (low, 0.0, 0.5, 1.0) if low < -0.05 else (0.0, 0.5, 1.0):
        x, y = place(0.0, value)
        parts.append(
            f'<line x1="{x}" y1="{y:.1f}" x2="{x + wide}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{x - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    parts += [_line(line, place) for line in curve.lines]
    for number, (frequency, text) in enumerate(curve.marks):
        x, y = place(frequency, 1.0)
        anchor = "end" if x > _LEFT + wide / 2 else "start"
        shift = -4 if anchor == "end" else 4
        parts.append(
            f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{_TOP + high}" class="mark"/>'
            f'<text x="{x + shift:.1f}" y="{y + 12 + 14 * number:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )
    parts.append(
        f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{escape(curve.x_label)}</text></svg>"
    )
    return "".join(parts)


def legend_html(curve: Curve) -> str:
    """Return the names of a curve's lines, each beside a sample of it."""
    return " ".join(
        '<span class="key"><svg viewBox="0 0 26 8" width="26" height="8">'
        f'<line x1="0" y1="4" x2="26" y2="4" {_STYLES[line.kind]}/></svg>'
        f"{escape(line.label)}</span>"
        for line in curve.lines
    )


def ticks(end: float, most: int = 7) -> list[float]:
    """Return round numbers from 0 to an end.

    Parameters
    ----------
    end : float
        Above 0.
    most : int
        How many at most.
    """
    step = 10.0 ** math.floor(math.log10(end / most))
    step *= next(k for k in (1, 2, 5, 10) if end / (step * k) <= most)
    return [float(f"{i * step:.12g}") for i in range(int(end / step + 1e-9) + 1)]


def _lowest(curve: Curve) -> float:
    values = [np.nanmin(line.y) for line in curve.lines if len(line.y)]
    return max(-1.0, float(min(values, default=0.0)))


def _line(line: Line, place: object) -> str:
    assert callable(place)
    points = [
        "{:.1f},{:.1f}".format(*place(float(x), float(y)))
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    return f'<polyline points="{" ".join(points)}" fill="none" {_STYLES[line.kind]}/>'
