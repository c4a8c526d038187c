"""What is evaluated: which parts of which images belong to each other, and how they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_hrsr.errors import HrsrError, InputError
from napari_hrsr.evaluation.images import whole
from napari_hrsr.forward import ForwardModel
from napari_hrsr.metadata import ImageMetadata
from napari_hrsr.pixels import read_block
from napari_hrsr.projecting import read_projections

_SHORT = {
    "micrometer": "µm", "micron": "µm", "millimeter": "mm", "nanometer": "nm", "meter": "m",
    "centimeter": "cm", "angstrom": "Å",
}  # fmt: skip
_SPACE = "ZYX"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An image as it was given.

    Attributes
    ----------
    data : array-like
        All of it.
    metadata : ImageMetadata
        Its axes and its place.
    record : dict or None
        How napari-hrsr made it.
    name : str
        Of its file or layer.
    """

    data: Any
    metadata: ImageMetadata
    record: dict[str, Any] | None = None
    name: str = ""


class Part:
    """One image of a larger array, read when it is sliced.

    Parameters
    ----------
    array : array-like
        With ``shape``, ``dtype`` and slicing.
    axes : str
        One letter per axis of it.
    fixed : mapping of int to int
        Axes of which one index is taken.
    spans : mapping of int to (int, int)
        Axes of which a part is taken: first and one past the last index.
    """

    def __init__(
        self,
        array: Any,
        axes: str,
        fixed: Mapping[int, int],
        spans: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        self._array, self._fixed = array, dict(fixed)
        free = [a for a in range(len(axes)) if a not in self._fixed]
        # Colours come last, wherever the file has them.
        self._free = sorted(free, key=lambda a: (axes[a] == "S", a))
        self._order = [free.index(a) for a in self._free]
        limits = {a: (0, int(array.shape[a])) for a in free} | dict(spans or {})
        self._spans = [limits[a] for a in self._free]
        self.shape = tuple(stop - start for start, stop in self._spans)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a box: slices, one per axis from the first on."""
        key = key if isinstance(key, tuple) else (key,)
        key = tuple(slice(None) if k is Ellipsis else k for k in key)
        full: list[Any] = [slice(None)] * (len(self._free) + len(self._fixed))
        for axis, index in self._fixed.items():
            full[axis] = index
        padded = (*key, *[slice(None)] * (self.ndim - len(key)))
        for axis, (start, _), n, k in zip(self._free, self._spans, self.shape, padded, strict=True):
            first, last, _ = k.indices(n)
            full[axis] = slice(start + first, start + last)
        return read_block(self._array, tuple(full)).transpose(self._order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all of it."""
        values = self[(slice(None),) * self.ndim]
        return values if dtype is None else values.astype(dtype, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Images that belong to each other, ready for `evaluate`.

    Attributes
    ----------
    result : Part
        Spatial axes, then colours.
    source, reference, second : Part or None
        Likewise.
    rgb : bool
        Whether the last axis holds colours.
    factor : tuple of float or None
        Per spatial axis, as recorded.
    voxel_size : tuple of float
        Of the result, per spatial axis.
    unit : str
        Of it.
    forward : ForwardModel or None
        The instrument, where the record knows it.
    record : dict or None
        How the result was made.
    source_start, result_start : tuple of int
        First pixel of the map of each along every axis of the array, colours left out.
    spatial : tuple of int
        Those of these axes that maps have; on the others they have one pixel.
    source_spatial : tuple of int
        The same for the source.
    origin : Given or None
        The source as it was given.
    region : tuple of (int, int) or None
        The part of it that is evaluated, per axis; None for whole axes.
    names : dict of str to str
        Of the images, for people.
    said : tuple of str
        What people should know of the choice.
    """

    result: Part
    source: Part | None
    reference: Part | None
    second: Part | None
    rgb: bool
    factor: tuple[float, ...] | None
    voxel_size: tuple[float, ...]
    unit: str
    forward: ForwardModel | None
    record: dict[str, Any] | None
    source_start: tuple[int, ...]
    result_start: tuple[int, ...]
    spatial: tuple[int, ...]
    source_spatial: tuple[int, ...]
    origin: Given | None = None
    region: tuple[tuple[int, int] | None, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `evaluate` that are known."""
        return {
            "source": self.source, "reference": self.reference, "second_result": self.second,
            "factor": self.factor if self.source is not None else None,
            "voxel_size": self.voxel_size, "unit": self.unit, "rgb": self.rgb,
            "forward": self.forward if self.source is not None else None,
        }  # fmt: skip


def choose_subject(
    result: Given,
    *,
    source: Given | None = None,
    reference: Given | None = None,
    second: Given | None = None,
    at: Mapping[int, int] | None = None,
    factor: float | Sequence[float] | None = None,
) -> Subject:
    """Find out which part of each image belongs to which of the others.

    Parameters
    ----------
    result : Given
        The result; what it records of its source, region and factor is used.
    source, reference, second : Given, optional
        The others. A reference has the grid of the result.
    at : mapping of int to int, optional
        Index on axes of the result of which one place is evaluated; 0 where
        nothing is said. Axes other than Z, Y and X always are such.
    factor : float or sequence of float, optional
        Of the upscaling, instead of the recorded one.

    Returns
    -------
    Subject

    Raises
    ------
    InputError
        If the images do not belong together.
    """
    axes = result.metadata.axes
    fixed = _fixed(result, at or {})
    kept = [a for a in range(len(axes)) if a not in fixed and axes[a] != "S"]
    letters = "".join(axes[a] for a in kept)
    record = result.record if isinstance(result.record, dict) else None
    sizes = tuple(abs(float(result.metadata.scale[a])) for a in kept)
    coarse, start, space = None, (0,) * len(axes), tuple(kept)
    region: tuple[tuple[int, int] | None, ...] = ()
    if source is not None:
        coarse, start, space, region = _source_part(source, result, record, fixed, letters)
    wanted: tuple[float, ...] | None = None
    if factor is not None:
        wanted = (float(factor),) * len(kept) if isinstance(factor, int | float) else tuple(factor)
    elif record and len(record.get("factor", ())) == len(axes):
        wanted = tuple(float(record["factor"][a]) for a in kept)
    others = {
        "reference": None if reference is None else _alike(reference, axes, fixed, "reference"),
        "second": None if second is None else _alike(second, axes, fixed, "second result"),
    }
    grid = [a for a in range(len(axes)) if axes[a] != "S"]
    given = {"result": result, "source": source, "reference": reference, "second": second}
    return Subject(
        Part(result.data, axes, fixed), coarse, others["reference"], others["second"],
        "S" in axes, wanted, sizes, _unit(result.metadata, kept),
        _instrument(record, wanted, sizes, len(kept)), record,
        start, tuple(fixed.get(a, 0) for a in grid), tuple(grid.index(a) for a in kept), space,
        source, region,
        {key: image.name for key, image in given.items() if image is not None},
        _say(result, record, fixed),
    )  # fmt: skip


def _fixed(result: Given, at: Mapping[int, int]) -> dict[int, int]:
    axes, shape = result.metadata.axes, result.data.shape
    fixed = {}
    for axis, (letter, n) in enumerate(zip(axes, shape, strict=True)):
        alone = letter == "Z" and n == 1
        if axis not in at and (letter in "YXS" or (letter == "Z" and not alone)):
            continue
        index = at.get(axis, 0)
        if letter in "YXS":
            msg = f"axis {letter} is evaluated whole: choose places on other axes only"
            raise InputError(msg)
        if not 0 <= index < n:
            msg = f"there is no place {index} on axis {letter} of the result: it has {n}, from 0"
            raise InputError(msg)
        fixed[axis] = index
    return fixed


def _source_part(
    source: Given,
    result: Given,
    record: dict[str, Any] | None,
    fixed: Mapping[int, int],
    letters: str,
) -> tuple[Part, tuple[int, ...], tuple[int, ...], tuple[tuple[int, int] | None, ...]]:
    """Return what the result was made of, where it starts, its spatial axes, and the region."""
    axes, names = result.metadata.axes, source.metadata.axes
    shape = source.data.shape
    recorded = (record or {}).get("region")
    spans: dict[int, tuple[int, int]] = {}
    if recorded and (record or {}).get("source_shape") == list(shape):
        spans = {a: (int(first), int(stop)) for a, (first, stop) in enumerate(recorded)}
    taken: dict[int, int] = {}
    free = list(range(len(axes)))
    for axis, letter in enumerate(names):
        partner = next((a for a in free if axes[a] == letter), None)
        if partner is None and len(names) == len(axes):
            partner = axis
        if partner is not None:
            free.remove(partner)
        if letter in "YXS":
            continue
        first = spans.get(axis, (0, 0))[0]
        if partner is None:
            # Frames that became one image: the result lies on one of them.
            taken[axis] = min(int((record or {}).get("reference") or 0), shape[axis] - 1)
        elif partner in fixed:
            finer = int(result.data.shape[partner]) - (
                spans[axis][1] - spans[axis][0] if axis in spans else int(shape[axis])
            )
            if finer:
                msg = (
                    f"result and source have different numbers of places on axis {letter}: "
                    "evaluate the volume, not one slice of it"
                )
                raise InputError(msg)
            taken[axis] = first + fixed[partner]
    kept = [a for a in range(len(names)) if a not in taken and names[a] != "S"]
    found = "".join(names[a] for a in kept)
    if found != letters or ("S" in names) != ("S" in axes):
        msg = (
            f"the source has the axes {names} and the result {axes}: name them alike, "
            "or give the image that the result was made of"
        )
        raise InputError(msg)
    grid = [a for a in range(len(names)) if names[a] != "S"]
    start = tuple(taken.get(a, spans.get(a, (0, 0))[0]) for a in grid)
    part = Part(source.data, names, taken, {a: s for a, s in spans.items() if a not in taken})
    whole_axes = {a for a, (first, stop) in spans.items() if (first, stop) == (0, shape[a])}
    region = tuple(
        (taken[a], taken[a] + 1) if a in taken else None if a in whole_axes else spans.get(a)
        for a in range(len(names))
    )
    return part, start, tuple(grid.index(a) for a in kept), region


def _alike(image: Given, axes: str, fixed: Mapping[int, int], name: str) -> Part:
    """Return the part of an image that lies where the result does."""
    names = image.metadata.axes
    if len(names) == len(axes):
        return Part(image.data, axes, fixed)
    single = [a for a in range(len(axes)) if a not in fixed]
    if len(names) == len(single):
        return Part(image.data, "".join(axes[a] for a in single), {})
    msg = f"the {name} has the axes {names} and the result {axes}: give both alike"
    raise InputError(msg)


def _unit(metadata: ImageMetadata, kept: Sequence[int]) -> str:
    name = str(metadata.units[kept[-1]])
    return _SHORT.get(name, name)


def _say(result: Given, record: dict[str, Any] | None, fixed: Mapping[int, int]) -> tuple[str, ...]:
    axes, shape = result.metadata.axes, result.data.shape
    places = [f"{axes[a]} {i} of {shape[a]}" for a, i in fixed.items() if shape[a] > 1]
    said = [f"Evaluated at {', '.join(places)}, counted from 0."] if places else []
    if record is not None and record.get("consistent"):
        said.append(
            "The result was made to agree with its source, for an instrument that was assumed: "
            "that it does says nothing about whether it is right."
        )
    return tuple(said)


def _instrument(
    record: dict[str, Any] | None,
    factor: tuple[float, ...] | None,
    sizes: Sequence[float],
    ndim: int,
) -> ForwardModel | None:
    """Return the instrument that a record tells of; None where it tells of none."""
    if record is None or factor is None or ndim != len(factor):
        return None
    try:
        factors = whole(factor)
        if record.get("task") == "isotropic" and ndim == 3:
            axis = "zyx".index(record["axis"])
            kind = record["slice_profile"]
            width = float(record["slice_fwhm"]) / sizes[axis]
            return ForwardModel(factors, slice_axis=axis, slice_fwhm=width, slice_profile=kind)
        if record.get("consistent"):
            forward = read_projections(record["consistent"]).forward
            return forward if forward.factor == factors else None
    except (HrsrError, KeyError, TypeError, ValueError):
        return None
    return None
