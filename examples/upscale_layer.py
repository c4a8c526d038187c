"""Upscale a napari layer by a script: the result lies exactly on its source."""

import napari

from napari_hrsr import upscale_layer

viewer = napari.Viewer()
(source,) = viewer.open_sample("napari-hrsr", "cells")
data, attributes, _ = upscale_layer(source, "general-2d-x2")
viewer.add_image(data, **attributes)
napari.run()
