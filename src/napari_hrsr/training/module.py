"""A network in training against the truth: loss, optimiser, and the average of its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.config import OptimiserSettings, TrainingConfig
from napari_hrsr.training.losses import combined

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
"""A quarter to a third faster to train in than contiguous, in 2D and in 3D."""

_LOSS_SMOOTHING = 0.05


class TrainedNetwork(pl.LightningModule):
    """What every way of training has in common.

    Parameters
    ----------
    network : Module
        Called as ``network(batch, noise)``; trained in place.
    config : TrainingConfig
        How.

    Attributes
    ----------
    network : Module
        The network in training.
    averaged : Module
        The exponential moving average of its weights, which is the result.
    steps_done : Tensor
        Steps done, of type int64; a part of the state that a checkpoint holds.
    """

    steps_done: Tensor

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config
        network.to(memory_format=LAYOUTS[config.ndim])  # type: ignore[call-overload]
        self.network = network
        self.averaged = copy.deepcopy(network).eval().requires_grad_(False)
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))
        self._loss_sum, self._loss_count, self._loss_mean = torch.zeros(()), 0, 0.0
        self._smooth_loss: Tensor | None = None

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.steps_done)

    def train(self, mode: bool = True) -> TrainedNetwork:
        """Set the mode of all but the average, which is always ready for use."""
        super().train(mode)
        self.averaged.eval()
        return self

    @torch.no_grad()
    def finish_step(self) -> None:
        """Move the average of the weights, and count the step."""
        step = self.step
        # Early on the average must forget the untrained weights faster.
        decay = min(self.config.optimiser.average, (1 + step) / (10 + step))
        shadow: list[Tensor] = list(self.averaged.parameters())
        current = [p.detach() for p in self.network.parameters()]
        torch._foreach_lerp_(shadow, current, 1 - decay)
        self.steps_done += 1

    def note_loss(self, loss: Tensor) -> None:
        """Add the loss of a step to the mean."""
        # A sum on the device: reading every loss would make it wait.
        self._loss_sum = self._loss_sum.to(loss.device) + loss.detach()
        self._loss_count += 1
        smooth = loss.detach() if self._smooth_loss is None else self._smooth_loss
        self._smooth_loss = smooth.lerp(loss.detach(), _LOSS_SMOOTHING)

    def smooth_loss(self) -> float:
        """Return a running mean of the loss."""
        return 0.0 if self._smooth_loss is None else float(self._smooth_loss)

    def mean_loss(self) -> float:
        """Return the mean of the losses since it was last asked for."""
        if self._loss_count:
            self._loss_mean = float(self._loss_sum) / self._loss_count
            self._loss_sum, self._loss_count = torch.zeros(()), 0
        return self._loss_mean

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move the tensors of a batch; its instruments stay what they are."""
        return {
            key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }

    def figures(self) -> dict[str, float]:
        """Return what is worth noting beside the loss since it was last asked for."""
        return {}

    def warning(self) -> str:
        """Return a sentence for people if the training goes wrong, else nothing."""
        return ""

    def card_section(self, spec: ModelSpec, values: Mapping[str, float], size: int) -> str:
        """Return what the model card says beside the usual, as Markdown.

        Parameters
        ----------
        spec : ModelSpec
            Facts of the model.
        values : Mapping
            The last measurement.
        size : int
            Bytes of the file of the model.
        """
        return ""


class SupervisedTraining(TrainedNetwork):
    """Training towards the truth by a weighted sum of losses.

    Parameters
    ----------
    network : Module
        Called as ``network(batch, noise)``.
    config : TrainingConfig
        How.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        super().__init__(network, config)
        self.loss = combined(config.optimiser.losses)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Return the loss of a batch; see `StepBatches`."""
        coarse = batch["coarse"].contiguous(memory_format=LAYOUTS[self.config.ndim])
        loss = self.loss(self.network(coarse, batch["noise"]), batch["fine"])
        self.note_loss(loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step."""
        self.finish_step()

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule."""
        settings = self.config.optimiser
        optimiser = make_optimiser(settings, self.network)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.config.steps, settings.warm_up)
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def make_optimiser(settings: OptimiserSettings, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of a network's weights."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.kind == "adam":
        return torch.optim.Adam(network.parameters(), **options)
    return torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay, **options)


def learning_rate_factor(step: int, steps: int, warm_up: int) -> float:
    """Return the learning rate over its highest: linear warm-up, then half a cosine to zero.

    Parameters
    ----------
    step : int
        From 0.
    steps : int
        In total.
    warm_up : int
        Until the rate is at its highest; at most a tenth of all steps.
    """
    warm_up = min(warm_up, max(1, steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
