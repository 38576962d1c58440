"""Resume only from a state that checkpoint and stored results share: rows, chunk files and checksums of the store."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from ddco_jax.settings import ConfigError
from ddco_jax.simulation.checkpoint import Damaged
from ddco_jax.simulation.results import STORE

PRESENT_ONLY = ("f",)
"""Arrays of which resuming checks that all chunks are there, but does not read them: their size is that of all f."""


def stored(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of the results stored so far: names of the arrays by node, last row of the history."""
    root = zarr.open_group(str(folder / STORE), mode="r")
    names = {node: sorted(name for name, _ in group.arrays()) for node, group in root.groups()}
    history = root["history"]
    assert isinstance(history, zarr.Group)
    return {"names": names, "last": {name: np.asarray(a[-1]).tolist() for name, a in history.arrays()}}


def rows_stored(folder: Path) -> int:
    """Number of rows of the history, as far as it can be read."""
    try:
        times = zarr.open_group(str(folder / STORE), mode="r").get("history/t")
    except (OSError, ValueError, KeyError):
        return 0
    return int(times.shape[0]) if isinstance(times, zarr.Array) else 0


def require_rows(folder: Path, rows: Mapping[str, int], metadata: Mapping[str, Any]) -> None:
    """Raise Damaged where the store lacks any of the first `rows` of its nodes, or differs from the metadata.

    Metadata without `names` and `last` are those of version 0.1.
    """
    try:
        root = zarr.open_group(str(folder / STORE), mode="r")
        for node, count in rows.items():
            group = root[node]
            arrays = dict(group.arrays()) if isinstance(group, zarr.Group) else {}
            for name in metadata.get("names", {}).get(node, ("t",)):
                if name not in arrays:
                    raise Damaged(f"{STORE}/{node}/{name} is missing")
            for name, array in arrays.items():
                _require(array, count, f"{STORE}/{node}/{name}", name not in PRESENT_ONLY)
        for name, value in metadata.get("last", {}).items():
            row = np.asarray(root[f"history/{name}"][rows["history"] - 1])  # type: ignore[index]
            if not np.array_equal(row, np.asarray(value, row.dtype), equal_nan=True):
                raise Damaged(f"{STORE}/history/{name} is not that of the checkpoint")
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
                    _require(array, arrays["t"].shape[0], f"{STORE}/{node}/{name}", False)
    except Damaged as error:
        raise ConfigError(f"{folder}: {error}; if the run still goes on, try again, else `ddco resume` it") from None


def _require(array: zarr.Array, count: int, name: str, read: bool) -> None:
    """Raise Damaged where the first `count` rows of an array are not all there; with `read`, decode them."""
    dimensions = getattr(array.metadata, "dimension_names", None) or ("",)
    rows = count if dimensions[0] == "t" else array.shape[0]
    if array.shape[0] < rows:
        raise Damaged(f"{name} has {array.shape[0]} of {rows} rows")
    places = Path(str(array.store_path).removeprefix("file://"))
    chunks = [math.ceil(n / c) for n, c in zip((rows, *array.shape[1:]), array.chunks, strict=True)]
    for index in itertools.product(*map(range, chunks)):
        if not (places / array.metadata.encode_chunk_key(index)).is_file():
            raise Damaged(f"{name} lacks chunk {'/'.join(map(str, index))}")
    for first in range(0, rows if read else 0, array.chunks[0]):
        array[first : min(first + array.chunks[0], rows)]
