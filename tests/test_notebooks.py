"""The notebooks run from top to bottom, and are stored without outputs."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5 and not any(cell.outputs or cell.execution_count for cell in code)
    assert path.stat().st_size < 300_000
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in code for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert "did you mean 'bimaxwellian'?" in text and "coupling Gamma" in text and "dS/dT = " in text
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 2
    assert "covers" not in text and "under-resolved" not in text  # the check finds nothing to warn of
    figures = [line for line in text.splitlines() if "eV: entropy per particle grows by" in line]
    cold, warm = (float(line.partition("grows by ")[2].split()[0]) for line in figures)
    assert cold > 1.5 * warm > 0
