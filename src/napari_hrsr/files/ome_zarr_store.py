"""An OME-Zarr on its way: arrays first, the metadata that make it an image last."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from napari_hrsr.errors import OutputError
from napari_hrsr.files.image_file import RECORD_KEY, LazyPixels
from napari_hrsr.files.ome_zarr_axes import multiscales_metadata, stored_axes
from napari_hrsr.files.partial import Cancelled, check_cancelled
from napari_hrsr.files.pyramid import binned, blocks
from napari_hrsr.metadata import ImageMetadata

PYRAMID_SHARE = 1.34
"""A 2D pyramid takes a third more than its finest level."""

# Zeros are written too, so that a missing chunk is known to be missing.
_WRITE_ZEROS: Any = {"write_empty_chunks": True}
_SMALLEST_LEVEL = 512
_ISOTROPIC = 1.5


class OmeZarrStore:
    """The folder of an OME-Zarr whose finest level is being written.

    Use `create` or `reopen`.

    Parameters
    ----------
    path : Path
        The folder.
    group : zarr.Group
        What it holds.
    metadata : ImageMetadata
        Axes, pixel size, origin and units of the image.

    Attributes
    ----------
    array : zarr.Array
        Where to write. Slices that cover whole chunks may be written by
        several threads or processes. For images whose axes OME-Zarr stores in
        another order (colour samples last, for one) a view in the image's order.
    """

    def __init__(self, path: Path, group: zarr.Group, metadata: ImageMetadata) -> None:
        self.path = path
        self._group = group
        self._metadata = metadata
        self._stored = stored_axes(metadata.axes)
        # Whether zeros are written is not kept in the file.
        finest = zarr.open_array(path / "0", mode="r+").with_config(_WRITE_ZEROS)
        self._levels: list[zarr.Array[Any]] = [finest]
        self.array: Any = self._present(finest)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        shape: Sequence[int],
        dtype: Any,
        chunks: Sequence[int],
        metadata: ImageMetadata,
        shards: Sequence[int] | None = None,
    ) -> Self:
        """Create the folder and its finest level, without pixels.

        Parameters
        ----------
        path : Path
            The folder.
        shape, chunks : sequence of int
            Of the finest level, in the image's own axis order.
        dtype : optional
            Data type.
        metadata : ImageMetadata
            Of the finest level.
        shards : sequence of int, optional
            Pixels that share a file, a multiple of `chunks`; by default each
            chunk has its own.
        """
        group = zarr.create_group(path, zarr_format=3)
        stored = stored_axes(metadata.axes)
        lengths, sides = ([values[i] for i in stored.order] for values in (shape, chunks))
        files = None if shards is None else [shards[i] for i in stored.order]
        _create_level(group, 0, lengths, sides, files, np.dtype(dtype), stored.names)
        return cls(path, group, metadata)

    @classmethod
    def reopen(cls, path: Path, metadata: ImageMetadata) -> Self:
        """Open the folder of an image that is not finished.

        Parameters
        ----------
        path : Path
            The folder.
        metadata : ImageMetadata
            As it was created with.
        """
        return cls(path, zarr.open_group(path, mode="r+"), metadata)

    def files_of(self, region: Sequence[tuple[int, int]]) -> list[Path]:
        """List the files that hold the chunks which a region meets.

        Parameters
        ----------
        region : sequence of (int, int)
            First and one past the last pixel on every axis of the image.
        """
        array = self._levels[0]
        sides = array.shards or array.chunks
        spans = [region[axis] for axis in self._stored.order]
        chunks = [
            range(start // side, -(-stop // side))
            for (start, stop), side in zip(spans, sides, strict=True)
        ]
        folder = self.path / "0"
        return [
            folder / array.metadata.encode_chunk_key(index) for index in itertools.product(*chunks)
        ]

    def check_written(self) -> None:
        """Refuse to go on while chunks are missing.

        Raises
        ------
        OutputError
            With their number.
        """
        array = self._levels[0]
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            msg = f"{self.path.name}: {missing} of its {array.nchunks} chunks were never written"
            raise OutputError(msg)

    def describe(
        self, record: dict[str, Any] | None, name: str, cancelled: Cancelled | None = None
    ) -> None:
        """Add the smaller levels, made from the finest one, and then the metadata.

        Parameters
        ----------
        record : dict or None
            How the image was made, in values that JSON can hold.
        name : str
            Name of the image.
        cancelled : callable, optional
            Polled between chunks of the smaller levels.

        Raises
        ------
        CancelledError
            If `cancelled` returned True.
        """
        for level in self.path.glob("[1-9]*"):
            # Of an earlier attempt that did not get to its end.
            shutil.rmtree(level)
        while max(self._spatial(self._levels[-1].shape)) > _SMALLEST_LEVEL:
            self._add_level(cancelled)
        self._group.attrs[RECORD_KEY] = {
            "axes": self._metadata.axes,
            "shape": list(self.array.shape),
            "record": record,
        }
        shapes = [level.shape for level in self._levels]
        described = multiscales_metadata(self._metadata, self._stored, shapes, name)
        if self._metadata.channels and "C" in self._metadata.axes:
            described["omero"] = {
                "channels": [
                    {"label": label, "color": "FFFFFF", "active": True}
                    for label in self._metadata.channels
                ]
            }
        # Last, so that an unfinished store is never taken for an image.
        self._group.attrs["ome"] = described

    def sweep(self) -> None:
        """Remove what writers that were killed have left of chunks."""
        for orphan in self.path.rglob("*.partial"):
            orphan.unlink(missing_ok=True)

    def renamed(self, path: Path) -> Any:
        """Return the finest level, or a view of it as for `array`, under another name."""
        return self._present(zarr.open_array(path / "0", mode="r+"))

    def _present(self, array: zarr.Array[Any]) -> Any:
        order = self._stored.order
        if order == tuple(range(len(order))):
            return array
        return LazyPixels(array, self.path.name, np.argsort(order).tolist())

    def _spatial(self, values: tuple[int, ...]) -> list[int]:
        kinds = zip(values, self._stored.types, strict=True)
        return [value for value, kind in kinds if kind == "space"]

    def _add_level(self, cancelled: Cancelled | None) -> None:
        """Halve Y and X of the last level, and Z where its pixels are not longer."""
        finer = self._levels[-1]
        scale = {
            name: self._metadata.scale[axis] * self._levels[0].shape[i] / finer.shape[i]
            for i, (name, axis) in enumerate(
                zip(self._stored.names, self._stored.order, strict=True)
            )
        }
        bins = []
        for name, kind, n in zip(self._stored.names, self._stored.types, finer.shape, strict=True):
            deep = name == "z" and abs(scale["z"]) > _ISOTROPIC * abs(scale["x"])
            bins.append(2 if kind == "space" and n > 1 and not deep else 1)
        shape = tuple(-(-n // k) for n, k in zip(finer.shape, bins, strict=True))
        coarser = _create_level(
            self._group,
            len(self._levels),
            shape,
            finer.chunks,
            finer.shards,
            finer.dtype,
            self._stored.names,
        )
        for chunk in blocks(coarser.shape, coarser.shards or coarser.chunks):
            check_cancelled(cancelled)
            coarser[chunk] = binned(finer, chunk, bins)
        self._levels.append(coarser)


def _create_level(
    group: zarr.Group,
    level: int,
    shape: Sequence[int],
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    dtype: np.dtype[Any],
    names: Sequence[str],
) -> zarr.Array[Any]:
    chunks = [max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True)]
    if shards is not None:
        shards = [min(s, -(-n // c) * c) for s, c, n in zip(shards, chunks, shape, strict=True)]
        whole = all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
        shards = tuple(shards) if whole else None
    return group.create_array(
        str(level),
        shape=tuple(shape),
        chunks=tuple(chunks),
        shards=shards,
        dtype=dtype,
        serializer=BytesCodec(),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        fill_value=0,
        dimension_names=list(names),
        config=_WRITE_ZEROS,
    )
