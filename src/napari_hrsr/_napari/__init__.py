"""The widgets. The only part of napari-hrsr that knows napari and Qt."""
