"""Runs the notebooks and stores their figures in docs/figures, for docs/gallery.md: notebook_NAME_K.png.

    python scripts/gallery.py [NAME ...]

It needs `pip install -e ".[notebooks,md]"`.
"""

import argparse
import base64
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ddco_jax.plasma.files import complete

ROOT = Path(__file__).resolve().parents[1]


def figures(path: Path) -> list[bytes]:
    """The figures that a notebook draws, as PNG."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [base64.b64decode(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, all by default")
    names = parser.parse_args().names or sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    for name in names:
        for k, data in enumerate(figures(ROOT / "notebooks" / f"{name}.ipynb"), 1):
            target = ROOT / "docs" / "figures" / f"notebook_{name}_{k}.png"
            with complete(target) as partial:
                partial.write_bytes(data)
            print(target.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main()
