"""Expected failures, each with a sentence that says what to do.

None of them is a :class:`RuntimeError`: napari's generator workers swallow
those, which would leave a run hanging for ever.
"""

from __future__ import annotations


class HrsrError(Exception):
    """Base of every failure that napari-hrsr expects and explains."""


class InputError(HrsrError):
    """The image, its axes or an option cannot be used as given."""


class ModelError(HrsrError):
    """The model is unknown, or does not fit the image."""


class ModelFileError(ModelError):
    """A file of weights is damaged, untrusted or not a model."""


class UntrustedError(ModelFileError):
    """The file holds code, and the user has not said that it may be run."""


class OutputError(HrsrError):
    """The result cannot be written where it was asked for."""


class ResumeError(OutputError):
    """What an earlier run has written cannot be used, or would be lost; the message says more."""


class DeviceError(HrsrError):
    """The device or the precision asked for is not available."""


class OutOfMemoryError(HrsrError):
    """Even the smallest tile does not fit in the device's memory."""


class ComputeError(HrsrError):
    """The network failed while running; the original error is its cause."""


class TrainingError(HrsrError):
    """A training run cannot be started or cannot go on."""


class CancelledError(HrsrError):
    """The run was cancelled before it was complete."""


class PausedError(CancelledError):
    """The run was cancelled, but what it has written is kept: it can be resumed."""
