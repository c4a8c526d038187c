"""Which network learns: untrained or going on from a model, how large, how fast here."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Label

from napari_hrsr._napari.controller import format_time
from napari_hrsr._napari.fitting import narrow, wrap
from napari_hrsr._napari.network_speed import Answer, NetworkSpeed, Question
from napari_hrsr._napari.training_names import format_count, format_step
from napari_hrsr.errors import InputError
from napari_hrsr.models.catalog import list_models
from napari_hrsr.models.user_models import user_models

_SCRATCH = "Nothing (untrained)"
_DEFAULT = "plain"


class NetworkChoice:
    """Network, model to start from, adversarial or not, and the expected speed.

    Attributes
    ----------
    widgets : list of Widget
        To be put one below the other, with labels.
    """

    def __init__(self) -> None:
        self._scale: tuple[int, ...] = (2, 2)
        self._channels, self._device = 1, "auto"
        self._minutes, self._steps = 10.0, 0
        self._answer: Answer | None = None
        self._listed: tuple[tuple[str, str, int], ...] = ()
        self.speed = NetworkSpeed()
        self.start_from = ComboBox(
            label="Start from",
            choices=self._start_choices,
            tooltip="Go on from a trained model of the same factor (fine-tuning): "
            "it needs fewer images and less time.",
        )
        self.network = ComboBox(
            label="Network",
            choices=[("Plain convolutions", _DEFAULT)],
            tooltip="The first one is good and fast; larger ones want a graphics card.",
        )
        self.facts = Label(label="", value="Measuring the speed of this machine...")
        self.adversarial = CheckBox(
            text="Sharper, adversarial (not for measurement)",
            tooltip="Train against a second network that tells results from real images. "
            "Results look sharper, but their detail is plausible, not measured.",
        )
        self.caution = Label(label="")
        self.widgets = [
            self.start_from, self.network, self.facts, self.adversarial, self.caution,
        ]  # fmt: skip
        for label in (self.facts, self.caution):
            wrap(label)
        for combo in (self.start_from, self.network):
            narrow(combo)
        self.caution.visible = False
        self.start_from.changed.connect(self._on_start)
        self.adversarial.changed.connect(self._say_caution)
        self.network.changed.connect(self._ask)
        self.speed.answered.connect(self._on_answer)

    def choose_for(
        self,
        scale: tuple[int, ...],
        channels: int,
        device: str,
        minutes: float,
        steps: int,
    ) -> None:
        """Offer what fits a training, and measure how long it takes.

        Parameters
        ----------
        scale : tuple of int
            Factor per spatial axis.
        channels : int
            1, or 3 for colours.
        device : str
            Where to train.
        minutes : float
            How long.
        steps : int
            How many steps; 0 for as many as there is time for.
        """
        self._scale, self._channels, self._device = scale, channels, device
        self._minutes, self._steps = minutes, steps
        self.start_from.reset_choices()
        self._ask()

    def settings(self) -> dict[str, Any]:
        """Return the settings ``model``, without the name, and ``adversary`` if there is one.

        Raises
        ------
        InputError
            If adversarial training has no model to go on from.
        """
        if self.adversarial.value and not self.start_from.value:
            msg = "adversarial training goes on from a trained model: choose one at 'Start from'"
            raise InputError(msg)
        model = {"network": self.network.value or _DEFAULT}
        if self.start_from.value:
            model["start_from"] = self.start_from.value
        settings: dict[str, Any] = {"model": model}
        if self.adversarial.value:
            settings["adversary"] = {}
        return settings

    def _start_choices(self, _: object) -> list[tuple[str, str]]:
        own = {spec.name for spec in user_models()}
        fitting = [
            spec
            for spec in list_models(ndim=len(self._scale))
            if spec.weights is not None
            and spec.scale == self._scale
            and spec.channels == self._channels
        ]
        fitting.sort(key=lambda spec: spec.name not in own)
        return [(_SCRATCH, ""), *((spec.title, spec.name) for spec in fitting)]

    def _on_start(self) -> None:
        # The network is that of the model.
        self.network.enabled = not self.start_from.value
        self._say_caution()
        self._ask()

    def _question(self) -> Question:
        start = self.start_from.value or ""
        network = "" if start else self.network.value or _DEFAULT
        return Question(network, self._scale, self._channels, self._device, start)

    def _ask(self) -> None:
        question = self._question()
        if self._answer is not None and self._answer.question != question:
            self._answer = None
        self._say_speed()
        if self._answer is None or self._answer.seconds is None:
            self.speed.ask(question)

    def _on_answer(self, answer: Answer) -> None:
        if answer.question == self._question():
            self._answer = answer
            self._offer(answer.networks)
            self._say_speed()

    def _offer(self, networks: tuple[tuple[str, str, int], ...]) -> None:
        if not networks or networks == self._listed:
            return
        self._listed = networks
        chosen = self.network.value
        with self.network.changed.blocked():
            self.network.choices = [
                (f"{title.replace(' (default)', '')}, {format_count(count)}", key)
                for key, title, count in networks
            ]
            self.network.value = chosen

    def _say_speed(self) -> None:
        answer = self._answer
        if answer is None:
            self.facts.value = "Measuring the speed of this machine..."
            return
        if answer.problem:
            self.facts.value = answer.problem
            return
        text = f"{format_count(answer.parameters)} parameters"
        if answer.seconds is None:
            self.facts.value = f"{text}; measuring the time of a step..."
            return
        text += f", {format_step(answer.seconds)} a step ({answer.device}):\n"
        if self._steps:
            needed = format_time(answer.seconds * self._steps)
            text += f"at least {needed} for {self._steps} steps"
        else:
            possible = format_count(60 * self._minutes / answer.seconds)
            text += f"up to {possible} steps in {self._minutes:g} min"
        self.facts.value = text

    def _say_caution(self) -> None:
        self.caution.visible = bool(self.adversarial.value)
        if self.start_from.value:
            self.caution.value = "Results will be marked: not for measurement."
        else:
            self.caution.value = "Train a model without this first, then choose it at 'Start from'."
