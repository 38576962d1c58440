"""A failure tells where it began: step, cell along x and velocity cell, although the run notices it later."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ddco_here, said

from ddco_jax import open_result
from ddco_jax.steppers import Strang

FEW = ("grid.nx=4", "grid.nv=[20, 6, 6]", "collisions.kernel=none", "time.step_ps=0.01", "time.steps=12")
SETTINGS = [word for setting in FEW for word in ("--set", setting)]


def spoilt(monkeypatch, change, step=7, dt=0.01):
    """Steps of which the one with this number changes f."""
    made = Strang.step

    def changing(self, state, dt_):
        state = made(self, state, dt_)
        now = jnp.abs(state.time - step * dt) < 1e-9
        return dataclasses.replace(state, f=jnp.where(now, change(state.f), state.f))

    monkeypatch.setattr(Strang, "step", changing)


FAILURES = {
    "nan": (lambda f: f.at[2, 3, 1, 4].set(jnp.nan), "f is not finite at x cell 2, velocity cell (3, 1, 4)"),
    "inf": (
        lambda f: f.at[1, 0, 0, 0].set(jnp.nan).at[1, 9, 2, 5].set(jnp.inf),
        "f is not finite at x cell 1, velocity cell (9, 2, 5)",
    ),
    "whole cell": (
        lambda f: f.at[3].set(jnp.nan),
        "in all of x cell 3, its largest value before the step was at x cell 3",
    ),
    "overflow": (lambda f: f.at[0, 8, 1, 1].set(1e307), "before the step was at x cell 0, velocity cell (8, 1, 1)"),
    "negative": (
        lambda f: f.at[2, 5, 3, 0].set(-jnp.max(f)),
        "the lowest f at x cell 2, velocity cell (5, 3, 0)",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_names_step_and_cells(case, tmp_path, monkeypatch):
    change, message = FAILURES[case]
    spoilt(monkeypatch, change)
    _, err = ddco_here("run", "langmuir", "--out", "run", *SETTINGS, cwd=tmp_path, expect=3)
    line = err.splitlines()[-1]
    step = 8 if case == "overflow" else 7  # what is too large overflows in the next step
    assert line.startswith(f"ddco: step {step}: ") and message in line and "the last good checkpoint is kept" in line, (
        line
    )
    steps = sorted(int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert steps == [0]


@pytest.mark.parametrize("precision, value", [("float64", 1e160), ("float32", 1e30)])
def test_a_start_that_overflows_is_refused(precision, value, tmp_path):
    f = np.ones((4, 20, 6, 6))
    f[1, 8, 2, 2] = value
    np.save(tmp_path / "f.npy", f)
    start = ("--set", "initial={kind='array', file='f.npy'}", "--set", f"precision={precision}", "--set", "field=none")
    start += ("--set", "scheme=paper")
    _, err = ddco_here("run", "langmuir", "--out", "run", *SETTINGS, *start, cwd=tmp_path, expect=2)
    assert "ddco: initial: " in err.splitlines()[-1] and f"not finite in {precision}" in err
    assert [p.name for p in tmp_path.iterdir()] == ["f.npy"]


def test_a_box_that_becomes_too_small_is_noted_once(tmp_path):
    """A large wave accelerates f beyond the box: said at the step, in run.log and in the summary, with the key."""
    wave = ("initial.density_perturbation=0.9", "grid.velocity_extent_m_s=[21000.0, 11000.0, 11000.0]")
    wave += ("time.step_ps=0.02", "output.snapshot_every=4")
    out, err = ddco_here(
        "run", "langmuir", "--out", "run", *SETTINGS, *(w for s in wave for w in ("--set", s)), cwd=tmp_path
    )
    (note,) = (line for line in said(err) if "has reached the edge" in line)
    edge = open_result(tmp_path / "run")["history/velocity_edge"].to_numpy()
    step = int(np.argmax(edge[:, 0] > 1e-4))
    assert 1 < step < 12 and note.startswith(f"note: step {step}: f has reached the edge of the velocity box along vx")
    assert "raise grid.velocity_extent_m_s above 21000 there" in note
    assert (tmp_path / "run" / "run.log").read_text().count(note) == 1
    assert f"max f at box edge/max f   {edge.max():.1e}  (raise grid.velocity_extent_m_s and grid.nv)" in out
    f = open_result(tmp_path / "run")["snapshots/f_vx"].to_numpy()[-1]
    assert edge[-1, 0] == pytest.approx(np.max(np.maximum(f[:, 0], f[:, -1]) / f.max(1)), rel=1e-12)
