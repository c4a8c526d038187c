"""What the widget "Explain" asks of the core, and what is said of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrsr._napari.run_container import Report
from napari_hrsr.axes import Axes
from napari_hrsr.errors import HrsrError

if TYPE_CHECKING:
    from napari.layers import Image

MAPS, ATTRIBUTION, FIELD = "Feature maps", "Attribution", "Receptive field"


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What shall be explained.

    Attributes
    ----------
    what : str
        `MAPS`, `ATTRIBUTION` or `FIELD`.
    layer : Image
        The source, and its pixels as `image`.
    axes : Axes
        Of the source.
    model : str
        Name of the model.
    region : list
        Start and stop along each axis of the source; None for all of it.
    network_layer : str or None
        Whose feature maps are wanted; chosen if None.
    """

    what: str
    layer: Image
    image: Any
    axes: Axes
    model: str
    region: list[tuple[int, int] | None]
    network_layer: str | None

    @property
    def loop(self) -> list[int]:
        """The index on each axis that is looped over."""
        return [(self.region[axis] or (0, 1))[0] for axis in self.axes.looped]

    def answer(self, report: Report, cancelled: Callable[[], bool]) -> Any:
        """Look into the network; called in a worker thread.

        Parameters
        ----------
        report : callable
            Told how many steps are done.
        cancelled : callable
            Polled between them.
        """
        from napari_hrsr import explaining

        options: dict[str, Any] = {
            "region": self.region, "axes": self.axes.names, "cancelled": cancelled,
        }  # fmt: skip
        if self.what == MAPS:
            return explaining.feature_maps(self.model, self.image, self.network_layer, **options)
        if self.what == ATTRIBUTION:
            return explaining.attribution(
                self.model, self.image, progress=lambda *at: report(self.what, *at), **options
            )
        return explaining.receptive_field(self.model, self.image, **options)


def describe_answer(question: Question, found: Any) -> str:
    """Return what to know of an answer, for people.

    Parameters
    ----------
    question : Question
        What was asked.
    found : FeatureMaps, Attribution or ReceptiveField
        What was found.
    """
    if question.what == MAPS:
        return (
            f"{found.layer.channels} maps of {found.layer.name} ({found.layer.kind}): "
            "move the slider of the first axis."
        )
    if question.what == ATTRIBUTION:
        return (
            f"Diffusion index {found.diffusion_index:.2f} of 100. 90 % of the attribution "
            f"lies within {found.reach:g} pixels of the region. Green adds structure to it, "
            f"pink takes structure away; they add up to within {100 * found.missing:.1f} % "
            "of the region's structure."
        )

    def text(box: Any) -> str:
        return " x ".join(str(stop - start) for start, stop in box)

    stated = "unbounded" if found.stated is None else text(found.stated)
    agrees = "" if found.stated is None or found.stated == found.bounds else ", which differs"
    return (
        f"White: the region, {text(found.region)} pixels. Yellow: 95 % of the influence on it, "
        f"{text(found.core)}. Cyan: all of it, {text(found.bounds)}; the model states {stated}"
        f"{agrees}."
    )


def list_network_layers(name: str) -> tuple[str, list[tuple[str, str]]]:
    """List a model's layers; called in a worker thread.

    Parameters
    ----------
    name : str
        Of the model.

    Returns
    -------
    str
        The name again.
    list of (str, str)
        Text and name of each layer; empty for a model that cannot be read.
    """
    try:
        from napari_hrsr.explaining import list_layers

        layers = list_layers(name)
    except HrsrError:
        return name, []
    return name, [(f"{x.name} ({x.kind}, {x.channels})", x.name) for x in layers]
