"""How OME-Zarr orders and names axes, and where its pixels lie.

OME-NGFF wants time first, then one channel-like axis, then space. Arrays in
another order are stored in this one and presented in their own, so that the
file is valid and nobody sees the difference. Colour samples are stored as
channels; an axis that OME-NGFF has no name for takes the place of the channel
or of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari_hrsr.errors import OutputError
from napari_hrsr.files.units import TIME_UNITS
from napari_hrsr.metadata import ImageMetadata


@dataclass(frozen=True, slots=True)
class StoredAxes:
    """The axes of an array in a file.

    Attributes
    ----------
    order : tuple of int
        Axis ``i`` in the file is axis ``order[i]`` of the image.
    names : tuple of str
        Per axis in the file.
    types : tuple of str
        ``"time"``, ``"channel"`` or ``"space"``, per axis in the file.
    """

    order: tuple[int, ...]
    names: tuple[str, ...]
    types: tuple[str, ...]


def stored_axes(axes: str) -> StoredAxes:
    """Give every axis a place that OME-NGFF allows.

    Parameters
    ----------
    axes : str
        One letter per axis of the image, in array order.

    Raises
    ------
    OutputError
        If there are more axes than OME-NGFF has places for.
    """
    slots: dict[str, int] = {}
    for wanted in "TCZYX":
        if wanted in axes:
            slots[wanted] = axes.index(wanted)
    if "S" in axes and "C" not in slots:
        slots["C"] = axes.index("S")
    for axis in range(len(axes)):
        if axis in slots.values():
            continue
        free = [slot for slot in "CT" if slot not in slots]
        if not free:
            msg = (
                f"OME-Zarr holds time, one kind of channel, and space; axes {axes!r} have more: "
                "write a TIFF, or one part at a time"
            )
            raise OutputError(msg)
        slots[free[0]] = axis
    kept = [slot for slot in "TCZYX" if slot in slots]
    types = {"T": "time", "C": "channel"}
    return StoredAxes(
        order=tuple(slots[slot] for slot in kept),
        names=tuple(slot.lower() for slot in kept),
        types=tuple(types.get(slot, "space") for slot in kept),
    )


def multiscales_metadata(
    metadata: ImageMetadata, stored: StoredAxes, shapes: Sequence[tuple[int, ...]], name: str
) -> dict[str, Any]:
    """Describe an image and its pyramid as OME-NGFF 0.5 does.

    Parameters
    ----------
    metadata : ImageMetadata
        Of the full-size image, in the image's own axis order.
    stored : StoredAxes
        Of the file.
    shapes : sequence of tuple of int
        Of every level in the file, largest first, each half of the one before
        on the axes that were binned.
    name : str
        Of the image.
    """
    axes = []
    for axis, label, kind in zip(stored.order, stored.names, stored.types, strict=True):
        entry = {"name": label, "type": kind}
        unit = metadata.units[axis]
        is_unit = unit in TIME_UNITS if kind == "time" else unit != "pixel"
        if kind != "channel" and is_unit:
            entry["unit"] = unit
        axes.append(entry)
    scale = [metadata.scale[axis] for axis in stored.order]
    translate = [metadata.translate[axis] for axis in stored.order]
    datasets: list[dict[str, Any]] = []
    for level, shape in enumerate(shapes):
        if level:
            # A bin of two pixels has its centre between theirs.
            halved = [a != b for a, b in zip(shapes[level - 1], shape, strict=True)]
            translate = [
                t + s / 2 if h else t for t, s, h in zip(translate, scale, halved, strict=True)
            ]
            scale = [2 * s if h else s for s, h in zip(scale, halved, strict=True)]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": scale},
                    {"type": "translation", "translation": translate},
                ],
            }
        )
    described: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets}],
    }
    if len(shapes) > 1:
        described["multiscales"][0]["type"] = "mean"
    return described
