"""Start a training as people ask for it: in Python, on the command line, by a file of settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.models.catalog import find_spec
from napari_hrsr.models.header import parse_spec, read_header
from napari_hrsr.models.user_models import install_model
from napari_hrsr.training.collection import ArrayItem
from napari_hrsr.training.config import AdversarySettings, TrainingConfig
from napari_hrsr.training.config_file import config_from_dict, config_to_dict, read_config
from napari_hrsr.training.degrade import Degradations
from napari_hrsr.training.events import Report
from napari_hrsr.training.fit import resume_training, run_training
from napari_hrsr.training.point_spread_choice import with_point_spread
from napari_hrsr.training.tasks import TASK_DEGRADATIONS

RUNS = Path("hrsr-runs")
"""Folder, in the current one, of the runs whose folder is not named."""

MINUTES = 10.0
"""How long to train where nobody says."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody said about a run; empty or None is what they did not say.

    Attributes
    ----------
    images, coarse, validation, unpaired : tuple of str or Path
        See `DataSettings`.
    leave_out : tuple of str
        Likewise.
    axes : str or None
        Likewise.
    config : Path, TrainingConfig or None
        Settings to begin with.
    name, network, start_from : str or None
        See `ModelSettings`.
    point_spread : str, Path or None
        File of a measured point spread function, which then blurs all images
        to learn from; see `read_point_spread`.
    task : str or None
        See `TrainingConfig`; one that restores keeps the size, and brings its
        own degradations where the settings have none.
    scale : tuple of int or None
        And all others: see `TrainingConfig`.
    adversarial : bool
        Train against a discriminator with its usual settings.
    teacher, teacher_weight : str and float, or None
        See `TeacherSettings`.
    """

    images: tuple[str | Path, ...] = ()
    coarse: tuple[str | Path, ...] = ()
    validation: tuple[str | Path, ...] = ()
    unpaired: tuple[str | Path, ...] = ()
    leave_out: tuple[str, ...] = ()
    axes: str | None = None
    config: Path | TrainingConfig | None = None
    name: str | None = None
    network: str | None = None
    start_from: str | None = None
    point_spread: str | Path | None = None
    task: str | None = None
    scale: tuple[int, ...] | None = None
    channels: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int | None = None
    device: str | None = None
    devices: int | None = None
    adversarial: bool = False
    teacher: str | None = None
    teacher_weight: float | None = None


_PATHS = ("images", "coarse", "validation", "unpaired")
_MODEL = ("name", "network", "start_from")
_RUN = ("task", "scale", "channels", "steps", "minutes", "seed", "device", "devices")


def configure(choices: Choices) -> TrainingConfig:
    """Combine a file of settings with what was said beside it, which goes first.

    Parameters
    ----------
    choices : Choices
        What was said.

    Raises
    ------
    InputError
        If a setting is unknown or makes no sense.
    """
    config = choices.config or TrainingConfig()
    if isinstance(config, Path):
        config = read_config(config)
    values = config_to_dict(config)
    said = {f.name: getattr(choices, f.name) for f in fields(choices)}
    for name in _PATHS:
        if said[name]:
            values["data"][name] = [str(Path(p).absolute()) for p in said[name]]
    for name in ("leave_out", "axes"):
        if said[name]:
            values["data"][name] = said[name]
    for name in _MODEL:
        if said[name]:
            values["model"][name] = said[name]
    start = values["model"]["start_from"]
    if start:
        values["model"]["start_from"] = _follow_model(values, choices, start, "start from")
    _follow_teacher(values, choices)
    for name in _RUN:
        if said[name] is not None:
            values[name] = said[name]
    if said["task"] in TASK_DEGRADATIONS:
        if said["scale"] is None:
            values["scale"] = [1] * len(values["scale"])
        if values["degradation"] == config_to_dict(Degradations()):
            del values["degradation"]
    if tuple(values["scale"]) != config.scale:
        # What was chosen for another number of axes is chosen anew.
        for name in ("batch", "patch", "pairs", "largest", "transpose_axes"):
            values.pop(name, None)
    if choices.minutes is not None and choices.steps is None:
        values["steps"] = 0
    if choices.steps is not None:
        values["minutes"] = 0.0
    if not values["steps"] and not values["minutes"]:
        values["minutes"] = MINUTES
    if choices.adversarial and "adversary" not in values:
        values["adversary"] = config_to_dict(AdversarySettings())
    config = config_from_dict(values)
    if choices.point_spread is None:
        return config
    return with_point_spread(config, Path(choices.point_spread))


def _follow_model(values: dict[str, Any], choices: Choices, model: str, what: str) -> str:
    """Take factor and channels from a model, unless they were said; return it for any folder."""
    path = Path(model)
    if path.suffix == ".safetensors":
        if not path.exists():
            msg = f"there is no model {path} to {what}"
            raise InputError(msg)
        spec, model = parse_spec(path.name, read_header(path)), str(path.absolute())
    else:
        spec = find_spec(model)
    if choices.scale is None:
        values["scale"] = list(spec.scale)
    if choices.channels is None:
        values["channels"] = spec.channels
    return model


def _follow_teacher(values: dict[str, Any], choices: Choices) -> None:
    if choices.teacher:
        values["teacher"] = {**values.get("teacher", {}), "model": choices.teacher, "sha256": ""}
    if "teacher" not in values:
        return
    if choices.teacher_weight is not None:
        values["teacher"]["weight"] = choices.teacher_weight
    # The student has the teacher's factor, and may start from a model of another one.
    model = values["teacher"]["model"]
    values["teacher"]["model"] = _follow_model(values, choices, model, "learn from")


def start_run(
    choices: Choices,
    folder: Path | None = None,
    *,
    arrays: Sequence[ArrayItem] = (),
    report: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    install: bool = True,
    profile: bool = False,
) -> Path:
    """Train as was said.

    Parameters
    ----------
    choices : Choices
        What was said.
    folder : Path, optional
        Of the run; by default one named after the model in ``hrsr-runs``.
    arrays : sequence of ArrayItem
        Sharp images in memory.
    report, cancelled, profile
        As for `run_training`.
    install : bool
        List the finished model among the user's.

    Returns
    -------
    Path
        The trained model.

    Raises
    ------
    CancelledError
        If the run was stopped before it was complete; it can be resumed.
    HrsrError
        If it cannot be started or go on.
    """
    config = configure(choices)
    place = folder or _free_folder(config.model.name)
    stop = _Remembered(cancelled)
    model = run_training(
        config, place, arrays=arrays, report=report, cancelled=stop, profile=profile
    )
    return _settled(model, place, stop, install=install)


def continue_run(
    folder: Path,
    *,
    report: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    install: bool = True,
) -> Path:
    """Go on with a run; as `start_run` otherwise.

    Parameters
    ----------
    folder : Path
        Of the run.
    report, cancelled, install
        As for `start_run`.
    """
    stop = _Remembered(cancelled)
    model = resume_training(folder, report=report, cancelled=stop)
    return _settled(model, folder, stop, install=install)


class _Remembered:
    """Whether to stop, and whether that was ever answered with yes."""

    def __init__(self, cancelled: Callable[[], bool] | None) -> None:
        self._cancelled, self.stopped = cancelled, False

    def __call__(self) -> bool:
        self.stopped = self.stopped or bool(self._cancelled and self._cancelled())
        return self.stopped


def _settled(model: Path | None, folder: Path, stop: _Remembered, *, install: bool) -> Path:
    if stop.stopped or model is None:
        msg = f"the training in {folder} was stopped; it can be resumed"
        raise CancelledError(msg)
    if install:
        install_model(model)
    return model


def _free_folder(name: str) -> Path:
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return folder


def train(
    images: Any = (),
    *,
    task: str | None = None,
    point_spread: str | Path | None = None,
    scale: int | Sequence[int] | None = None,
    coarse: Any = (),
    unpaired: Any = (),
    validation: Any = (),
    network: str | None = None,
    name: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start_from: str | Path | None = None,
    adversarial: bool = False,
    channels: int | None = None,
    axes: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    folder: str | Path | None = None,
    config: str | Path | TrainingConfig | None = None,
    install: bool = True,
    progress: Report | None = None,
    cancelled: threading.Event | Callable[[], bool] | None = None,
) -> Path:
    """Train a network on images of your own.

    Parameters
    ----------
    images : path, array, or a list of them
        Sharp images: files (TIFF, OME-Zarr, NIfTI, PNG, JPEG), folders, or
        arrays (Y, X) or (Z, Y, X) of any real type; dask and zarr stay lazy.
    task : str, optional
        ``"denoise"`` or ``"deblur"`` for a network that keeps the size;
        ``"upscale"`` by default.
    point_spread : str or Path, optional
        Image of beads, or of a point spread function, with pixels as large as
        those of the sharp images: what blurs them then, above all to learn to
        ``"deblur"``. Axes (Y, X) or (Z, Y, X), as many as `scale` has.
    scale : int or sequence of int, optional
        Factor of all axes of a plane, or of each axis, (Z), Y, X. By default 2 x 2.
    coarse : path or list of paths
        Low-resolution images of the same fields. Without them the
        low-resolution side is made by a model of the instrument.
    unpaired : path or list of paths
        Low-resolution images of other fields, with `adversarial` only: their
        results must be taken for sharp ones, and agree with what was measured.
        What is added to them cannot be checked against any truth.
    validation : path or list of paths
        Sharp images to measure on; by default a part of `images`.
    network : str, optional
        ``"plain"`` (default), ``"small"``, ``"srcnn"``, ``"fsrcnn"``,
        ``"edsr"``, ``"attention"`` or ``"large"``.
    name : str, optional
        Of the model; ``"my-model"`` by default.
    minutes : float, optional
        How long to train; 10 by default.
    steps : int, optional
        How long to train, in steps of the optimiser: the run can then be
        repeated exactly.
    start_from : str or Path, optional
        A trained model to go on from.
    adversarial : bool
        Train against a discriminator: sharper, and not for measurement.
    channels : int, optional
        3 to learn the colours of RGB images together.
    axes : str, optional
        One letter per axis, where files or arrays do not say.
    seed : int, optional
        Of everything that is drawn; 0 by default.
    device : str, optional
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    folder : str or Path, optional
        Of the run; by default a new one in ``hrsr-runs``.
    config : path or TrainingConfig, optional
        Settings to begin with; see `TrainingConfig`.
    install : bool
        List the model in the widgets, by its name.
    progress : callable, optional
        Told of each event; see `napari_hrsr.training.events`.
    cancelled : threading.Event or callable, optional
        Polled after each step; the run can then be resumed.

    Returns
    -------
    Path
        The trained model, as ``upscale`` and ``load_model`` take it.

    Raises
    ------
    HrsrError
        If the run cannot be started or go on.
    CancelledError
        If it was stopped.

    Examples
    --------
    >>> model = napari_hrsr.train("sharp images", minutes=10, name="yeast")  # doctest: +SKIP
    >>> upscaled = napari_hrsr.upscale(image, "yeast")  # doctest: +SKIP
    """
    paths, arrays = sort_images(images, axes)
    if isinstance(scale, int):
        scale = (scale, scale)
    choices = Choices(
        images=paths,
        coarse=only_paths(coarse, "coarse"),
        unpaired=only_paths(unpaired, "unpaired"),
        validation=only_paths(validation, "validation"),
        axes=axes,
        config=Path(config) if isinstance(config, str) else config,
        name=name,
        network=network,
        start_from=None if start_from is None else str(start_from),
        task=task,
        point_spread=point_spread,
        scale=None if scale is None else tuple(scale),
        channels=channels,
        steps=steps,
        minutes=minutes,
        seed=seed,
        device=device,
        adversarial=adversarial,
    )
    asked = cancelled.is_set if isinstance(cancelled, threading.Event) else cancelled
    return start_run(
        choices,
        None if folder is None else Path(folder),
        arrays=arrays,
        report=progress,
        cancelled=asked,
        install=install,
    )


def sort_images(items: Any, axes: str | None) -> tuple[tuple[str | Path, ...], list[ArrayItem]]:
    """Tell paths from arrays.

    Parameters
    ----------
    items : path, array, or a list of them
        As people give them.
    axes : str or None
        One letter per axis of the arrays.

    Raises
    ------
    InputError
        If they are neither.
    """
    if isinstance(items, str | Path) or hasattr(items, "shape"):
        items = [items]
    if not isinstance(items, Iterable):
        msg = f"images must be files, folders or arrays, got {type(items).__name__}"
        raise InputError(msg)
    paths: list[str | Path] = []
    arrays: list[ArrayItem] = []
    for item in items:
        if isinstance(item, str | Path):
            paths.append(item)
        elif isinstance(item, ArrayItem):
            arrays.append(item)
        else:
            arrays.append(ArrayItem(f"array {len(arrays)}", item, axes or ""))
    return tuple(paths), arrays


def only_paths(items: Any, name: str) -> tuple[str | Path, ...]:
    """Return files and folders; arrays are taken for the sharp images alone.

    Parameters
    ----------
    items : path, or a list of them
        As people give them.
    name : str
        Of the argument.

    Raises
    ------
    InputError
        If an array is among them.
    """
    paths, arrays = sort_images(items, None)
    if arrays:
        msg = f"{name} must be files or folders: write its arrays to files, for example as TIFF"
        raise InputError(msg)
    return paths
