"""Two small real images that ship with the package, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import InputError


@dataclass(frozen=True, slots=True)
class Sample:
    """An image that ships with the package.

    Attributes
    ----------
    name : str
        Key in `SAMPLES`.
    title : str
        What people read; the name of the layer in napari.
    file : str
        File name in the folder ``sample_data``.
    axes : str
        One letter per array axis.
    scale : tuple of float
        Pixel size per axis, in `units`.
    units : str
        ``"micrometer"``, or ``"pixel"`` where the source does not state a size.
    licence, attribution, source : str
        The licence, who is to be named, and where the file comes from.
    """

    name: str
    title: str
    file: str
    axes: str
    scale: tuple[float, ...]
    units: str
    licence: str
    attribution: str
    source: str


_CELLS = Sample(
    name="cells",
    title="Microtubules",
    file="cells.ome.tif",
    axes="YX",
    scale=(0.13249, 0.13249),
    units="micrometer",
    licence="CC-BY-4.0",
    attribution=(
        "NEUBIAS training resources, xyc_16bit__cell_dna_mts_actin.tif: the microtubule channel"
    ),
    source=(
        "https://github.com/NEUBIAS/training-resources/blob/"
        "8bbaa51d4df0edb61b36bf6a437c695bae1fe3ef/image_data/xyc_16bit__cell_dna_mts_actin.tif"
    ),
)

_VOLUME = Sample(
    name="volume",
    title="Arabidopsis embryo",
    file="volume.ome.tif",
    axes="ZYX",
    scale=(1.0, 1.0, 1.0),
    units="pixel",
    licence="CC-BY-4.0",
    attribution=(
        "David Legland, Mathematical morphology with MorphoLibJ, arabidopsis-embryo.tif: "
        "cell walls of an Arabidopsis embryo"
    ),
    source=(
        "https://github.com/dlegland/mathematical_morphology_with_MorphoLibJ/blob/"
        "5b94cde4408cb2404a702c8a313a594b92e70f5a/sampleImages/arabidopsis-embryo.tif"
    ),
)

SAMPLES: Mapping[str, Sample] = MappingProxyType({s.name: s for s in (_CELLS, _VOLUME)})
"""The images that ship with the package, by name."""


def find_sample(name: str) -> Sample:
    """Return a sample by its name.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    if name not in SAMPLES:
        msg = f"there is no sample {name!r}: choose one of {', '.join(SAMPLES)}"
        raise InputError(msg)
    return SAMPLES[name]


def sample_path(name: str) -> Path:
    """Return the path of a sample's file."""
    return Path(__file__).parent / "sample_data" / find_sample(name).file


def read_sample(name: str) -> NDArray[Any]:
    """Read a sample's pixels, in the order of its axes."""
    import tifffile

    return np.asarray(tifffile.imread(sample_path(name)))
