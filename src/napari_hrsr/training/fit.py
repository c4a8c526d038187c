"""Run a training: lightning's loop, fed by step and seed, in a folder that can be resumed."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import PyTorchProfiler
from torch.utils.data import DataLoader

from napari_hrsr.devices import resolve_device
from napari_hrsr.errors import (
    CancelledError,
    ComputeError,
    InputError,
    OutOfMemoryError,
)
from napari_hrsr.memory import is_out_of_memory, release_memory
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.adversary import CAUTION, AdversarialTraining
from napari_hrsr.training.batches import StepBatches, StepSampler
from napari_hrsr.training.checkpoints import SafeCheckpointIO, checkpoint_step
from napari_hrsr.training.collection import ArrayItem
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.events import Finished, Preparing, Report, Started
from napari_hrsr.training.module import SupervisedTraining, TrainedNetwork
from napari_hrsr.training.point_spread_choice import with_point_spread_digest
from napari_hrsr.training.preparing import TrainingData, build, open_data, settle
from napari_hrsr.training.run_folder import RunFolder
from napari_hrsr.training.teacher import DistilledTraining, with_teacher_digest
from napari_hrsr.training.watching import Watcher

EPOCH_STEPS = 50
"""Steps between two places where a checkpoint may be written."""


def run_training(
    config: TrainingConfig,
    folder: str | Path,
    *,
    arrays: Sequence[ArrayItem] = (),
    data: TrainingData | None = None,
    report: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
    profile: bool = False,
) -> Path | None:
    """Train a network from the start.

    Parameters
    ----------
    config : TrainingConfig
        Everything that the run depends on.
    folder : str or Path
        A new folder; see `RunFolder` for what is in it afterwards.
    arrays : sequence of ArrayItem
        Sharp images in memory, beside the files of `config`. A run with them
        cannot be resumed.
    data : TrainingData, optional
        What to learn from in place of images; likewise.
    report : callable, optional
        Told of each event.
    cancelled : callable, optional
        Polled after each step.
    profile : bool
        Write what torch's profiler saw of some steps into the folder.

    Returns
    -------
    Path or None
        The trained model; None where the run was stopped before there was one.

    Raises
    ------
    HrsrError
        If the run cannot be started or go on; the message says why.
    """
    tell, asked = report or (lambda event: None), cancelled or (lambda: False)
    place = RunFolder(Path(folder))
    if place.config.exists():
        msg = f"{place.path} holds a training run already: resume it, or choose another folder"
        raise InputError(msg)
    with _quiet(), _translated():
        config = with_point_spread_digest(with_teacher_digest(config))
        tell(Preparing("Opening images"))
        data = data or open_data(config, arrays, asked)
        network, spec = build(config)
        tell(Preparing("Measuring the speed of this machine"))
        config = settle(config, network, data, asked)
        place.create(config)
        return _train(config, place, data, network, spec, tell, asked, profile=profile)


def resume_training(
    folder: str | Path,
    *,
    report: Report | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path | None:
    """Go on with a run that was stopped or killed, to the same weights as without the break.

    Parameters
    ----------
    folder : str or Path
        Of the run.
    report, cancelled : callable, optional
        As for `run_training`.

    Returns
    -------
    Path or None
        The trained model; None where the run was stopped before there was one.

    Raises
    ------
    HrsrError
        If the folder holds no run, or it cannot go on.
    """
    tell, asked = report or (lambda event: None), cancelled or (lambda: False)
    place = RunFolder(Path(folder))
    config = place.read()
    with _quiet(), _translated():
        tell(Preparing("Opening images"))
        data = open_data(config, (), asked)
        network, spec = build(config)
        return _train(config, place, data, network, spec, tell, asked)


def _train(
    config: TrainingConfig,
    place: RunFolder,
    data: TrainingData,
    network: torch.nn.Module,
    spec: ModelSpec,
    report: Report,
    cancelled: Callable[[], bool],
    *,
    profile: bool = False,
) -> Path | None:
    device = resolve_device(config.device)
    module, spec = make_module(config, network, spec, data)
    checkpoint = place.checkpoint if place.checkpoint.exists() else None
    done = 0
    if checkpoint is not None:
        done = checkpoint_step(checkpoint)
    place.forget_rows_after(done)
    for item in data.left_out:
        place.add_log(f"left out: {item.name}: {item.reason}")
    watcher = Watcher(
        place, spec, data, report=report, cancelled=cancelled, epoch_steps=EPOCH_STEPS
    )
    report(
        Started(
            folder=str(place.path),
            steps=config.steps,
            step=done,
            images=len(data.names),
            validation_images=len(data.validation),
            left_out=tuple((item.name, item.reason) for item in data.left_out),
            parameters=sum(p.numel() for p in network.parameters()),
            device=str(device),
        )
    )
    before = torch.get_num_threads()
    try:
        if device.type == "cpu" and config.threads:
            torch.set_num_threads(config.threads)
        trainer = _make_trainer(config, place, device, watcher, module, profile=profile)
        if done < config.steps:
            trainer.fit(module, _loader(config, data, device, module), ckpt_path=checkpoint)
        complete = not watcher.stopped
        if watcher.stopped and module.step > done and place.model.exists():
            watcher.measure(trainer, module)
        model = str(place.model) if place.model.exists() else ""
        report(Finished(model, module.step or done, complete))
    finally:
        torch.set_num_threads(before)
        gc.collect()
        release_memory(device)
    return place.model if place.model.exists() else None


def make_module(
    config: TrainingConfig, network: torch.nn.Module, spec: ModelSpec, data: TrainingData
) -> tuple[TrainedNetwork, ModelSpec]:
    """Return what trains the network, and the facts that follow from how it is trained."""
    spec = replace(spec, trained_on=_summary(data.names))
    if config.adversary is not None:
        spec = replace(spec, caution=CAUTION)
        return AdversarialTraining(network, config, data.validation), spec
    if config.teacher is not None:
        taught = DistilledTraining(network, config, data.validation)
        return taught, taught.facts(spec)
    return SupervisedTraining(network, config), spec


def _summary(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} images: {shown}{', ...' if len(names) > 3 else ''}"


def _make_trainer(
    config: TrainingConfig,
    place: RunFolder,
    device: torch.device,
    watcher: Watcher,
    module: TrainedNetwork,
    *,
    profile: bool,
) -> pl.Trainer:
    accelerator = {"cuda": "gpu"}.get(device.type, device.type)
    devices: Any = config.devices
    if device.type == "cuda" and device.index is not None:
        devices = [device.index]
    half = config.precision == "bfloat16" or (
        config.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    profiler = PyTorchProfiler(place.path, "profile") if profile else None
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        precision="bf16-mixed" if half else "32-true",
        max_epochs=-(-config.steps // EPOCH_STEPS),
        gradient_clip_val=config.optimiser.clip if module.automatic_optimization else None,
        logger=TensorBoardLogger(place.path, name="tensorboard", version=""),
        callbacks=[watcher],
        plugins=[SafeCheckpointIO()],
        profiler=profiler,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=place.path,
    )


def _loader(
    config: TrainingConfig, data: TrainingData, device: torch.device, module: TrainedNetwork
) -> DataLoader[dict[str, Any]]:
    workers = config.workers
    if workers < 0:
        workers = 4 if device.type == "cuda" else 0
    return DataLoader(
        StepBatches(data.make_pair, config, data.unpaired),
        batch_size=None,
        sampler=StepSampler(config.steps, EPOCH_STEPS, lambda: module.step),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_as_it_is,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep lightning's remarks about the hardware and its advice to itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what torch raises into what people can act on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        msg = "the training was interrupted; it can be resumed"
        raise CancelledError(msg) from None
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            msg = "the training needs more memory than there is: use smaller batches or patches"
            raise OutOfMemoryError(msg) from error
        msg = f"the training failed: {error}"
        raise ComputeError(msg) from error
