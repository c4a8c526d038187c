"""The widgets. The only part of napari-hrsr that knows napari and Qt."""

from napari_hrsr._napari.graphics import keep_second_llvm_out

keep_second_llvm_out()
