"""Models made of models: chains, plane averages, self-ensembles.

Each is an `Upscaler` with a composed `ModelSpec`, so the engine does not know
the difference: scales multiply, halos add up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from napari_hrsr.errors import CancelledError, ModelError
from napari_hrsr.models.chaining import chain_spec
from napari_hrsr.models.spec import ModelSpec, Upscaler

Wanted = Sequence[tuple[int, int]]
Cancelled = Callable[[], bool]

_PLANE_PIXELS = 32768
"""Source pixels of the planes that a network is given at once."""


class _Composed(nn.Module):
    """Hold models; those that are torch modules move with their owner."""

    def __init__(self, models: Sequence[Upscaler], spec: ModelSpec) -> None:
        super().__init__()
        self.models = list(models)
        self.parts = nn.ModuleList([m for m in models if isinstance(m, nn.Module)])
        self.spec = spec


class Chain(_Composed):
    """One model after another, without storing what lies between."""

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Run the chain; see `Upscaler`. The first model that takes the noise is told of it."""
        first_range = previous = self.spec.value_range
        for model in self.models:
            batch = _change_range(batch, previous, model.spec.value_range)
            told = None
            if model.spec.noise_input:
                told = batch.new_zeros((1,) * batch.ndim) if noise is None else noise
                told = told * _gain(first_range, model.spec.value_range)
                noise = None
            batch = model(batch, noise=told)
            previous = model.spec.value_range
        return _change_range(batch, previous, self.spec.value_range)


class EachChannel(_Composed):
    """A model of one channel on the channels of an image, one by one."""

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Run the model on each channel; see `Upscaler`."""
        n, channels = batch.shape[:2]
        if noise is not None:
            noise = noise.reshape(-1, *(1,) * (batch.ndim - 1)).expand(n, *(1,) * (batch.ndim - 1))
            noise = noise.repeat_interleave(channels, 0)
        single = batch.reshape(n * channels, 1, *batch.shape[2:])
        result: Tensor = self.models[0](single, noise=noise)
        return result.reshape(n, channels, *result.shape[2:])


class SelfEnsemble(_Composed):
    """The mean over mirrored (and, where possible, transposed) views.

    Timofte et al., Seven ways to improve example-based single image super
    resolution, CVPR 2016.
    """

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Average over the views; see `Upscaler`."""
        total = None
        views = list(mirrored_views(self.spec))
        for flips, swap in views:
            view = batch.transpose(-1, -2) if swap else batch
            upscaled = self.models[0](view.flip(flips), noise=noise).flip(flips)
            upscaled = upscaled.transpose(-1, -2) if swap else upscaled
            total = upscaled if total is None else total + upscaled
        assert total is not None
        return total / len(views)


class OnGrey(_Composed):
    """A network for colours on grey images: each colour is given the same values."""

    def forward(self, batch: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Run the network, and average what it makes of the colours; see `Upscaler`."""
        (model,) = self.models
        colours = batch.expand(-1, model.spec.channels, *batch.shape[2:])
        return model(colours, noise=noise).mean(1, keepdim=True)


class Interruptible(_Composed):
    """Its `forward` takes ``wanted`` and ``cancelled`` as well; see `PlaneAverage`."""


class PlaneAverage(Interruptible):
    """A 2D network on the zy and zx planes of a volume, averaged.

    The network's factor is ``(k, 1)``: its first axis runs along z, which
    alone grows. Planes that only hold a tile's halo are left out.
    """

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Wanted | None = None,
        cancelled: Cancelled | None = None,
    ) -> Tensor:
        """Average over both orientations; see `Upscaler`.

        Parameters
        ----------
        batch : Tensor
            Shape (N, C, z, y, x).
        noise : Tensor, optional
            Standard deviation of the noise.
        wanted : sequence of (int, int), optional
            First and one past the last pixel of `batch`, per axis, of which
            the result is looked at; it is zero elsewhere.
        cancelled : callable, optional
            Polled between some planes and the next.

        Raises
        ------
        CancelledError
            If `cancelled` returned True.
        """
        return self._combined(batch, noise, wanted, 1.0, cancelled).mul_(0.5)

    def _combined(
        self,
        batch: Tensor,
        noise: Tensor | None,
        wanted: Wanted | None,
        sign: float,
        cancelled: Cancelled | None,
    ) -> Tensor:
        """Add what the zy planes give, and `sign` times what the zx planes give."""
        _, (top, bottom), (left, right) = wanted or [(0, n) for n in batch.shape[2:]]
        shape = (*batch.shape[:2], self.spec.scale[0] * batch.shape[2], *batch.shape[3:])
        result = batch.new_zeros(shape)
        for x in self._pieces(batch, left, right):
            check_cancelled(cancelled)
            plane = self._planes(batch[..., x].permute(0, 4, 1, 2, 3), noise)
            result[..., x] += plane.permute(0, 2, 3, 4, 1)
        for y in self._pieces(batch, top, bottom):
            check_cancelled(cancelled)
            plane = self._planes(batch[..., y, :].permute(0, 3, 1, 2, 4), noise)
            result[..., y, :].add_(plane.permute(0, 2, 3, 1, 4), alpha=sign)
        return result

    def _pieces(self, batch: Tensor, start: int, stop: int) -> Iterator[slice]:
        """Cut planes into few enough for their activations to stay small."""
        pixels = batch.shape[0] * batch.shape[2] * max(batch.shape[3:])
        step = max(1, _PLANE_PIXELS // pixels)
        return (slice(i, min(i + step, stop)) for i in range(start, stop, step))

    def _planes(self, batch: Tensor, noise: Tensor | None) -> Tensor:
        """Run (N, planes, C, z, width) as a batch of planes."""
        n, planes = batch.shape[:2]
        level = None
        if noise is not None:
            level = noise.reshape(-1, 1, 1, 1).expand(n, 1, 1, 1).repeat_interleave(planes, 0)
        upscaled: Tensor = self.models[0](batch.flatten(0, 1), noise=level)
        return upscaled.reshape(n, planes, *upscaled.shape[1:])


class PlaneDifference(PlaneAverage):
    """How far a 2D network's results on the zy and the zx planes are from their mean."""

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Wanted | None = None,
        cancelled: Cancelled | None = None,
    ) -> Tensor:
        """Return half the distance of both orientations; see `PlaneAverage`."""
        return self._combined(batch, noise, wanted, -1.0, cancelled).abs_().mul_(0.5)


