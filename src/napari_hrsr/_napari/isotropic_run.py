"""What the worker thread of "Make isotropic" does: measure, learn, restore, and tell.

The core calls back while it works, so events are handed to a callable and not
yielded. No exception ever leaves this module: every failure is an event.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrsr._napari.run import Failed, Finished, Prepared, Status
from napari_hrsr.errors import CancelledError, HrsrError
from napari_hrsr.metadata import ImageMetadata

if TYPE_CHECKING:
    from napari_hrsr.isotropic.axial_model import AxialModel
    from napari_hrsr.isotropic.measuring import Measured
    from napari_hrsr.jobs import Job

FIRST, LEARNING, LAST = "first", "learning", "last"
"""States of a preview: nothing is learned yet, there is a network, it is the one that is used."""

_SHARE = 9
"""Time to learn after a preview, over what that preview took."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One layer to make isotropic, with everything that was chosen for it.

    Attributes
    ----------
    name : str
        Name of the source layer.
    source : array-like
        Its voxels, by reference.
    axes : str
        Their names.
    metadata : ImageMetadata
        Voxel size and origin, for a result on disk.
    wishes, choices : dict
        Keyword arguments of `isotropic.running.make_wishes` and `Choices`.
    path : Path, optional
        The OME-Zarr to write to; in memory where None.
    centre : tuple of float, optional
        Where the user is looking, in voxels of the three spatial axes.
    doubt : bool
        Map, too, where the result can be doubted; in memory.
    """

    name: str
    source: Any
    axes: str
    metadata: ImageMetadata
    wishes: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    centre: tuple[float, ...] | None = None
    doubt: bool = False


class Control:
    """What the user may ask for during a run: to stop it, or to learn no longer."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.enough = threading.Event()


@dataclass(frozen=True, slots=True)
class Step:
    """So many parts of a phase are done; phases are named by `isotropic.running`."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Found:
    """The stack was measured: how thick its slices are, and what to be careful about."""

    width: str
    caution: str


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A plane across the slices.

    Attributes
    ----------
    title : str
        Its axes, for example ``"z-x"``.
    sizes : tuple of float
        Height and width of a pixel, in any one unit.
    focus : tuple of float
        Where the user looks, as a share of height and width.
    interpolated, restored : ndarray
        In the units of the source.
    """

    title: str
    sizes: tuple[float, float]
    focus: tuple[float, float]
    interpolated: np.ndarray
    restored: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What the planes look like by now; at first they are interpolated twice."""

    planes: tuple[Plane, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The network that was learned is kept under this name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Doubted:
    """Where the result can be doubted: a volume on its grid, in the units of the source."""

    data: np.ndarray
    job: Job
    record: dict[str, Any]


Event = Status | Step | Found | Preview | Kept | Prepared | Finished | Doubted | Failed


def run_isotropic(request: Request, control: Control, tell: Callable[[Event], None]) -> None:
    """Make a layer isotropic.

    Parameters
    ----------
    request : Request
        What to do.
    control : Control
        Polled all along.
    tell : callable
        Told of each event; the last one is `Finished`, `Doubted` or `Failed`.
    """
    try:
        _run(request, control, tell)
    except CancelledError:
        tell(Finished(0, complete=False, kept=False, record={}))
    except HrsrError as error:
        tell(Failed(0, f"{request.name}: {error}"))
    except BaseException as error:
        logger.exception("making %s isotropic failed", request.name)
        tell(
            Failed(
                0,
                f"{request.name}: unexpected {type(error).__name__}: {error}. "
                "Nothing was changed; the log has the details",
            )
        )


def _run(request: Request, control: Control, tell: Callable[[Event], None]) -> None:
    tell(Status(0, "Starting"))
    from napari_hrsr.api import fit_output, opened_output
    from napari_hrsr.files import open_levels
    from napari_hrsr.files.ome_zarr import check_target
    from napari_hrsr.isotropic.reporting import (
        describe_caution,
        describe_restoration,
        describe_width,
    )
    from napari_hrsr.isotropic.running import (
        Choices,
        make_wishes,
        map_doubt,
        prepare,
        rehearse,
        restoration_job,
        restore,
    )

    stop, path = control.cancel.is_set, request.path
    wishes, choices = make_wishes(**request.wishes), Choices(**request.choices)
    if path is not None:
        check_target(path, overwrite=False)
    fit_output(rehearse(request.source, request.axes, wishes, choices), None, path)

    def report(phase: str, done: int, total: int) -> None:
        tell(Step(phase, done, total))

    pause = 0.0

    def show(measured: Measured, model: AxialModel | None, state: str = LEARNING) -> None:
        nonlocal pause
        began = time.monotonic()
        if state == LEARNING and (began < pause or control.enough.is_set()):
            return
        planes = _planes(measured, model, request.centre, stop)
        ended = time.monotonic()
        if state == LEARNING:
            pause = ended + _SHARE * (ended - began)
        if not stop():
            tell(Preview(planes, state))

    def found(measured: Measured) -> None:
        tell(Found(describe_width(measured), describe_caution(measured)))
        show(measured, None, FIRST)
        if choices.model is None:
            tell(Status(0, "Getting ready to learn"))

    measured, model = prepare(
        request.source, request.axes, wishes, choices, report, stop,
        found=found, preview=show, enough=control.enough.is_set,
    )  # fmt: skip
    if choices.model is None and choices.keep is not None:
        tell(Kept(model.path.stem))
    tell(Status(0, "Getting ready to restore"))
    show(measured, model, LAST)
    job, _ = fit_output(restoration_job(measured, model, choices), None, path)
    record = describe_restoration(job, measured, model, source_name=request.name)
    _check(control)
    with opened_output(path, job, request.metadata) as (target, finish):
        shown = threading.Event()
        tell(Prepared(0, job, target, record, shown))
        while not shown.wait(0.05):
            _check(control)
        restore(job, measured, target, report, stop)
        tell(Status(0, "Finishing"))
        finish(record, stop)
    levels = () if path is None else open_levels(path)
    tell(Finished(0, complete=True, kept=True, record=record, levels=levels))
    if request.doubt:
        doubt = map_doubt(measured, model, choices, report, stop)
        tell(Doubted(doubt, job, record | {"task": "doubt of isotropic", "dtype": "float32"}))


def _check(control: Control) -> None:
    if control.cancel.is_set():
        msg = "cancelled before the restoration"
        raise CancelledError(msg)


def _planes(
    measured: Measured,
    model: AxialModel | None,
    centre: tuple[float, ...] | None,
    cancelled: Callable[[], bool],
) -> tuple[Plane, ...]:
    from napari_hrsr.isotropic.previewing import preview_planes

    stack, planes = measured.stack, []
    for plane in preview_planes(measured, model, centre=centre, cancelled=cancelled):
        rows, columns = (axis for axis in range(3) if axis != plane.axis)
        focus = [0.5, 0.5]
        for place, axis in enumerate((rows, columns)):
            # A part of a long axis was taken around the centre already.
            whole = plane.restored.shape[place] == stack.result_shape[axis]
            if whole and centre is not None:
                focus[place] = min(max(0.0, (centre[axis] + 0.5) / stack.shape[axis]), 1.0)
        planes.append(
            Plane(
                f"{'zyx'[rows]}-{'zyx'[columns]}",
                (stack.target[rows], stack.target[columns]),
                (focus[0], focus[1]),
                plane.interpolated,
                plane.restored,
            )
        )
    return tuple(planes)
