"""What is printed and recorded of runs and kernels: conservation figures, errors on unseen MD, tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from ddco_jax.evaluation import tables, verdict
from ddco_jax.evaluation.conservation import conservation
from ddco_jax.kernels.store import held_out

ROOT = Path(__file__).parents[1]


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
