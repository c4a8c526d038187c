"""What happens between the steps: reports, measurements, checkpoints, and stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl

from napari_hrsr.errors import TrainingError
from napari_hrsr.models.spec import ModelSpec
from napari_hrsr.training.card import model_card
from napari_hrsr.training.events import Measured, Progress, Report
from napari_hrsr.training.model_file import save_model
from napari_hrsr.training.module import TrainedNetwork
from napari_hrsr.training.preparing import TrainingData
from napari_hrsr.training.run_folder import RunFolder
from napari_hrsr.training.validation import compare, measure

_REPORT_SECONDS = 0.25
_CHECKPOINT_SECONDS = 3.0


class Watcher(pl.Callback):
    """Reports progress, measures, writes the run folder, and stops when asked to.

    Parameters
    ----------
    folder : RunFolder
        Where everything is written.
    spec : ModelSpec
        Facts of the model.
    data : TrainingData
        With the validation images.
    report : callable
        Told of each event.
    cancelled : callable
        Polled after each step.
    epoch_steps : int
        Steps in an epoch.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: ModelSpec,
        data: TrainingData,
        *,
        report: Report,
        cancelled: Callable[[], bool],
        epoch_steps: int,
    ) -> None:
        self._folder, self._spec, self._data = folder, spec, data
        self._report, self._cancelled = report, cancelled
        self._epoch_steps = epoch_steps
        self._began = self._reported = self._saved = time.monotonic()
        self._first_step = 0
        self._earlier_seconds = 0.0
        self.stopped = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        module = _trained(pl_module)
        self._first_step = module.step
        rows = self._folder.rows()
        self._earlier_seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self._began = self._reported = self._saved = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Report from time to time, and stop where the user asked to."""
        module = _trained(pl_module)
        if self._cancelled():
            self.stopped = True
            trainer.should_stop = True
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS and trainer.is_global_zero:
            self._reported = now
            done = module.step - self._first_step
            remaining = (now - self._began) / max(1, done) * (module.config.steps - module.step)
            loss = _finite(module.smooth_loss(), module)
            self._report(Progress(module.step, module.config.steps, loss, remaining))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure when it is time to, and keep what is needed to go on."""
        module = _trained(pl_module)
        if self.stopped:
            return
        last = module.step >= module.config.steps
        every = max(1, round(module.config.validate_every / self._epoch_steps))
        if trainer.is_global_zero and (last or (trainer.current_epoch + 1) % every == 0):
            self.measure(trainer, module)
        if last or time.monotonic() - self._saved >= _CHECKPOINT_SECONDS:
            # Every process takes part, one writes.
            trainer.save_checkpoint(self._folder.checkpoint)
            self._saved = time.monotonic()

    def measure(self, trainer: pl.Trainer, module: TrainedNetwork) -> None:
        """Measure the averaged network; write the row, the preview and the model."""
        seconds = self._earlier_seconds + time.monotonic() - self._began
        values = {
            "step": module.step,
            "seconds": round(seconds, 2),
            "loss": _finite(module.mean_loss(), module),
            **measure(module.averaged, self._data.validation),
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            **module.figures(),
        }
        best = max((float(r["psnr"]) for r in self._folder.rows()), default=-math.inf)
        self._folder.add_row(values)
        for logger in trainer.loggers:
            numbers = {k: v for k, v in values.items() if k != "step"}
            logger.log_metrics(numbers, step=module.step)
        shown = compare(module.averaged, self._data.validation[0])
        self._folder.write_preview(shown, module.step)
        patience = module.config.patience
        if not patience or values["psnr"] >= best:
            self.write_model(module, values)
        warning = module.warning()
        self._report(Measured(module.step, values, warning))
        line = ", ".join(f"{k} {v:.5g}" for k, v in values.items())
        self._folder.add_log(line + (f"; warning: {warning}" if warning else ""))
        if patience and self._stalled(patience):
            self._folder.add_log(f"no improvement in {patience} measurements: stopped")
            trainer.should_stop = True

    def write_model(self, module: TrainedNetwork, values: dict[str, float]) -> None:
        """Write the averaged network and its card."""
        gains = {"validation images": round(values["gain"], 2)}
        spec = replace(self._spec, gains=gains)
        save_model(module.averaged, spec, self._folder.model)
        section = module.card_section(spec, values, self._folder.model.stat().st_size)
        card = model_card(
            spec, module.config, self._data.names, self._data.left_out, values, section
        )
        self._folder.card.write_text(card, "utf-8")

    def _stalled(self, patience: int) -> bool:
        psnr = [float(row["psnr"]) for row in self._folder.rows()]
        return len(psnr) > patience and max(psnr[-patience:]) <= max(psnr[:-patience])


def _finite(loss: float, module: TrainedNetwork) -> float:
    if not math.isfinite(loss):
        msg = (
            f"the loss became {loss} at step {module.step}: start again with a lower learning rate"
        )
        raise TrainingError(msg)
    return loss


def _trained(module: pl.LightningModule) -> TrainedNetwork:
    assert isinstance(module, TrainedNetwork)
    return module
