"""How large a network is and how fast it trains here; measured beside the window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from psygnal import Signal

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A network to ask about.

    Attributes
    ----------
    network : str
        Key of an architecture; the default one if empty.
    scale : tuple of int
        Factor per spatial axis.
    channels : int
        1, or 3 for colours.
    device : str
        Where it is to train.
    start_from : str
        Model whose network it is instead, or nothing.
    """

    network: str
    scale: tuple[int, ...]
    channels: int = 1
    device: str = "auto"
    start_from: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known so far.

    Attributes
    ----------
    question : Question
        What was asked.
    networks : tuple of (str, str, int)
        Key, title and number of parameters of each network for so many axes.
    parameters : int
        Of the one asked about.
    seconds : float or None
        Of a step of training; None while it is being measured.
    device : str
        Where.
    problem : str
        Why it cannot be measured.
    """

    question: Question
    networks: tuple[tuple[str, str, int], ...] = ()
    parameters: int = 0
    seconds: float | None = None
    device: str = ""
    problem: str = ""


class NetworkSpeed:
    """Answers the latest question, one after the other, without blocking the window.

    Attributes
    ----------
    answered : Signal(object)
        An `Answer`, at first without its seconds.
    """

    answered = Signal(object)

    def __init__(self) -> None:
        self._known: dict[Question, Answer] = {}
        self._next: Question | None = None
        self._worker: Any = None
        self._busy = self._closed = self._held = False

    def ask(self, question: Question) -> None:
        """Ask; answers to earlier questions may still come."""
        if question in self._known:
            self._next = None
            self.answered.emit(self._known[question])
            return
        self._next = question
        self._begin()

    def hold(self, held: bool) -> None:
        """Measure nothing for now: a training has the processor, and would be measured too."""
        self._held = held
        self._begin()

    def close(self) -> None:
        """Answer no more."""
        self.answered.disconnect()
        self._closed, self._next = True, None

    def _begin(self) -> None:
        if self._busy or self._held or self._closed or self._next is None:
            return
        question, self._next = self._next, None
        self._busy = True
        self._worker = create_worker(_answers, question, lambda: self._closed, _start_thread=False)
        self._worker.yielded.connect(self._on_answer)
        self._worker.errored.connect(lambda error: None)
        self._worker.finished.connect(self._on_finished)
        self._worker.start()

    def _on_answer(self, answer: Answer) -> None:
        if answer.seconds is not None:
            self._known[answer.question] = answer
        if not self._closed:
            self.answered.emit(answer)

    def _on_finished(self) -> None:
        self._busy = False
        self._begin()


def _answers(question: Question, closed: Any) -> Iterator[Answer]:
    """Yield what is known at once, then what is measured; never raise (see `run`)."""
    answer = Answer(question)
    try:
        from napari_hrsr.devices import resolve_device
        from napari_hrsr.models.catalog import find_spec
        from napari_hrsr.models.nets import build_network
        from napari_hrsr.training.architectures import (
            DEFAULT_CHOICE,
            choices,
            count_parameters,
            make_network,
            measure_step_seconds,
        )
        from napari_hrsr.training.config import TrainingConfig

        config = TrainingConfig(scale=question.scale, channels=question.channels)
        kind = {"ndim": config.ndim, "scale": config.scale, "channels": config.channels}
        networks = tuple(
            (c.key, c.title, count_parameters(c.key, **kind)) for c in choices(config.ndim)
        )
        answer = replace(answer, networks=networks)
        if question.start_from:
            spec = find_spec(question.start_from)
            network = build_network(spec.architecture, dict(spec.arguments))
        else:
            network, _ = make_network(question.network or DEFAULT_CHOICE, **kind)
        device = resolve_device(question.device)
        parameters = sum(p.numel() for p in network.parameters())
        answer = replace(answer, parameters=parameters, device=str(device))
        yield answer
        if closed():
            return
        seconds = _least_seconds(
            device,
            lambda: measure_step_seconds(
                network,
                ndim=config.ndim,
                channels=config.channels,
                batch=config.batch,
                size=config.patch,
                device=device,
            ),
        )
        yield replace(answer, seconds=seconds)
    except GeneratorExit:
        raise
    except Exception as error:
        logger.info("could not measure %s", question, exc_info=True)
        yield replace(answer, problem=str(error))


def _least_seconds(device: torch.device, measure: Callable[[], float]) -> float:
    """Measure with one thread and with all of them: a training takes what is faster."""
    import torch

    usual = torch.get_num_threads()
    if device.type != "cpu" or usual == 1:
        return measure()
    seconds = []
    try:
        for threads in (1, usual):
            torch.set_num_threads(threads)
            seconds.append(measure())
    finally:
        torch.set_num_threads(usual)
    return min(seconds)
