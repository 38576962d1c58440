"""Tables as text and as markdown."""

from collections.abc import Mapping, Sequence

LABEL_WIDTH = 26


def listing(values: Mapping[str, str]) -> str:
    """One line for each label and its value."""
    return "\n".join(f"{label:{LABEL_WIDTH}s}{value}" for label, value in values.items())


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns as wide as needed, the first one flush left and the others flush right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
        for row in rows
    )


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
