"""Range and noise of an image that is too large to be read before it is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from napari_hrsr.api import settle_intensity
from napari_hrsr.errors import InputError
from napari_hrsr.intensity import Intensity, Per, measure_intensity, wanted_levels
from napari_hrsr.jobs import Job
from napari_hrsr.pixels import needs_every_value

READ_WHOLE = 2**26
"""Images of at most this many values are read from end to end where a run would do so."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a live view normalises with, the same for every tile.

    Attributes
    ----------
    intensity : Intensity
        Range and noise.
    sampled : bool
        Whether only a sample of the image was read where a run reads it all:
        the run's numbers may then differ a little.
    """

    intensity: Intensity
    sampled: bool


def settle_for_viewing(
    job: Job,
    intensity: Per | Intensity | None = None,
    noise: str | float = "auto",
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Settled:
    """Measure what was not given, from a bounded part of the image.

    Images of up to 16 bits are measured as every run measures them: at 16
    places, of four million pixels at most, spread evenly. A run reads all of
    an image of another type; here that is done up to `READ_WHOLE` values, and
    larger ones, and those that hold values that cannot be used, are sampled
    like the others. Tiles are checked when they are read.

    Parameters
    ----------
    job, intensity, noise, cancelled
        As for `api.settle_intensity`.

    Raises
    ------
    InputError
        If a part of the image cannot be read, or `noise` is no noise.
    CancelledError
        If `cancelled` returned True.
    """
    wide = needs_every_value(job.source.dtype)
    if not wide or (math.prod(job.source.shape) <= READ_WHOLE and intensity is None):
        try:
            return Settled(settle_intensity(job, intensity, noise, cancelled=cancelled), False)
        except InputError:
            if not wide:
                raise
    if isinstance(intensity, Intensity):
        sample = intensity
    else:
        sample = measure_intensity(
            job.source,
            job.axes,
            per=intensity or "channel",
            levels=wanted_levels(job.model.spec),
            every=False,
            cancelled=cancelled,
        )
    if noise != "auto":
        sample = sample.with_noise(float(noise))
    return Settled(sample, not isinstance(intensity, Intensity))
