"""Open napari with the bundled sample and its super-resolved twin side by side."""

from __future__ import annotations

from typing import Any

TITLE = "Super-resolution (2D)"


def show_demo() -> tuple[Any, Any]:
    """Open a viewer on the sample and start upscaling it; returns viewer and widget."""
    import napari

    viewer = napari.Viewer(title="napari-hrsr demo")
    viewer.window.resize(1350, 850)
    viewer.open_sample("napari-hrsr", "cells")
    _, widget = viewer.window.add_plugin_dock_widget("napari-hrsr", TITLE)

    def side_by_side(_: str) -> None:
        viewer.canvas.grid.enabled = True
        viewer.reset_view()

    widget.controller.ended.connect(side_by_side)
    widget.run()
    return viewer, widget


def main() -> None:
    """Run the demo until the window is closed."""
    import napari

    show_demo()
    napari.run()


if __name__ == "__main__":
    main()
