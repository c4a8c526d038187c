"""A small network in training that learns from a larger trained one beside the truth.

Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015. The
loss is the mean of the distance to the truth and of that to the teacher's
result. Distances of features in between, several teachers and other schemes
gain hardly more than this plain one in super-resolution.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_hrsr.devices import Placement
from napari_hrsr.errors import InputError, ModelError
from napari_hrsr.models.load import NetworkUpscaler, load_model
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.config import TeacherSettings, TrainingConfig
from napari_hrsr.training.module import LAYOUTS, SupervisedTraining
from napari_hrsr.training.speed import megapixel_seconds
from napari_hrsr.training.validation import ValidationImage, psnr, run_network


def open_teacher(settings: TeacherSettings) -> NetworkUpscaler:
    """Load the model that teaches.

    Parameters
    ----------
    settings : TeacherSettings
        Which.

    Returns
    -------
    NetworkUpscaler
        In evaluation mode, on the CPU.

    Raises
    ------
    ModelError
        If there is no such model, it cannot be read, it has learned nothing
        itself, or it is not the one that the run began with.
    """
    model = load_model(settings.model)
    if not isinstance(model, NetworkUpscaler) or model.spec.weights is None:
        msg = f"{settings.model} cannot teach: it has no weights, so it has learned nothing itself"
        raise ModelError(msg)
    if settings.sha256 and settings.sha256 != model.spec.weights.sha256:
        msg = (
            f"{settings.model} is not the teacher that this run began with: "
            "put that one back, or start a new run"
        )
        raise ModelError(msg)
    if model.spec.normalisation != "percentile" or model.spec.value_range != (0.0, 1.0):
        msg = f"{settings.model} cannot teach: it expects other values for black and white"
        raise ModelError(msg)
    return model


def with_teacher_digest(config: TrainingConfig) -> TrainingConfig:
    """Return the settings with the digest of the teacher's weights, if there is a teacher.

    Raises
    ------
    ModelError
        If the teacher cannot teach this run; see `open_teacher`.
    """
    if config.teacher is None:
        return config
    spec = open_teacher(config.teacher).spec
    if (spec.scale, spec.channels) != (config.scale, config.channels):
        msg = (
            f"{config.teacher.model} has factor {_times(spec.scale)} and {spec.channels} channels, "
            f"the run has {_times(config.scale)} and {config.channels}: they must agree"
        )
        raise ModelError(msg)
    digest = spec.weights.sha256 if spec.weights else ""
    return replace(config, teacher=replace(config.teacher, sha256=digest))


def _times(scale: Sequence[int]) -> str:
    return " x ".join(map(str, scale))


def teacher_seconds(
    settings: TeacherSettings, batch: Mapping[str, Any], device: torch.device
) -> float:
    """Measure how long the teacher takes for the batch of a step.

    Parameters
    ----------
    settings : TeacherSettings
        Which teacher.
    batch : Mapping
        See `StepBatches`.
    device : torch.device
        Where.

    Returns
    -------
    float
        Median of the seconds.
    """
    teacher = open_teacher(settings).network.to(device)
    coarse, noise = batch["coarse"].to(device), batch["noise"].to(device)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        # Reading a number waits until the device has done all that it was given.
        float(_taught(teacher, coarse, noise).sum())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


@torch.no_grad()
def _taught(teacher: nn.Module, coarse: Tensor, noise: Tensor) -> Tensor:
    result: Tensor = teacher(coarse, noise)
    return result


class DistilledTraining(SupervisedTraining):
    """Training towards the truth and towards the result of a teacher.

    The teacher is no part of the state that a checkpoint holds: it does not change.

    Parameters
    ----------
    network : Module
        The student, called as ``network(batch, noise)``.
    config : TrainingConfig
        How; `TrainingConfig.teacher` must be set.
    validation : sequence of ValidationImage
        What the teacher, too, is measured on.

    Raises
    ------
    InputError
        If `TrainingConfig.teacher` is not set.
    ModelError
        If the teacher cannot teach; see `open_teacher`.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        validation: Sequence[ValidationImage] = (),
    ) -> None:
        super().__init__(network, config)
        if config.teacher is None:
            msg = "there is no teacher to learn from: give [teacher]"
            raise InputError(msg)
        self._weight = config.teacher.weight
        teacher = open_teacher(config.teacher)
        teacher.to(memory_format=LAYOUTS[config.ndim])  # type: ignore[call-overload]
        # In a tuple, where torch does not look for a part of the state.
        self._teacher = (teacher,)
        self._validation = validation
        self._results = [run_network(teacher.network, image) for image in validation]
        self._seconds: list[float] = []

    @property
    def teacher(self) -> NetworkUpscaler:
        """The model that teaches."""
        return self._teacher[0]

    def facts(self, spec: ModelSpec) -> ModelSpec:
        """Return the facts of the student with what follows from the teacher."""
        taught = self.teacher.spec
        return replace(
            spec,
            trained_on=f"{spec.trained_on}; taught by {taught.name}",
            # What the teacher may have invented, the student learns from it.
            caution=spec.caution or taught.caution,
        )

    def on_fit_start(self) -> None:
        """Move the teacher to where the student is."""
        self.teacher.to(self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of a batch; see `StepBatches`."""
        coarse = batch["coarse"].contiguous(memory_format=LAYOUTS[self.config.ndim])
        result = self.network(coarse, batch["noise"])
        taught = _taught(self.teacher.network, coarse, batch["noise"])
        loss = self._weight * self.loss(result, taught)
        if self._weight < 1:
            loss = loss + (1 - self._weight) * self.loss(result, batch["fine"])
        self.note_loss(loss)
        return loss

    def figures(self) -> dict[str, float]:
        """Return how good the teacher is, and how near the student has come to it.

        Returns
        -------
        dict
            ``teacher_psnr``, of the teacher's result and the truth, and
            ``to_teacher``, of the student's result and the teacher's, in decibels.
        """
        if not self._results:
            return {}
        pairs = list(zip(self._validation, self._results, strict=True))
        near = [psnr(run_network(self.averaged, image), taught) for image, taught in pairs]
        good = [psnr(taught, image.fine) for image, taught in pairs]
        return {"teacher_psnr": float(np.mean(good)), "to_teacher": float(np.mean(near))}

    def card_section(self, spec: ModelSpec, values: Mapping[str, float], size: int) -> str:
        """Return teacher, student and cubic interpolation side by side, as Markdown.

        Parameters
        ----------
        spec : ModelSpec
            Facts of the student.
        values : Mapping
            The last measurement.
        size : int
            Bytes of the file of the student.
        """
        teacher, student = self.teacher, NetworkUpscaler(self.averaged, spec)
        cubic = load_model("cubic-" + "x".join(map(str, spec.scale)))
        if not self._seconds:
            here = Placement(torch.device("cpu"))
            models = [(model, here) for model in (teacher, student, cubic)]
            self._seconds = megapixel_seconds(models, spec.channels)
        times = [f"{seconds:.2g} s" for seconds in self._seconds]
        kilobytes = teacher.spec.weights.size // 1000 if teacher.spec.weights else 0
        rows = [
            (f"teacher, `{teacher.spec.name}`", values["teacher_psnr"], _parameters(teacher),
             f"{kilobytes} kB", times[0]),
            ("this model", values["psnr"], _parameters(student), f"{size // 1000} kB", times[1]),
            ("cubic interpolation", values["cubic_psnr"], "0", "none", times[2]),
        ]  # fmt: skip
        lines = [
            "## Learned from a teacher",
            "",
            f"Of the loss, {self._weight:.0%} is the distance to the result of the teacher, the "
            "rest that to the truth. On the same images; time for a million pixels of the result "
            f"on the processor of the machine that trained, {torch.get_num_threads()} thread(s), "
            "while it may have had other work:",
            "",
            "| | dB | gain over cubic | parameters | file | time |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {name} | {value:.2f} | {value - values['cubic_psnr']:+.2f} | {count} | {size} "
            f"| {seconds} |"
            for name, value, count, size, seconds in rows
        ]
        lines += [
            "",
            f"Result of this model against the result of its teacher: {values['to_teacher']:.2f} "
            "dB. Whether the teacher helped is known only beside a run of the same settings "
            "without `[teacher]`.",
        ]
        return "\n".join(lines)


def _parameters(model: nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters())}"
