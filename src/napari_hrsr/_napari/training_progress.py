"""How a training goes: the lower part of the widget "Train"."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import Container, Label, ProgressBar, PushButton, TextEdit

from napari_hrsr._napari.comparison_view import ComparisonView
from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.fitting import wrap
from napari_hrsr._napari.training_figures import count_images, figure_lines, left_out_line
from napari_hrsr._napari.training_plot import TrainingPlot
from napari_hrsr._napari.training_record import Pictures
from napari_hrsr.training.events import Finished, Measured, Preparing, Progress, Started


class TrainingProgress(Container):
    """Bar, status, plot, pictures, warnings, and what was left out."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status = Label(value="")
        self.figures = Label(value="")
        self.warning = Label(value="")
        self.left_out_button = PushButton(text="")
        self.left_out = TextEdit(value="")
        self.left_out.read_only = True
        self.plot, self.comparison = TrainingPlot(), ComparisonView()
        self.charts = Container(labels=False)
        self.charts.margins = (0, 0, 0, 0)
        self.charts.native.layout().addWidget(self.plot)
        self.charts.native.layout().addWidget(self.comparison)
        self.extend(
            [
                self.bar, self.status, self.warning, self.left_out_button, self.left_out,
                self.figures, self.charts,
            ]
        )  # fmt: skip
        self.margins = (0, 0, 0, 0)
        for label in (self.status, self.figures, self.warning):
            wrap(label)
        self.left_out.native.setFixedHeight(110)
        self.bar.visible = self.status.visible = False
        self._hide_results()
        self.left_out_button.clicked.connect(self._turn_left_out)
        self._text = ""

    def begin(self) -> None:
        """Clear what an earlier training left."""
        self.plot.clear(1)
        self.comparison.show_pictures(None)
        self._hide_results()
        self.bar.visible = self.status.visible = True
        self.bar.max, self.bar.value = 0, 0
        self.status.value = "Starting"

    def show_event(self, event: Any) -> None:
        """Show an event of the training, or its pictures."""
        match event:
            case Preparing(text):
                self.status.value = text
            case Started():
                self._on_start(event)
            case Progress():
                self._set_bar(event.step, event.steps)
                self.plot.add_loss(event.step, event.loss)
                left = format_time(event.seconds_left)
                self.status.value = f"Step {event.step} of {event.steps}, {left} left"
            case Measured():
                self._on_measurement(event)
            case Pictures():
                self.comparison.show_pictures(event)
            case Finished():
                self._set_bar(event.step, max(self.plot.steps, event.step))
                self.status.value = f"Finishing after {event.step} steps"

    def end(self, text: str) -> None:
        """Show how it has ended."""
        self.bar.visible = False
        self.status.value = text

    def _hide_results(self) -> None:
        for widget in (self.figures, self.warning, self.left_out_button, self.left_out,
                       self.charts):  # fmt: skip
            widget.visible = False

    def _on_start(self, event: Started) -> None:
        self.charts.visible = True
        self.plot.clear(event.steps)
        self._set_bar(event.step, event.steps)
        self._text = (
            f"Learning from {count_images(event.images)}, "
            f"measuring on {event.validation_images}; on {event.device}"
        )
        self.status.value = self._text
        self.figures.visible = True
        self.figures.value = self._text
        number = len(event.left_out)
        self.left_out_button.visible = number > 0
        self.left_out.value = "\n".join(left_out_line(*item) for item in event.left_out)
        verb = "was" if number == 1 else "were"
        self.left_out_button.text = f"{count_images(number)} {verb} left out: why?"

    def _on_measurement(self, event: Measured) -> None:
        values = event.values
        self.plot.add_quality(event.step, values["psnr"], values["cubic_psnr"])
        self.plot.add_loss(event.step, values["loss"])
        self.figures.value = "\n".join([self._text, *figure_lines(values)])
        self.warning.visible = bool(event.warning)
        self.warning.value = f"Warning: {event.warning}" if event.warning else ""

    def _set_bar(self, done: int, total: int) -> None:
        self.bar.max, self.bar.value = max(total, 1), done

    def _turn_left_out(self) -> None:
        self.left_out.visible = not self.left_out.visible