class Turned(Interruptible):
    """A model whose first spatial axis is another one of the image."""

    def __init__(self, model: Upscaler, axis: int, spec: ModelSpec) -> None:
        super().__init__([model], spec)
        self._axis = axis

    def forward(
        self,
        batch: Tensor,
        *,
        noise: Tensor | None = None,
        wanted: Wanted | None = None,
        cancelled: Cancelled | None = None,
    ) -> Tensor:
        """Run the model with the axis in front; see `Upscaler`."""
        view = batch.movedim(2 + self._axis, 2)
        if wanted is not None:
            others = [w for axis, w in enumerate(wanted) if axis != self._axis]
            wanted = (wanted[self._axis], *others)
        result = run_wanted(self.models[0], view, noise, wanted, cancelled)
        return result.movedim(2, 2 + self._axis)


def run_wanted(
    model: Upscaler,
    batch: Tensor,
    noise: Tensor | None,
    wanted: Wanted | None,
    cancelled: Cancelled | None = None,
) -> Tensor:
    """Run a model; one that can leave out what nobody looks at, or stop midway, is told.

    Parameters
    ----------
    model : Upscaler
        Any.
    batch, noise : Tensor
        See `Upscaler`.
    wanted : sequence of (int, int), optional
        See `PlaneAverage`.
    cancelled : callable, optional
        Likewise.
    """
    if isinstance(model, Interruptible):
        result: Tensor = model(batch, noise=noise, wanted=wanted, cancelled=cancelled)
        return result
    return model(batch, noise=noise)


def check_cancelled(cancelled: Cancelled | None) -> None:
    """Raise `CancelledError` once a run is cancelled."""
    if cancelled is not None and cancelled():
        msg = "cancelled within a tile"
        raise CancelledError(msg)


def chain(*models: Upscaler) -> Upscaler:
    """Run models one after another as one model.

    Parameters
    ----------
    *models : Upscaler
        At least one, all with the same number of spatial axes. One that takes
        one channel is given those of the others one by one.

    Returns
    -------
    Upscaler
        See `napari_hrsr.models.chaining.chain_spec`. The noise is told to the
        first model that takes it; for those after it there is none left.

    Raises
    ------
    ModelError
        If they do not fit together.
    """
    taken = [part for model in models for part in _parts(model)]
    spec = chain_spec([model.spec for model in taken])
    return Chain([_each_channel(model, spec.channels) for model in taken], spec)


def _parts(model: Upscaler) -> Sequence[Upscaler]:
    """Return the models of a chain as they were given to it; else the model itself."""
    if not isinstance(model, Chain):
        return [model]
    return [m.models[0] if isinstance(m, EachChannel) else m for m in model.models]


def _each_channel(model: Upscaler, channels: int) -> Upscaler:
    spec = model.spec
    if spec.channels == channels:
        return model
    return EachChannel([model], replace(spec, channels=channels))


