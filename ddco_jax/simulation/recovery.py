"""Resume only from a state that checkpoint and stored results share: rows, chunk files and checksums of the store."""

import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ddco_jax.plasma.files import SEAL
from ddco_jax.settings import ConfigError
from ddco_jax.simulation.checkpoint import Damaged
from ddco_jax.simulation.results import STORE, complete_rows

CHECKSUM = 4
"""Bytes of crc32c at the end of a chunk."""
PRESENT_ONLY = ("f",)
"""Arrays of which resuming checks that all chunks are there, but does not read them: their size is that of all f."""


class Fingerprints:
    """Hashes of what the store of a run holds, by array: of the checksums in full chunks, and of the rows after them.

    Those of the attributes are under `zarr.json`.

    Full chunks are read once, so that a checkpoint late in a run costs as much as the first.
    """

    def __init__(self, folder: Path) -> None:
        root = zarr.open_group(str(folder / STORE), mode="r")
        self._arrays = {f"{node}/{name}": array for node, group in root.groups() for name, array in group.arrays()}
        self._attributes = str(root.attrs.get(SEAL, ""))
        self._full = {path: (0, hashlib.sha256()) for path in self._arrays}
        """Number of chunks along the first axis that have been hashed, and their hash."""

    def __call__(self, rows: Mapping[str, int]) -> dict[str, str]:
        """The hashes of the first `rows` of each node, which must not be fewer than in the call before."""
        found = {path: self._of(path, rows[path.partition("/")[0]]) for path in self._arrays}
        return {"zarr.json": self._attributes, **found}

    def _of(self, path: str, rows: int) -> str:
        array, (done, found) = self._arrays[path], self._full[path]
        count, size = rows if _along_t(array) else array.shape[0], array.chunks[0]
        full = count // size
        for _, file in _files(array, done, full):
            found.update(_checksum(file))
        self._full[path] = full, found
        if count % size:
            found = found.copy()
            found.update(np.ascontiguousarray(array[full * size : count]).tobytes())
        return found.hexdigest()[:16]


def rows_stored(folder: Path) -> int:
    """Number of complete rows of the history, or room for rows where its times cannot be read; 0 without one."""
    try:
        times = zarr.open_group(str(folder / STORE), mode="r").get("history/t")
    except (OSError, ValueError, KeyError):
        return 0
    if not isinstance(times, zarr.Array):
        return 0
    try:
        return complete_rows(np.asarray(times[:]))
    except (OSError, ValueError, RuntimeError):
        return int(times.shape[0])


def require_rows(folder: Path, rows: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
    """Raise Damaged where the store lacks any of the first `rows` of its nodes, or differs from the metadata.

    Metadata without `rows`, the `Fingerprints` of the checkpoint, are those of version 0.1.
    """
    try:
        root = zarr.open_group(str(folder / STORE), mode="r")
        for node, count in rows.items():
            group = root[node]
            arrays = dict(group.arrays()) if isinstance(group, zarr.Group) else {}
            known = [path for path in metadata.get("rows", ()) if path.startswith(f"{node}/")]
            for path in known or [f"{node}/t"]:
                if path.partition("/")[2] not in arrays:
                    raise Damaged(f"{STORE}/{path} is missing")
            for name, array in arrays.items():
                _require(array, count, f"{STORE}/{node}/{name}", name not in PRESENT_ONLY)
            if (complete := complete_rows(np.asarray(arrays["t"][:count]))) < count:
                raise Damaged(f"{STORE}/{node}/t has {complete} of {count} rows")
        if "rows" in metadata:
            for path, found in Fingerprints(folder)(rows).items():
                if metadata["rows"].get(path) != found:
                    raise Damaged(f"{STORE}/{path} is not that of the checkpoint")
    except (Damaged, MemoryError):
        raise
    except Exception as error:  # of zarr and its codecs: a store that cannot be read is damaged
        raise Damaged(f"{STORE} cannot be read, {' '.join(str(error).split())[:100] or type(error).__name__}") from None


def require_whole(folder: Path) -> None:
    """Raise ConfigError where a row or chunk of a result is missing, which xarray would show as NaN.

    Stores of version 0.1 are not checked: they lack chunks that hold nothing.
    """
    root = zarr.open_group(str(folder / STORE), mode="r")
    try:
        for node, group in root.groups():
            arrays = dict(group.arrays())
            if "t" not in arrays:
                raise Damaged(f"{STORE}/{node}/t is missing")
            for name, array in arrays.items():
                if any(isinstance(codec, Crc32cCodec) for codec in array.metadata.codecs):  # type: ignore[union-attr]
                    _require(array, complete_rows(np.asarray(arrays["t"][:])), f"{STORE}/{node}/{name}", False)
    except Damaged as error:
        raise ConfigError(f"{folder}: {error}; if the run still goes on, try again, else `ddco resume` it") from None


def _along_t(array: zarr.Array) -> bool:
    return (getattr(array.metadata, "dimension_names", None) or ("",))[0] == "t"


def _files(array: zarr.Array, first: int, end: int) -> Iterator[tuple[tuple[int, ...], Path]]:
    """Index and file of every chunk whose index along the first axis is `first` ... `end` - 1."""
    folder = Path(str(array.store_path).removeprefix("file://"))
    numbers = [math.ceil(n / c) for n, c in zip(array.shape[1:], array.chunks[1:], strict=True)]
    for index in itertools.product(range(first, end), *map(range, numbers)):
        yield index, folder / array.metadata.encode_chunk_key(index)


def _checksum(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-min(CHECKSUM, path.stat().st_size), os.SEEK_END)
        return file.read()


def _require(array: zarr.Array, count: int, name: str, read: bool) -> None:
    """Raise Damaged where the first `count` rows of an array are not all there; with `read`, decode them."""
    rows = count if _along_t(array) else array.shape[0]
    if array.shape[0] < rows:
        raise Damaged(f"{name} has {array.shape[0]} of {rows} rows")
    for index, path in _files(array, 0, math.ceil(rows / array.chunks[0])):
        if not path.is_file():
            raise Damaged(f"{name} lacks chunk {'/'.join(map(str, index))}")
    for first in range(0, rows if read else 0, array.chunks[0]):
        array[first : min(first + array.chunks[0], rows)]
