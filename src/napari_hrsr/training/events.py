"""What a training run tells those who watch it; plain facts that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preparing:
    """The run is getting ready: a line of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """Training begins.

    Attributes
    ----------
    folder : str
        The run folder.
    steps : int
        Steps in total.
    step : int
        Steps done before, where a run is resumed.
    images, validation_images : int
        Images learned from, and measured on.
    left_out : tuple of (str, str)
        Images that could not be used, and why.
    parameters : int
        Of the network.
    device : str
        Where it runs.
    """

    folder: str
    steps: int
    step: int
    images: int
    validation_images: int
    left_out: tuple[tuple[str, str], ...]
    parameters: int
    device: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Some steps later.

    Attributes
    ----------
    step, steps : int
        Done, and in total.
    loss : float
        Running mean.
    seconds_left : float
        Estimate.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The averaged network was measured on the validation images.

    Attributes
    ----------
    step : int
        Steps done.
    values : dict of str to float
        ``loss``, ``psnr`` and ``cubic_psnr`` in decibels (for a peak of one
        between black and white), ``gain``, ``learning_rate``, ``seconds``; for
        adversarial training more. Also a row of ``metrics.csv``.
    warning : str
        A sentence for people if something goes wrong, for example collapse.
    """

    step: int
    values: dict[str, float] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The run has come to an end.

    Attributes
    ----------
    model : str
        File of the trained model; empty if there is none yet.
    step : int
        Steps done.
    complete : bool
        False where the run was stopped and can be resumed.
    """

    model: str
    step: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The run cannot go on: what to do about it."""

    message: str


Event = Preparing | Started | Progress | Measured | Finished | Failed
Report = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Preparing, Started, Progress, Measured, Finished, Failed)
}


def event_to_json(event: Event) -> str:
    """Write an event as one line."""
    return json.dumps({"event": type(event).__name__, **asdict(event)})


def event_from_json(line: str) -> Event | None:
    """Read an event from a line; None where the line is something else."""
    try:
        values: Any = json.loads(line)
        kind = _KINDS[values.pop("event")]
        if kind is Started:
            values["left_out"] = tuple(tuple(pair) for pair in values["left_out"])
        return kind(**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
