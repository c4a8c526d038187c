"""Names and factors of models to train, and where their runs go: no Qt, no state."""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from pathlib import Path

from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import LARGEST_FACTOR

CUSTOM = "Custom"

FACTORS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("2D, x2", (2, 2)),
    ("2D, x3", (3, 3)),
    ("2D, x4", (4, 4)),
    ("3D, x2 x2 x2", (2, 2, 2)),
    ("3D, x4 x1 x1 (between slices)", (4, 1, 1)),
)


def run_root() -> Path:
    """Return the folder that holds the runs of the window."""
    return Path.home() / "napari-hrsr-runs"


def parse_factor(text: str) -> tuple[int, ...]:
    """Read a factor per axis such as ``"2x2"`` or ``"4, 1, 1"``.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        factor = tuple(int(k) for k in text.lower().replace(",", "x").split("x"))
    except ValueError:
        factor = ()
    fits = len(factor) in (2, 3) and all(1 <= k <= LARGEST_FACTOR for k in factor)
    if not fits or max(factor) == 1:
        msg = (
            f"the factor must be one whole number per axis up to {LARGEST_FACTOR}, "
            f"such as 2x2, 3x2x2 or 4x1x1; got {text!r}"
        )
        raise InputError(msg)
    return factor


def factor_label(scale: tuple[int, ...]) -> str:
    """Write a factor for a name: ``"x2"`` or ``"x4x1x1"``."""
    return f"x{scale[0]}" if len(set(scale)) == 1 else "x" + "x".join(map(str, scale))


def model_name(image: str, scale: tuple[int, ...], taken: Container[str], task: str = "") -> str:
    """Name a model after an image; only letters, digits, ``-``, ``_`` and ``.`` remain.

    Parameters
    ----------
    image : str
        Name of a layer, file or folder.
    scale : tuple of int
        Factor per spatial axis.
    taken : container of str
        Names of other models.
    task : str
        In place of the factor, where the size is kept.
    """
    plain = unicodedata.normalize("NFKD", image).encode("ascii", "ignore").decode()
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    stem = "-".join([*words, ""] if words else ["my-model", ""])[:40].strip("-").lower()
    base = f"{stem}-{len(scale)}d-{task or factor_label(scale)}"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def free_folder(name: str) -> Path:
    """Return a folder for a run that is not there yet."""
    folder, number = run_root() / name, 1
    while folder.exists():
        number += 1
        folder = run_root() / f"{name}-{number}"
    return folder


def format_count(number: float) -> str:
    """Write a large number for people: ``"24 k"``, ``"1.3 M"``."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{number:.0f}"


def format_step(seconds: float) -> str:
    """Write the time of a step for people: ``"31 ms"``, ``"1.4 s"``."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
