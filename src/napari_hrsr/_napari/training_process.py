"""A training in a process of its own: orders in, small events out, no exception ever.

What happens here happens in a worker thread. The process is the command line's
``train --events``: it writes its events as lines and stops when its standard
input closes, which also happens should napari crash. Its memory, the graphics
card's too, is given back for certain when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hrsr._napari.training_child import Child, Stop
from napari_hrsr._napari.training_images import LayerImage, file_names, write_layer
from napari_hrsr._napari.training_record import (
    Pictures,
    read_measurements,
    read_pictures,
    read_run,
)
from napari_hrsr.errors import CancelledError, HrsrError, InputError, OutputError
from napari_hrsr.models.user_models import install_model
from napari_hrsr.training.events import (
    Event,
    Failed,
    Finished,
    Measured,
    Preparing,
    Started,
    event_from_json,
)

logger = logging.getLogger(__name__)

IMAGES, COARSE = "images", "coarse"
"""Folders, within that of the run, of the layers that it learns from."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A training to start or to go on with.

    Attributes
    ----------
    folder : Path
        Of the run.
    settings : dict or None
        Plain values as in a file of settings, its paths relative to the
        folder; None to go on with the run that is in the folder.
    images, coarse : tuple of LayerImage
        Layers that are written into the folder first.
    """

    folder: Path
    settings: dict[str, Any] | None = None
    images: tuple[LayerImage, ...] = ()
    coarse: tuple[LayerImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training has ended.

    Attributes
    ----------
    kind : str
        ``"complete"``, ``"stopped"`` or ``"failed"``.
    message : str
        One sentence for people.
    """

    kind: str
    message: str


def follow(order: Order, stop: Stop) -> Iterator[Event | Pictures | Outcome]:
    """Start a training and tell what it does.

    Parameters
    ----------
    order : Order
        What to do.
    stop : Stop
        To stop it.

    Yields
    ------
    Event, Pictures or Outcome
        An `Outcome` is the last one, and comes once the process has ended.
    """
    try:
        with _kept_once_begun(order):
            yield from _copies(order, stop)
            if order.settings is not None:
                _write_settings(order)
            yield from _follow(order, stop)
    except GeneratorExit:
        raise
    except CancelledError:
        yield Outcome("stopped", "Stopped before the training began")
    except HrsrError as error:
        yield Outcome("failed", str(error))
    except BaseException as error:
        logger.exception("training in %s failed", order.folder)
        yield Outcome("failed", f"Unexpected {type(error).__name__}: {error}")


@contextlib.contextmanager
def _kept_once_begun(order: Order) -> Iterator[None]:
    """Remove what was written into the folder of a new run that never began to train."""
    if order.settings is None:
        yield
        return
    try:
        if order.folder.exists() and any(order.folder.iterdir()):
            holds_run = (order.folder / "config.toml").exists()
            content = "holds a training already: resume it, or" if holds_run else "is not empty:"
            msg = f"the run folder {order.folder} {content} choose a new one"
            raise InputError(msg)
    except OSError as error:
        msg = f"cannot use the run folder {order.folder}: {error.strerror or error}"
        raise OutputError(msg) from None
    try:
        yield
    finally:
        if not (order.folder / "config.toml").exists():
            shutil.rmtree(order.folder, ignore_errors=True)


def _copies(order: Order, stop: Stop) -> Iterator[Preparing]:
    """Write the layers, in a thread beside this one: what is written is told meanwhile."""
    for folder, images in ((IMAGES, order.images), (COARSE, order.coarse)):
        # Both sides of a pair share a name: so they find each other (see `matching`).
        paired = folder == COARSE and len(images) == len(order.images)
        names = file_names(images)
        if paired:
            names = [f"{name}_low" for name in file_names(order.images)]
        for number, (image, name) in enumerate(zip(images, names, strict=True)):
            told: queue.SimpleQueue[tuple[int, int] | BaseException | None] = queue.SimpleQueue()
            text = f"Copying layer {number + 1} of {len(images)}"
            yield Preparing(text)
            job = (image, order.folder / folder, name, told, stop)
            writer = threading.Thread(target=_write, args=job, name="hrsr-copy")
            writer.start()
            try:
                shown = 0
                while (message := told.get()) is not None:
                    if isinstance(message, BaseException):
                        raise message
                    percent = 100 * message[0] // max(1, message[1])
                    if percent >= shown + 10:
                        shown = percent
                        yield Preparing(f"{text}: {percent} %")
            finally:
                writer.join()


def _write(image: LayerImage, folder: Path, name: str, told: Any, stop: Stop) -> None:
    try:
        write_layer(
            image,
            folder,
            name,
            progress=lambda done, total: told.put((done, total)),
            cancelled=stop.asked,
        )
    except HrsrError as error:
        text = f"layer {image.name!r}: {error}"
        told.put(error if isinstance(error, CancelledError) else type(error)(text))
    except BaseException as error:
        told.put(error)
    told.put(None)


def _write_settings(order: Order) -> None:
    import tomli_w

    try:
        order.folder.mkdir(parents=True, exist_ok=True)
        _settings_file(order).write_text(tomli_w.dumps(order.settings or {}), "utf-8")
    except OSError as error:
        msg = f"cannot write to the run folder {order.folder}: {error.strerror or error}"
        raise OutputError(msg) from None


def _settings_file(order: Order) -> Path:
    return order.folder / "settings.toml"


def _follow(order: Order, stop: Stop) -> Iterator[Event | Pictures | Outcome]:
    if order.settings is None:
        arguments = ["--resume", str(order.folder)]
    else:
        arguments = ["--config", str(_settings_file(order)), "--out", str(order.folder)]
    if stop.asked():
        raise CancelledError
    child = Child(arguments)
    failure, finished = "", None
    try:
        stop.watch(child)
        yield Preparing("Starting")
        for line in child.lines():
            event = event_from_json(line)
            if isinstance(event, Failed):
                failure = event.message
            elif isinstance(event, Finished):
                finished = event
            if event is not None:
                yield event
            if isinstance(event, Started) and event.step:
                yield from read_measurements(order.folder, event.step)
            if isinstance(event, Started | Measured):
                pictures = read_pictures(order.folder, colour=read_run(order.folder)[1])
                if pictures is not None:
                    yield pictures
        code = child.wait()
        complaint = child.complaint()
    finally:
        stop.watch(None)
        child.close()
    if failure:
        yield Outcome("failed", failure)
    elif finished is not None and finished.complete and (code == 0 or stop.asked()):
        if code:
            # Asked to stop after its last step, it had no time to do this itself.
            install_model(finished.model)
        yield Outcome("complete", "Done")
    elif stop.asked() or (finished is not None and not finished.complete):
        yield Outcome("stopped", "Stopped")
    else:
        logger.error("the training in %s ended with %d: %s", order.folder, code, complaint)
        last = complaint.splitlines()[-1] if complaint else "it said nothing"
        yield Outcome("failed", f"The training process ended unexpectedly (code {code}): {last}")
