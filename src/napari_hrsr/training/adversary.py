"""A generator in training against a discriminator, kept to what was measured.

Ledig et al., Photo-realistic single image super-resolution using a generative
adversarial network, CVPR 2017, with what has proved steadier since: a
relativistic objective (Jolicoeur-Martineau 2018) and spectral normalisation
(Miyato et al. 2018), a discriminator that also sees the source (Isola et al.
2017), and the moving average of the generator as the result. Three losses
keep it honest: the distance to the truth, the distance of the recorded result
to the measurement, and the correlation with the truth at high frequencies,
which falls where invented detail takes the place of true detail.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from napari_hrsr.errors import InputError
from napari_hrsr.forward import ForwardModel
from napari_hrsr.models.nets import build_discriminator
from napari_hrsr.models.nets.interpolation import Interpolation
from napari_hrsr.training.adversarial_losses import (
    WINDOW,
    collapse_warning,
    consistency_loss,
    discriminator_loss,
    feature_loss,
    generator_loss,
    measurement_loss,
)
from napari_hrsr.training.config import AdversarySettings, TrainingConfig
from napari_hrsr.training.detail import measure_detail
from napari_hrsr.training.losses import combined
from napari_hrsr.training.module import LAYOUTS, TrainedNetwork, learning_rate_factor
from napari_hrsr.training.spectral_losses import correlation_loss, power_loss, ring_totals
from napari_hrsr.training.validation import ValidationImage, measure

CAUTION = (
    "Not for measurement: trained to look real, so fine detail may be invented. "
    "Compare with the source, and do not diagnose from it."
)
"""What every model that was trained against a discriminator says of itself."""


class AdversarialTraining(TrainedNetwork):
    """Training of a generator and a discriminator in turn.

    In each step the generator moves first, then the discriminator judges what
    the generator had made before it moved.

    Parameters
    ----------
    network : Module
        The generator, called as ``network(batch, noise)``; best one that was
        trained towards the truth before.
    config : TrainingConfig
        How; `TrainingConfig.adversary` must be set.
    validation : sequence of ValidationImage
        What detail is measured on, of the generator and of what it started from.

    Raises
    ------
    InputError
        If `TrainingConfig.adversary` is not set, or `TrainingConfig.patience` is.
    ModelError
        If there is no such discriminator.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainingConfig,
        validation: Sequence[ValidationImage] = (),
    ) -> None:
        super().__init__(network, config)
        if config.adversary is None:
            msg = "adversarial training needs the settings of an adversary: give [adversary]"
            raise InputError(msg)
        if config.patience:
            msg = (
                "patience judges by the signal-to-noise ratio, which adversarial training gives "
                f"up some of: set patience to 0, got {config.patience}"
            )
            raise InputError(msg)
        self.automatic_optimization = False
        self.settings: AdversarySettings = config.adversary
        self.pixel_loss = combined(config.optimiser.losses)
        self.interpolation = Interpolation(config.ndim, config.scale)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.discriminator = build_discriminator(
                self.settings.discriminator,
                {
                    "ndim": config.ndim,
                    "inputs": 2 * config.channels,
                    **self.settings.arguments,
                },
            )
        self.discriminator.to(memory_format=LAYOUTS[config.ndim])  # type: ignore[call-overload]
        self._validation = validation
        self._before = {f"start_{k}": v for k, v in self._measure().items()}
        # Kept on the device: reading every loss would make it wait.
        self._recent: deque[Tensor] = deque(maxlen=WINDOW)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Move generator and discriminator once; see `StepBatches`."""
        optimisers: Any = self.optimizers()
        for optimiser, rate in zip(optimisers, self._rates(), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.play(batch, optimisers, self.manual_backward)

    def play(
        self, batch: dict[str, Any], optimisers: Sequence[Any], backward: Callable[[Tensor], None]
    ) -> None:
        """Move generator and discriminator once.

        Parameters
        ----------
        batch : dict
            See `StepBatches`.
        optimisers : sequence of Optimizer
            Of the generator and of the discriminator.
        backward : callable
            Fills in the gradients of a loss.
        """
        coarse = batch["coarse"].contiguous(memory_format=LAYOUTS[self.config.ndim])
        fine = batch["fine"]
        beside = self.interpolation(coarse)
        made = self.network(coarse, batch["noise"])
        other = self._unpaired(batch)
        self.discriminator.requires_grad_(False)
        loss, game = self._generator_loss(made, fine, beside, batch["instruments"])
        if other is not None:
            loss = loss + self._unpaired_loss(other, fine, batch)
        self._move(self.network, optimisers[0], loss, backward)
        self.discriminator.requires_grad_(True)
        opinion = self._discriminator_loss(made, fine, beside)
        if other is not None:
            # Nothing beside: the noise of the source would give away where it is from.
            opinion = opinion + self._discriminator_loss(other, fine, torch.zeros_like(fine))
        self._move(self.discriminator, optimisers[1], opinion, backward)
        self.note_loss(loss)
        self._recent.append(torch.stack([opinion.detach(), game.detach()]))

    def _unpaired(self, batch: dict[str, Any]) -> Tensor | None:
        """Return what the generator makes of images that no truth belongs to."""
        if "unpaired" not in batch:
            return None
        coarse = batch["unpaired"].contiguous(memory_format=LAYOUTS[self.config.ndim])
        made: Tensor = self.network(coarse, batch["unpaired_noise"])
        return made

    def _unpaired_loss(self, made: Tensor, fine: Tensor, batch: dict[str, Any]) -> Tensor:
        """Return what is paid for images without a truth: opinion, and faith to the source."""
        settings = self.settings
        blank = torch.zeros_like(fine)
        with torch.no_grad():
            real = self.discriminator(torch.cat([fine, blank], 1))
        game = generator_loss(
            settings.objective, real, self.discriminator(torch.cat([made, blank], 1))
        )
        departure = measurement_loss(
            made, batch["unpaired"], batch["unpaired_noise"], ForwardModel(self.config.scale)
        )
        return self._trust() * settings.adversarial * game + settings.consistency * departure

    def _discriminator_loss(self, made: Tensor, fine: Tensor, beside: Tensor) -> Tensor:
        return discriminator_loss(
            self.settings.objective,
            self.discriminator(torch.cat([fine, beside], 1)),
            self.discriminator(torch.cat([made.detach(), beside], 1)),
        )

    def _trust(self) -> float:
        """Return the weight of the discriminator: its first opinions are worth nothing."""
        return min(1.0, (self.step + 1) / max(1, self.settings.ramp))

    def _generator_loss(
        self,
        made: Tensor,
        fine: Tensor,
        beside: Tensor,
        instruments: Sequence[ForwardModel | None],
    ) -> tuple[Tensor, Tensor]:
        """Return what the generator pays, and the part of it that is the discriminator's."""
        settings = self.settings
        with torch.no_grad():
            real = self.discriminator.features(torch.cat([fine, beside], 1))  # type: ignore[operator]
        seen = self.discriminator.features(torch.cat([made, beside], 1))  # type: ignore[operator]
        game = generator_loss(settings.objective, real[-1], seen[-1])
        features = feature_loss(real[:-1], seen[:-1])
        # Where the instrument is unknown, pixel areas stand for it.
        known = [i or ForwardModel(self.config.scale) for i in instruments]
        loss = settings.pixel * self.pixel_loss(made, fine)
        if settings.consistency:
            loss = loss + settings.consistency * consistency_loss(made, fine, known)
        if settings.spectrum or settings.correlation:
            # Below the Nyquist frequency of the coarse grid the measurement rules.
            totals = ring_totals(made, fine, 1 / max(2, *self.config.scale))
            loss = loss + settings.spectrum * power_loss(totals)
            loss = loss + settings.correlation * correlation_loss(totals)
        loss = loss + self._trust() * (settings.adversarial * game + settings.feature * features)
        return loss, game

    def _move(
        self, network: nn.Module, optimiser: Any, loss: Tensor, backward: Callable[[Tensor], None]
    ) -> None:
        optimiser.zero_grad(set_to_none=True)
        backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), self.config.optimiser.clip)
        optimiser.step()

    def _rates(self) -> tuple[float, float]:
        factor = learning_rate_factor(self.step, self.config.steps, self.config.optimiser.warm_up)
        return self.settings.generator_rate * factor, self.settings.discriminator_rate * factor

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step."""
        self.finish_step()

    def configure_optimizers(self) -> Any:
        """Return the optimisers of generator and discriminator."""
        settings = self.settings
        return [
            torch.optim.Adam(network.parameters(), rate, settings.betas)
            for network, rate in (
                (self.network, settings.generator_rate),
                (self.discriminator, settings.discriminator_rate),
            )
        ]

    def figures(self) -> dict[str, float]:
        """Return both losses, and detail and fidelity beside those of the start.

        Returns
        -------
        dict
            ``generator_loss`` and ``discriminator_loss`` (means of the last
            steps), what `measure_detail` measures, and the same and ``psnr``
            of the network that the training started from, as ``start_...``.
        """
        losses = torch.stack(list(self._recent)).mean(0).tolist() if self._recent else (0.0, 0.0)
        return {
            "generator_loss": losses[1],
            "discriminator_loss": losses[0],
            **{k: v for k, v in self._measure().items() if k != "psnr"},
            **self._before,
        }

    def warning(self) -> str:
        """Return a sentence for people if one side has given up."""
        if not self._recent:
            return ""
        opinions, games = torch.stack(list(self._recent)).T.tolist()
        return collapse_warning(self.settings.objective, opinions, games) or ""

    def _measure(self) -> dict[str, float]:
        if not self._validation:
            return {}
        fidelity = {"psnr": measure(self.averaged, self._validation)["psnr"]}
        return fidelity | measure_detail(self.averaged, self._validation)


def adversarial_step_seconds(
    network: nn.Module, config: TrainingConfig, batch: dict[str, Any], device: torch.device
) -> float:
    """Measure how long a step takes; the network itself is left as it is.

    Parameters
    ----------
    network : Module
        The generator.
    config : TrainingConfig
        With an adversary.
    batch : dict
        See `StepBatches`.
    device : torch.device
        Where.

    Returns
    -------
    float
        Median of the seconds of a step.
    """
    module = AdversarialTraining(copy.deepcopy(network), config).to(device)
    optimisers = module.configure_optimizers()
    batch = module.transfer_batch_to_device(batch, device, 0)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        module.play(batch, optimisers, _backward)
        # Reading a number waits until the device has done all that it was given.
        module.mean_loss()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
