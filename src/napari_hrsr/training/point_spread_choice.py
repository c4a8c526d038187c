"""Settings of a training whose images are blurred by a measured point spread function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_hrsr.errors import InputError
from napari_hrsr.training.config import TrainingConfig
from napari_hrsr.training.measured_point_spread import digest_of, even_axes


def with_point_spread(config: TrainingConfig, path: Path) -> TrainingConfig:
    """Let a measured point spread function blur every image to learn from.

    Parameters
    ----------
    config : TrainingConfig
        Settings without it; noise, and how often there is any, stay.
    path : Path
        See `read_point_spread`.
    """
    degradation = replace(
        config.degradation,
        bicubic=0.0,
        k_space=0.0,
        area=1.0,
        point=0.0,
        point_spread_share=1.0,
        gaussian=0.0,
        airy=0.0,
        gibson_lanni=0.0,
        measured=1.0,
        point_spread_file=str(path.absolute()),
        point_spread_sha256="",
    )
    return replace(config, degradation=degradation)


def with_point_spread_digest(config: TrainingConfig) -> TrainingConfig:
    """Read the measured point spread function, if there is one, and note its digest.

    Raises
    ------
    InputError
        If its file cannot be used, is another one than the run began with, or
        the point spread function is larger than a patch.
    """
    degradation = config.degradation
    if not degradation.measured:
        return config
    spread = degradation.measured_point_spread(config.ndim)
    for axis, (side, factor) in enumerate(zip(spread.kernel.shape, config.scale, strict=True)):
        if side > config.patch * factor:
            msg = (
                f"the measured point spread function is {side} pixels long along axis {axis}, "
                f"more than a patch of {config.patch * factor}: crop its file around the point, "
                "or set a larger patch"
            )
            raise InputError(msg)
    digest = digest_of(Path(degradation.point_spread_file))
    return replace(config, degradation=replace(degradation, point_spread_sha256=digest))


def allowed_turns(config: TrainingConfig) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return how patches may be turned: what blurred them must not turn with them.

    Parameters
    ----------
    config : TrainingConfig
        Of the run.

    Returns
    -------
    flipped : tuple of int or None
        Axes that may be flipped; None for all.
    exchanged : tuple of int
        Axes that may be exchanged.
    """
    exchanged = config.transpose_axes or ()
    if not config.degradation.measured:
        return None, exchanged
    return even_axes(config.degradation.measured_point_spread(config.ndim), exchanged)