def self_ensemble(model: Upscaler) -> Upscaler:
    """Average a model over mirrored views: slower, a little better.

    Parameters
    ----------
    model : Upscaler
        Any. Four or eight mirror images are averaged; where height and width
        are treated alike, in 2D, also the transposed ones.
    """
    spec = model.spec
    halo, minimum = spec.halo, spec.minimum
    if swaps_axes(spec):
        halo = halo and (max(halo),) * spec.ndim
        minimum = (max(minimum),) * spec.ndim
    composed = replace(
        spec,
        name=f"{spec.name}-ensemble",
        title=f"{spec.title}, averaged over mirrored views",
        architecture="self_ensemble",
        halo=halo,
        minimum=minimum,
        weights=None,
        gains={},
    )
    return SelfEnsemble([model], composed)


def on_grey(model: Upscaler) -> Upscaler:
    """Make a network for colours one for grey images.

    The grey values are given to it as every colour, and the mean of the colours
    that it makes is taken. For networks that begin and end with a convolution
    that is the same as adding up the weights of the colours.

    Parameters
    ----------
    model : Upscaler
        Of any number of channels.

    Returns
    -------
    Upscaler
        Of one channel; the same model if it has one already.
    """
    spec = model.spec
    if spec.channels == 1:
        return model
    if isinstance(model, Chain):
        return chain(*(on_grey(part) for part in _parts(model)))
    return OnGrey([model], replace(spec, channels=1))


def average_planes(model: Upscaler) -> Upscaler:
    """Make a 3D model of a 2D one that refines its first axis.

    Parameters
    ----------
    model : Upscaler
        With two spatial axes and a factor ``(k, 1)``.

    Returns
    -------
    Upscaler
        With three spatial axes and the factor ``(k, 1, 1)``.

    Raises
    ------
    ModelError
        If the model is not of that kind.
    """
    spec = model.spec
    if spec.ndim != 2 or spec.scale[1] != 1:
        msg = f"averaging planes needs a 2D model with a factor (k, 1), got {spec.scale}"
        raise ModelError(msg)
    composed = replace(
        spec,
        name=f"{spec.name}-planes",
        title=f"{spec.title}, averaged over zy and zx planes",
        architecture="plane_average",
        ndim=3,
        scale=(spec.scale[0], 1, 1),
        halo=None if spec.halo is None else (spec.halo[0], spec.halo[1], spec.halo[1]),
        multiple=(spec.multiple[0], spec.multiple[1], spec.multiple[1]),
        minimum=(spec.minimum[0], spec.minimum[1], spec.minimum[1]),
        gains={},
    )
    return PlaneAverage([model], composed)


def plane_difference(model: Upscaler) -> Upscaler:
    """Make a 3D model that tells where the planes of both orientations disagree.

    Parameters
    ----------
    model : Upscaler
        As for `average_planes`.

    Returns
    -------
    Upscaler
        Like that of `average_planes`; its result is half the distance between
        what the zy and the zx planes give, in the units of the image.

    Raises
    ------
    ModelError
        If the model is not of that kind.
    """
    average = average_planes(model).spec
    # A difference has no black level that could be put back.
    return PlaneDifference([model], replace(average, name=f"{model.spec.name}-difference"))


def turned(model: Upscaler, axis: int) -> Upscaler:
    """Make a model's first spatial axis another one of the image.

    Parameters
    ----------
    model : Upscaler
        With three spatial axes.
    axis : int
        Which axis of the image the model's first one shall be, 0 to 2; the
        others keep their order.
    """
    if axis == 0:
        return model

    def move(values: tuple[int, ...]) -> tuple[int, ...]:
        rest = list(values[1:])
        rest.insert(axis, values[0])
        return tuple(rest)

    spec = model.spec
    composed = replace(
        spec,
        scale=move(spec.scale),
        halo=None if spec.halo is None else move(spec.halo),
        multiple=move(spec.multiple),
        minimum=move(spec.minimum),
    )
    return Turned(model, axis, composed)


def _change_range(batch: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    if old == new:
        return batch
    return (batch - old[0]) * _gain(old, new) + new[0]


def _gain(old: tuple[float, float], new: tuple[float, float]) -> float:
    return (new[1] - new[0]) / (old[1] - old[0])


def swaps_axes(spec: ModelSpec) -> bool:
    """Tell whether a model treats height and width alike."""
    return spec.ndim == 2 and len(set(spec.scale)) == 1 and len(set(spec.multiple)) == 1


def mirrored_views(spec: ModelSpec) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Yield the mirror images that keep a model's factor.

    Parameters
    ----------
    spec : ModelSpec
        Of the model.

    Yields
    ------
    flips : tuple of int
        Axes of a batch to flip.
    swap : bool
        Whether height and width are exchanged first; only where a 2D model
        treats both alike.
    """
    axes = range(2, 2 + spec.ndim)
    for count in range(spec.ndim + 1):
        for flips in itertools.combinations(axes, count):
            yield flips, False
            if swaps_axes(spec):
                yield flips, True


__all__ = ["average_planes", "chain", "plane_difference", "run_wanted", "self_ensemble", "turned"]
