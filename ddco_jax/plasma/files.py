"""Write files so that a kill or an exception never leaves an incomplete one under its final name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
