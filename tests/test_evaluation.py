"""What is printed and recorded of runs and kernels: conservation figures, errors on unseen MD, tables."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from ddco_jax.evaluation import provenance, tables, verdict
from ddco_jax.evaluation.conservation import conservation
from ddco_jax.kernels.store import held_out

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_conservation_takes_the_largest_error_of_a_history():
    found = conservation(
        {
            "mass": np.array([2.0, 2.5, 1.0]),
            "total_energy": np.array([-4.0, -4.0, -3.0]),
            "kinetic_energy": np.array([9.0, 1.0, 1.0]),
            "momentum": np.array([[1.0, 0.0, 0.0], [1.0, 6.0, 0.0], [1.0, 0.0, -3.0]]),
            "entropy": np.array([1.0, 3.0, 2.5]),
            "negative_mass": np.array([0.0, 0.5, 0.1]),
            "gauss_residual": np.array([0.0, 1e-3, 2e-3]),
            "velocity_nyquist": np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]]),
        }
    )
    assert (found.mass_drift, found.total_energy_drift, found.negative_mass) == (0.5, 0.25, 0.2)
    assert found.momentum_drift == pytest.approx((0.0, 1.0, 0.5))
    assert (found.smallest_entropy_gain_per_step, found.entropy_gain) == (-0.5, 1.5)
    assert (found.gauss_residual, found.velocity_nyquist) == (2e-3, 0.3)


def test_tables():
    assert tables.listing({"steps": "40", "mass": "1"}) == f"steps{' ' * 21}40\nmass{' ' * 22}1"
    assert tables.columns([["kernel", "D*"], ["ddco", "0.7681"]]) == "kernel      D*\nddco    0.7681"
    assert tables.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_errors_that_ddco_kernels_prints_are_those_last_measured():
    """`scripts/verdict.py record` was run after the last measurement."""
    measured = verdict.worst(json.loads((ROOT / "benchmarks" / "results" / "verdict.json").read_text()))
    assert measured["ddco"]["excess in f_vx"] > 0
    for name, errors in measured.items():
        assert held_out(name) == errors


def test_a_measurement_states_machine_commit_and_versions(tmp_path, monkeypatch):
    """The commit is that of the repository, marked where the code differs from it; without git it must be given."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    made = provenance.provenance("scipy", commit="" if head.returncode == 0 else "none")
    assert tuple(made) == provenance.KEYS and made["device"] == "cpu"
    assert made["commit"].removesuffix("-dirty") == (head.stdout.strip() or "none")
    assert made["versions"] == {name: version(name) for name in ("jax", "numpy", "scipy")}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="give it with --commit"):
        provenance.provenance()
    assert provenance.provenance(commit="abc")["commit"] == "abc"


def made_in(value):
    """All records of provenance in the contents of a result file."""
    if isinstance(value, dict):
        yield from (record for key, record in value.items() if key == "made" or key.endswith(", made"))
    for inside in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from made_in(inside)


@pytest.mark.parametrize("file", RESULTS, ids=lambda path: path.stem)
def test_a_result_file_states_where_it_was_made(file):
    """Older files have null where nothing was recorded, and the commit that stored them (`stored_by`)."""
    records = list(made_in(json.loads(file.read_text())))
    assert records
    for made in records:
        assert set(provenance.KEYS) <= set(made) <= {*provenance.KEYS, "stored_by"}
        assert {"jax", "numpy"} <= set(made["versions"])
        assert made["date"] and (made["commit"] or made["stored_by"])
