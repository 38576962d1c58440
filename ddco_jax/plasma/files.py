"""Write files so that a kill or an exception never leaves an incomplete one under its final name; hashes of JSON."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SEAL = "sha256"
"""Key of the hash of a JSON object."""


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """Yield the path of a partial file beside `path`; it replaces `path` when the block ends without an exception.

    An exception removes the partial file and leaves `path` as it was.  A missing folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or, after an exception, not at all."""
    with complete(path) as partial:
        partial.write_text(text)


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the hash of its values under the key `sha256`, which `unsealed` checks."""
    return {**data, SEAL: _digest(data)}


def unsealed(data: Any, source: str) -> dict[str, Any]:
    """The JSON object without its hash; an object of version 0.1 has none.

    Raises ValueError in one line where it is no object, or where its values differ from its hash.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{source}: not an object of JSON")
    values = {key: value for key, value in data.items() if key != SEAL}
    if SEAL in data and data[SEAL] != _digest(values):
        raise ValueError(f"{source}: changed after it was written; if on purpose, delete its line {SEAL!r}")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON, without its hash.  Raises OSError, and ValueError in one line for any damage."""
    try:
        data = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({' '.join(str(error).split())[:80]})") from None
    return unsealed(data, str(path))


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, SEAL).hexdigest()


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
