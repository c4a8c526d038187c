"""From settings to what a training needs: images, network, validation, number of steps."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import CancelledError, InputError
from napari_hrsr.models.nets import build_network
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.adversary import adversarial_step_seconds
from napari_hrsr.training.architectures import find_choice, make_network, measure_step_seconds
from napari_hrsr.training.batches import (
    FIRST_PAIRS,
    DegradedPairs,
    MakePair,
    RegisteredPairs,
    StepBatches,
    UnpairedWindows,
)
from napari_hrsr.training.collection import (
    ArrayItem,
    Collection,
    LeftOut,
    Preprocessing,
    open_collection,
)
from napari_hrsr.training.config import DataSettings, TrainingConfig
from napari_hrsr.training.pairs import PairCollection, open_pairs, split_pairs
from napari_hrsr.training.split import find_split_folders, split_collection
from napari_hrsr.training.tasks import resolved_task
from napari_hrsr.training.teacher import teacher_seconds
from napari_hrsr.training.validation import ValidationImage, validation_images
from napari_hrsr.training.warm_start import start_from_model

_LEAST_STEPS = 20
_FASTER = 0.85
"""More threads are worth their processors if they take less than this share of the time."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Images of a run, opened.

    Attributes
    ----------
    make_pair : callable
        Makes pairs to learn from.
    names : tuple of str
        Of the images learned from.
    validation : list of ValidationImage
        What is measured on.
    left_out : tuple of LeftOut
        What could not be used, and why.
    unpaired : callable or None
        Makes pairs of coarse images of other fields.
    """

    make_pair: MakePair
    names: tuple[str, ...]
    validation: list[ValidationImage]
    left_out: tuple[LeftOut, ...]
    unpaired: MakePair | None = None


def open_data(
    config: TrainingConfig,
    arrays: Sequence[ArrayItem] = (),
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingData:
    """Open the images of a run and set some aside to measure on.

    Parameters
    ----------
    config : TrainingConfig
        Which images.
    arrays : sequence of ArrayItem
        Sharp images in memory, beside the files.
    cancelled : callable
        Polled between files.

    Raises
    ------
    InputError
        If there is nothing to learn from, or pairs do not match.
    CancelledError
        If `cancelled` returned True.
    """
    if config.data.coarse:
        _check_paired(config, arrays)
        return _open_paired(config, cancelled)
    items: list[object] = [*map(Path, config.data.images), *arrays]
    held: list[object] = [*map(Path, config.data.validation)]
    if not items:
        msg = "there are no images to learn from: name files or folders of sharp images"
        raise InputError(msg)
    if len(items) == 1 and not held and isinstance(items[0], Path):
        folders = find_split_folders(items[0])
        if folders is not None:
            items, held = [folders[0]], [folders[1]]

    def opened(chosen: list[object], channels: int = config.channels) -> Collection:
        return open_collection(
            chosen,
            ndim=config.ndim,
            channels=channels,
            axes=config.data.axes or None,
            minimum=max(config.data.minimum, 2 * max(config.scale)),
            leave_out=config.data.leave_out,
            preprocessing=Preprocessing(
                config.data.resize, config.data.crop, config.data.percentiles
            ),
            cancelled=cancelled,
        )

    if config.data.stained and config.channels > 1:
        collection = _with_grey(opened(items, channels=1), lambda: opened(items))
    else:
        collection = opened(items)
    training, left_out = collection.images, collection.left_out
    if held:
        others = opened(held)
        validation, left_out = others.images, left_out + others.left_out
    else:
        training, validation = split_collection(
            training,
            config.data.validation_share,
            config.seed,
            minimum=config.data.minimum,
        )
    return TrainingData(
        DegradedPairs(training, config),
        tuple(image.name for image in training),
        validation_images(validation, config),
        left_out,
        _open_unpaired(config),
    )


def _with_grey(every: Collection, open_colours: Callable[[], Collection]) -> Collection:
    """Return the images with colours where they have some, and grey where they have none."""
    with contextlib.suppress(InputError):
        colours = open_colours().images
        files = {image.file for image in colours}
        grey = (image for image in every.images if image.file not in files)
        return replace(every, images=(*colours, *grey))
    return every


def _check_paired(config: TrainingConfig, arrays: Sequence[ArrayItem]) -> None:
    """Refuse what would be done to one side of a pair alone."""
    usual = DataSettings()
    for name in ("leave_out", "resize", "crop", "percentiles", "stained", "blurred"):
        if getattr(config.data, name) != getattr(usual, name):
            msg = f"data.{name} is for sharp images alone: leave it out where data.coarse is given"
            raise InputError(msg)
    if arrays:
        msg = "pairs are read from files: write the sharp images to files, for example as TIFF"
        raise InputError(msg)


def _open_paired(config: TrainingConfig, cancelled: Callable[[], bool]) -> TrainingData:
    def opened(coarse: tuple[str, ...], fine: tuple[str, ...]) -> PairCollection:
        return open_pairs(
            [Path(p) for p in coarse],
            [Path(p) for p in fine],
            scale=config.scale,
            ndim=config.ndim,
            channels=config.channels,
            axes=config.data.axes or None,
            minimum=config.data.minimum,
            cancelled=cancelled,
        )

    pairs = opened(config.data.coarse, config.data.images)
    left_out = pairs.left_out
    if config.data.validation_coarse:
        held = opened(config.data.validation_coarse, config.data.validation)
        training, validation = pairs.images, held.images
        left_out += held.left_out
    else:
        training, validation = split_pairs(pairs.images, config.data.validation_share, config.seed)
    return TrainingData(
        RegisteredPairs(training, config),
        tuple(image.name for image in training),
        validation_images(validation, config),
        left_out,
        _open_unpaired(config),
    )


def _open_unpaired(config: TrainingConfig) -> MakePair | None:
    if not config.data.unpaired:
        return None
    if config.adversary is None:
        msg = "low-resolution images of other fields can only be used by adversarial training"
        raise InputError(msg)
    collection = open_collection(
        [Path(p) for p in config.data.unpaired],
        ndim=config.ndim,
        channels=config.channels,
        axes=config.data.axes or None,
        minimum=config.patch,
    )
    return UnpairedWindows(collection.images, config)


def build(config: TrainingConfig) -> tuple[nn.Module, ModelSpec]:
    """Build the network of a run, untrained or from the model it starts from.

    Parameters
    ----------
    config : TrainingConfig
        Network, factor, seed.

    Raises
    ------
    ModelError
        If there is no such network, or the model to start from does not fit.
    """
    settings = config.model
    choice = find_choice(settings.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network, arguments = make_network(
            settings.network,
            ndim=config.ndim,
            scale=config.scale,
            channels=config.channels,
            noise_input=settings.noise_input,
        )
        if settings.arguments:
            arguments |= settings.arguments
            network = build_network(choice.architecture, arguments)
    architecture, citation, caution = choice.architecture, choice.citation, ""
    if settings.start_from:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network, spec = start_from_model(config)
        architecture, arguments, citation = spec.architecture, dict(spec.arguments), spec.citation
        # What was learned from an adversary is not unlearned for certain.
        caution = spec.caution
    return network, ModelSpec(
        name=settings.name,
        title=settings.title or settings.name,
        task=resolved_task(config.task, config.scale, adversarial=config.adversary is not None),
        architecture=architecture,
        arguments=arguments,
        ndim=2 if config.ndim == 2 else 3,
        scale=config.scale,
        channels=config.channels,
        halo=network.halo,  # type: ignore[arg-type]
        noise_input=bool(arguments.get("noise_input", False)),
        licence=settings.licence,
        citation=citation,
        caution=caution,
    )


def settle(
    config: TrainingConfig,
    network: nn.Module,
    data: TrainingData,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingConfig:
    """Choose what the settings leave open: threads, steps and how often to measure.

    What is chosen depends on the speed of this machine, so it becomes a part of
    the settings: the run can then be repeated.

    Parameters
    ----------
    config : TrainingConfig
        With steps or minutes.
    network : Module
        Whose speed is measured.
    data : TrainingData
        Likewise.
    cancelled : callable
        Polled between two measurements.

    Raises
    ------
    InputError
        If there are neither steps nor minutes.
    CancelledError
        If `cancelled` returned True.
    """
    if not config.steps and not config.minutes:
        msg = "say how long to train: a number of steps, or minutes"
        raise InputError(msg)
    device = resolve_device(config.device)
    if device.type == "cpu" and not config.threads:
        config = replace(config, threads=_choose_threads(config, network, cancelled))
    if not config.steps:
        _check(cancelled)
        seconds = _step_seconds(config, network, data, device)
        steps = math.ceil(60 * config.minutes / seconds)
        config = replace(config, steps=max(_LEAST_STEPS, steps), minutes=0.0)
    if not config.validate_every:
        config = replace(config, validate_every=max(1, config.steps // 30))
    return config


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        msg = "cancelled while the speed of this machine was measured"
        raise CancelledError(msg)


def _choose_threads(
    config: TrainingConfig, network: nn.Module, cancelled: Callable[[], bool]
) -> int:
    """Return 1 unless more are clearly faster: patches are small, and threads wait."""
    before = torch.get_num_threads()
    most = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before)
    seconds = {}
    try:
        for threads in sorted({1, most}):
            _check(cancelled)
            torch.set_num_threads(threads)
            seconds[threads] = _network_seconds(config, network, torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    return most if seconds[most] < _FASTER * seconds[1] else 1


def _network_seconds(config: TrainingConfig, network: nn.Module, device: torch.device) -> float:
    return measure_step_seconds(
        network,
        ndim=config.ndim,
        channels=config.channels,
        batch=config.batch,
        size=config.patch,
        device=device,
    )


def _step_seconds(
    config: TrainingConfig, network: nn.Module, data: TrainingData, device: torch.device
) -> float:
    """Return the seconds of a step, with its share of drawing patches and making pairs."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        batches = StepBatches(data.make_pair, replace(config, steps=1))
        start = time.perf_counter()
        batch = batches[0]
        making = time.perf_counter() - start
        if config.adversary is None:
            computing = _network_seconds(config, network, device)
        else:
            computing = adversarial_step_seconds(network, config, batch, device)
        if config.teacher is not None:
            computing += teacher_seconds(config.teacher, batch, device)
        drawing = -time.perf_counter()
        batches[0]
        drawing += time.perf_counter()
    finally:
        torch.set_num_threads(before)
    pair = max(0.0, making - drawing) / min(FIRST_PAIRS, config.pairs)
    return computing + drawing + pair / config.refresh
