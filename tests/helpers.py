"""What several test files share: grids, distributions, kernels, the conservation check, the `ddco` command."""

import contextlib
import io
import subprocess
import sys
import warnings
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddco_jax import PhaseGrid, cli, kernels, open_result

SMALL = PhaseGrid(1.0, 2, (2.0, 2.5, 3.0), (7, 9, 8))
"""A velocity grid with three different axes."""
CUBIC = PhaseGrid(1.0, 2, (2.5, 2.5, 2.5), (8, 8, 8))


def slow_but(fast, cases):
    """The cases of a parametrised test, marked slow but for those in `fast`."""
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*v, marks=() if c in fast else pytest.mark.slow) for c, v in zip(cases, values, strict=True)]


def random_positive(rng, shape, spread=0.5):
    """A positive distribution without any symmetry, as large at the edge of the box as inside."""
    return jnp.asarray(np.exp(spread * rng.normal(size=shape)))


def decaying(width, offset=0.0):
    """A smooth radial function of (speed, density, temperature) that uses all three."""
    return lambda s, n, T: n * jnp.exp(-(s**2) / (2 * width**2 * T)) + offset


def assert_derivatives(function, args, rtol, eps=1e-5):
    """Both modes of a scalar function against its central difference along one direction of all arguments, and each
    other.  Both are one program, which shares what they have in common: that is the time of these tests."""
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), args)

    @jax.jit
    def both(args):
        along = jax.jvp(function, args, direction)[1]
        return along, jax.grad(function, tuple(range(len(args))))(*args)

    along, gradient = both(args)
    parts = jax.tree.leaves(gradient)
    assert all(np.any(part != 0) for part in parts) and all(np.all(np.isfinite(part)) for part in parts)
    reverse = sum(float(jnp.vdot(a, b)) for a, b in zip(parts, jax.tree.leaves(direction), strict=True))
    compiled = jax.jit(function)
    upper, lower = (float(compiled(*jax.tree.map(lambda a, d, s=s: a + s * eps * d, args, direction))) for s in (1, -1))
    assert float(along) == pytest.approx((upper - lower) / (2 * eps), rel=rtol)
    assert reverse == pytest.approx(float(along), rel=1e-9)


def random_low_rank(rng, ranks=(1, 2, 1)):
    """A kernel of the general form with random smooth encoders, g0, g1 and g2 of the given ranks."""

    def function():
        a, b, c = rng.uniform(0.3, 1.5, 3)
        return lambda s, n, T: a / (1 + b * s**2) + c * n * jnp.cos(s) * T

    return kernels.LowRank(*(tuple((function(), function(), function()) for _ in range(rank)) for rank in ranks))


def shared_low_rank():
    """One product for g0, g1, g2: L M M' with the same M."""
    M = lambda s, n, T: jnp.exp(-(s**2) / (8 * T))
    L = lambda s, n, T: 1 / (1 + s)
    return kernels.LowRank(g0=((L, M, M),), g1=((M, M, M),), g2=((L, M, M),))


def assert_conserved(grid, c, bound=1e-14):
    """Mass, momentum and energy of every cell's rate c, at `bound` times the sums of their absolute values."""
    v = np.meshgrid(*grid.velocities, indexing="ij")
    for invariant in (np.ones_like(v[0]), *v, sum(w**2 for w in v)):
        moment = invariant * np.asarray(c)
        absolute = np.sum(np.abs(moment), (-3, -2, -1))
        assert np.all(absolute > 0)  # a rate of zero conserves whatever is wrong
        np.testing.assert_array_less(np.abs(np.sum(moment, (-3, -2, -1))), bound * absolute)


def same_result(a, b):
    """Two results are bitwise equal, but for the date at which they were begun."""
    one, two = open_result(a), open_result(b)
    assert {k: v for k, v in one.attrs.items() if k != "begun"} == {k: v for k, v in two.attrs.items() if k != "begun"}
    for node in ("history", "snapshots"):
        assert set(one[node].variables) == set(two[node].variables)
        for name in one[node].variables:
            assert np.array_equal(one[node][name], two[node][name]), (node, name)


def ddco(*args, cwd, expect=0, env=None):
    """Run the command in a process of its own; returns (stdout, stderr) after checking the status."""
    command = [sys.executable, "-m", "ddco_jax.cli", *map(str, args)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout, done.stderr


def ddco_here(*args, cwd, expect=0):
    """The same in this process, which saves the import of JAX."""
    out, err, status = ending_of(*args, cwd=cwd)
    assert status == expect, out + err
    return out, err


def said(err):
    """Notes and errors in stderr, without the lines of progress, one string each."""
    return [line for line in err.splitlines() if line.startswith(("note: ", "ddco: "))]


def ending_of(*args, cwd):
    """(stdout, stderr, status) of the command in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["ddco", *map(str, args)]),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        # cyclopts warns of an app that reads sys.argv under pytest
        warnings.filterwarnings("ignore", message="Cyclopts application invoked without tokens")
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code or 0
    return out.getvalue(), err.getvalue(), status
