"""The widget "Make isotropic": a stack of slices as finely sampled across them as in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from magicgui.widgets import CheckBox, Container, Label, ProgressBar, PushButton
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_hrsr._napari.fitting import wrap
from napari_hrsr._napari.isotropic_controller import IsotropicController, in_background
from napari_hrsr._napari.isotropic_preview import PlanesView, layer_look
from napari_hrsr._napari.isotropic_run import LAST, Found, Preview, Request
from napari_hrsr._napari.isotropic_setup import IsotropicSetup
from napari_hrsr._napari.options import AUTOMATIC, ON_DISK
from napari_hrsr._napari.regions import view_centre
from napari_hrsr._napari.run import Failed, Finished
from napari_hrsr.errors import HrsrError
from napari_hrsr.layers import layer_metadata, layer_source

if TYPE_CHECKING:
    import napari

_MEMORY_SHARE = 0.5


class MakeIsotropic(Container):
    """Refine the coarse axis of a stack, learned from the stack's own slices.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where the layers are.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(labels=False, scrollable=True)
        self._viewer = napari_viewer
        self._learns = False
        self._source: Any = None
        self._found: Found | None = None
        self.controller = IsotropicController(napari_viewer)
        self._build()
        self._connect()
        self.native.destroyed.connect(self._close)
        # torch takes seconds to import: let them pass while the user chooses.
        self._loading = in_background(_import_engine, self._on_loaded)

    @property
    def native(self) -> QWidget:
        """The widget that is docked: the one that scrolls."""
        return self.root_native_widget

    def _build(self) -> None:
        self.show_setup = CheckBox(
            text="Settings", value=True, tooltip="Show or hide what is to be made isotropic."
        )
        self.setup = IsotropicSetup(self._viewer)
        self.start_button = PushButton(
            text="Start",
            enabled=False,
            tooltip="Measure, learn and restore in the background; the window stays usable.",
        )
        self.enough_button = PushButton(
            text="Enough: use it now",
            enabled=False,
            tooltip="Learn no longer, and restore with what is learned.",
        )
        self.cancel_button = PushButton(
            text="Cancel", enabled=False, tooltip="A network that was learned by then is kept."
        )
        self.buttons = Container(
            widgets=[self.start_button, self.enough_button, self.cancel_button],
            layout="horizontal",
            labels=False,
        )
        self.buttons.margins = (0, 0, 0, 0)
        self.bar = ProgressBar(min=0, max=1, value=0)
        self.status, self.thickness, self.caution = Label(), Label(), Label()
        self.thickness.tooltip = "Too thin does little harm, too thick makes structure up."
        self.planes = PlanesView()
        self.extend(
            [
                self.show_setup,
                self.setup,
                self.buttons,
                self.bar,
                self.status,
                self.thickness,
                self.caution,
            ]
        )
        inner = self.native.widget().layout()
        inner.addWidget(self.planes)
        inner.addStretch(1)
        for label in (self.status, self.thickness, self.caution):
            wrap(label)
            label.visible = False
        self.bar.visible = False
        self._fit_width()

    def _connect(self) -> None:
        self.show_setup.changed.connect(self._show_setup)
        self.setup.checked.connect(self._on_checked)
        self.setup.resized.connect(self._fit_width)
        self.start_button.clicked.connect(self.start)
        self.enough_button.clicked.connect(self.enough)
        self.cancel_button.clicked.connect(self.cancel)
        self.controller.told.connect(self._on_event)
        self.controller.progressed.connect(self._on_progress)
        self.controller.ended.connect(self._on_end)

    def reset_choices(self, *_: object) -> None:
        """Follow the layer list; napari calls this when layers come, go or are renamed."""
        self.setup.follow_layers()

    def start(self) -> bool:
        """Start in the background; returns whether a run was started."""
        if self.controller.running:
            return False
        try:
            layer, request = self.setup.chosen(), self.request()
        except HrsrError as error:
            show_error(str(error))
            return False
        if request is None or not self.controller.start(request, layer):
            return False
        self._source, self._found = layer, None
        self._learns = "model" not in request.choices
        self._show_nothing()
        self.setup.enabled = self.start_button.enabled = self.enough_button.enabled = False
        self.show_setup.value = False
        self.cancel_button.enabled = self.bar.visible = self.status.visible = True
        return True

    def enough(self) -> None:
        """Learn no longer, and use what there is."""
        self.enough_button.enabled = False
        self.controller.enough()

    def cancel(self) -> None:
        """Stop within two seconds."""
        if not self.controller.running:
            return
        self.cancel_button.enabled = self.enough_button.enabled = False
        self.status.value = "Cancelling"
        self.controller.cancel()

    def request(self) -> Request | None:
        """Describe the run; None when the user chose no file.

        Raises
        ------
        HrsrError
            If something cannot be understood, or does not fit.
        """
        setup, layer = self.setup, self.setup.chosen()
        names, stack, choices = setup.names(), setup.stack, setup.choices()
        source = layer_source(layer)
        size = source.dtype.itemsize
        spatial = [names.index(letter) for letter in "ZYX"]
        for axis, n in enumerate(source.shape):
            size *= stack.result_shape[spatial.index(axis)] if axis in spatial else n
        path = None
        if self._wants_disk(size):
            path = self.ask_path(layer, size)
            if path is None:
                return None
        centre = view_centre(self._viewer, layer)
        return Request(
            name=str(layer.name),
            source=source,
            axes=names,
            metadata=layer_metadata(layer, names),
            wishes=setup.wishes(),
            choices=choices,
            path=path,
            centre=tuple(centre[axis] for axis in spatial),
            doubt=bool(setup.details.doubt.value),
        )

    def ask_path(self, layer: napari.layers.Image, size: int) -> Path | None:
        """Ask where to put a result that does not fit in memory."""
        text, _ = QFileDialog.getSaveFileName(
            self.native,
            f"The result takes {size / 1e9:.1f} GB. Where shall it go?",
            f"{layer.name} isotropic.ome.zarr",
            "OME-Zarr (*.ome.zarr)",
        )
        if not text:
            return None
        return Path(text if text.endswith(".zarr") else f"{text}.ome.zarr")

    def _wants_disk(self, size: int) -> bool:
        target = self.setup.details.target.value
        if target == AUTOMATIC:
            return size > _MEMORY_SHARE * psutil.virtual_memory().available
        return bool(target == ON_DISK)

    def _on_loaded(self, _: object) -> None:
        self.setup.follow_networks()

    def _on_checked(self, fits: bool) -> None:
        self.start_button.enabled = fits and not self.controller.running

    def _on_event(self, event: Any) -> None:
        match event:
            case Found():
                self._found = event
                self.thickness.value = event.width[0].upper() + event.width[1:]
                self.thickness.visible = True
                self.enough_button.enabled = self._learns and not self.controller.cancelling
            case Preview():
                self.planes.show_preview(event, layer_look(self._source))
                if event.state == LAST:
                    self.enough_button.enabled = False
            case Finished(complete=True) if self._found is not None:
                self.caution.value, self.caution.visible = self._found.caution, True
            case Finished():
                self._show_nothing()
            case Failed(message=message):
                self._show_nothing()
                show_error(message)

    def _show_nothing(self) -> None:
        """Clear what was found by a run that gave no result."""
        self.planes.show_preview(None)
        self.thickness.visible = self.caution.visible = False
        self.show_setup.value = True

    def _show_setup(self, shown: bool) -> None:
        self.setup.visible = shown
        self._fit_width()

    def _on_progress(self, done: int, total: int, text: str) -> None:
        self.bar.max, self.bar.value = total, done
        self.status.value = "Cancelling" if self.controller.cancelling else text

    def _on_end(self, text: str) -> None:
        self.bar.visible = self.cancel_button.enabled = self.enough_button.enabled = False
        self.status.value = text
        self._source = None
        self.setup.enabled = True
        self.setup.follow_networks()

    def _fit_width(self) -> None:
        """Never cut off what is shown: this scrolls up and down only."""
        inner, bar = self.native.widget(), self.native.verticalScrollBar()
        inner.layout().activate()
        self.native.setMinimumWidth(inner.minimumSizeHint().width() + bar.sizeHint().width())

    def _close(self) -> None:
        self._loading.told.disconnect()
        self.controller.close()
        self.setup.close_setup()


def _import_engine() -> None:
    import napari_hrsr.isotropic.running  # noqa: F401
