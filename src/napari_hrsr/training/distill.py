"""Train a small network on images of one's own and on the results of a larger one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_hrsr.errors import InputError
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.events import Report
from napari_hrsr.training.start import Choices, configure, only_paths, sort_images, start_run


def distill(
    images: Any = (),
    *,
    teacher: str | Path | None = None,
    student: str | None = None,
    weight: float | None = None,
    coarse: Any = (),
    validation: Any = (),
    name: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    start_from: str | Path | None = None,
    axes: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    folder: str | Path | None = None,
    config: str | Path | TrainingConfig | None = None,
    install: bool = True,
    progress: Report | None = None,
    cancelled: threading.Event | Callable[[], bool] | None = None,
) -> Path:
    """Train a small network towards the truth and towards what a larger one makes of the images.

    Everything else is as in `train`: the same run folder, and a run can be
    resumed to the same weights. The model's card sets teacher, student and
    cubic interpolation side by side.

    Parameters
    ----------
    images : path, array, or a list of them
        Sharp images, as for `train`; best those that the teacher learned from.
    teacher : str or Path
        Name or file of a trained model; factor and channels are taken from it.
    student : str, optional
        The network that learns: ``"plain"`` (default), ``"fsrcnn"`` or
        another that `train` knows.
    weight : float, optional
        Share of the distance to the teacher's result in the loss, above 0 and
        up to 1; 0.5 by default. The rest is the distance to the truth.
    coarse, validation, name, minutes, steps, start_from, axes, seed, device, folder, config,
    install, progress, cancelled
        As for `train`. `start_from` is a trained model for the student to
        start from.

    Returns
    -------
    Path
        The trained model, as ``upscale`` and ``load_model`` take it.

    Raises
    ------
    HrsrError
        If the teacher cannot teach, or the run cannot be started or go on.
    CancelledError
        If it was stopped.

    Examples
    --------
    >>> model = napari_hrsr.distill("sharp images", teacher="large.safetensors")  # doctest: +SKIP
    """
    paths, arrays = sort_images(images, axes)
    choices = Choices(
        images=paths,
        coarse=only_paths(coarse, "coarse"),
        validation=only_paths(validation, "validation"),
        axes=axes,
        config=Path(config) if isinstance(config, str) else config,
        name=name,
        network=student,
        start_from=None if start_from is None else str(start_from),
        steps=steps,
        minutes=minutes,
        seed=seed,
        device=device,
        teacher=None if teacher is None else str(teacher),
        teacher_weight=weight,
    )
    asked = cancelled.is_set if isinstance(cancelled, threading.Event) else cancelled
    return start_distillation(
        choices,
        None if folder is None else Path(folder),
        arrays=arrays,
        report=progress,
        cancelled=asked,
        install=install,
    )


def start_distillation(choices: Choices, folder: Path | None = None, **options: Any) -> Path:
    """Start a run that must have a teacher.

    Parameters
    ----------
    choices, folder, options
        As for `start_run`.

    Raises
    ------
    InputError
        If no teacher was named.
    HrsrError
        As for `start_run`.
    """
    config = configure(choices)
    if config.teacher is None:
        msg = "there is no teacher to learn from: name a trained model"
        raise InputError(msg)
    return start_run(choices, folder, **options)
