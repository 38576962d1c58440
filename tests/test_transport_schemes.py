"""The two transports: order along vx, positivity, what each field law conserves, the correlation age."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but

from ddco_jax import PhaseGrid, State, initial, solve
from ddco_jax.plasma.units import Scales
from ddco_jax.steppers.strang import FIELDS
from ddco_jax.vlasov import transport, v_flux

both = pytest.mark.parametrize("x_flux", transport.TRANSPORTS)


@pytest.mark.parametrize(("faces", "order"), [(v_flux.central, 2), (v_flux.sixth, 6)])
def test_acceleration_is_of_its_order_in_dvx(faces, order):
    """-E df/dvx of a drifting normal distribution, from sums of face values."""
    errors, sizes = [], (32, 44, 60)
    for n in sizes:
        grid = PhaseGrid(1.0, 2, (6.0, 1.0, 1.0), (n, 3, 3))
        c, field = grid.vx - 0.3, jnp.array([0.7, -1.3])
        normal = np.broadcast_to(np.exp(-(c**2) / 2)[:, None, None], grid.shape)
        exact = np.asarray(field)[:, None, None, None] * c[:, None, None] * normal
        f = jnp.asarray(normal)
        found = transport.rate(grid, jnp.zeros_like(f), faces(f), field)
        errors.append(float(jnp.max(jnp.abs(found - exact))))
    slope = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.06 * order)


def test_face_values_next_to_the_edges_have_the_orders_that_fit():
    """Exact on polynomials in vx: linear ones at the first faces, cubic at the second, quintic at the others."""
    grid = PhaseGrid(1.0, 1, (2.0, 1.0, 1.0), (9, 3, 3))
    j = np.arange(9) - 4.0  # a face value is what differences take: the primitive's, not f at the face
    found = []
    for power in (1, 3, 5):
        f = jnp.asarray(np.broadcast_to((power * j ** (power - 1))[:, None, None], grid.shape))
        slopes = v_flux.sixth(f)[0, 1:, 0, 0] - v_flux.sixth(f)[0, :-1, 0, 0]
        found.append(np.abs(np.asarray(slopes) - power * (power - 1) * j[1:-1] ** max(power - 2, 0)) < 1e-10)
    assert found[0].all() and found[1][1:-1].all() and found[2][2:-2].all() and not found[2].all()


def two_beams():
    """Narrow beams in a part of the box, with nothing around them, in a field that turns them around."""
    grid = PhaseGrid(6.0, 16, (2.5, 1.0, 1.0), (48, 3, 3))
    vx = grid.vx[:, None, None]
    f = np.where(np.abs(np.abs(vx) - 1.2) < 0.15, 1.0, 0.0) * np.ones(grid.shape)
    f[[*range(5), *range(9, 16)]] = 0.0
    state = State.from_distribution(grid, f)
    return grid, dataclasses.replace(state, electric_field=jnp.asarray(3 * np.sin(2 * np.pi * grid.x / grid.length)))


@pytest.mark.parametrize("field", ["ampere", "poisson", "none"])
def test_the_accurate_transport_stays_positive(field, monkeypatch):
    """Where its fluxes along vx unlimited do not; mass is exact all the same."""
    grid, state = two_beams()

    def lowest():
        step = jax.jit(lambda s: FIELDS[field](grid).step(s, jnp.asarray(0.01)))
        at, least, numbers = state, 0.0, []
        for _ in range(40):
            at = step(at)
            least = min(least, float(jnp.min(at.f)))
            strongest = float(jnp.max(jnp.abs(at.electric_field))) if field != "none" else 0.0
            numbers.append(0.01 * (grid.vx[-1] / grid.dx + strongest / grid.dv[0]))
        assert float(jnp.sum(at.f)) == pytest.approx(float(jnp.sum(state.f)), rel=1e-13)
        assert float(jnp.linalg.norm(at.f - state.f)) > 0.3 * float(jnp.linalg.norm(state.f))
        return least / float(jnp.max(state.f)), max(numbers)

    least, number = lowest()
    assert least > -1e-8 and number < 1, number
    if field == "none":
        return
    unlimited = dataclasses.replace(transport.ACCURATE, positive=False)
    monkeypatch.setitem(transport.TRANSPORTS, "weno5", unlimited)
    assert lowest()[0] < -1e-3


def cut():
    """A plasma that flows and is as large at the edge of the box as it can be."""
    grid = PhaseGrid(10.24, 8, (1.0, 1.0, 1.0), (12, 6, 6))
    f = initial.perturb(grid, initial.maxwellian(grid, 1.0, 0.25), 0.3, 1)
    f = f * np.exp(0.4 * grid.vx)[:, None, None]
    assert np.max(f[:, -1]) > 0.1 * np.max(f)
    return grid, f


@both
@pytest.mark.parametrize("field", ["ampere", "poisson"])
def test_what_a_field_law_conserves_where_the_box_cuts_f(field, x_flux):
    """Mass; total energy with Ampere's law, momentum with Poisson's equation: at rounding."""
    grid, f = cut()
    _, h = solve(State.from_distribution(grid, f), FIELDS[field](grid, x_flux), dt=0.03, n_steps=20)
    drift = lambda a: np.max(np.abs(a - a[0]))
    assert drift(h.mass) < 1e-13 * h.mass[0]
    assert np.ptp(h.field_energy) > 1e-3 * h.kinetic_energy[0]  # the field has done something
    if field == "ampere":
        assert drift(h.total_energy) < 1e-13 * h.total_energy[0]
    else:
        assert drift(h.momentum[:, 0]) < 1e-14 * np.sqrt(2 * h.kinetic_energy[0] * h.mass[0])


CASES = [("ampere", "weno5"), ("none", "upwind"), ("poisson", "weno5"), ("none", "weno5"), ("ampere", "upwind")]


class Still(Scales):
    """Correlations that do not age."""

    def plasma_frequency(self, density):
        return 0 * density


@pytest.mark.parametrize(("field", "x_flux"), slow_but(CASES[:2], CASES))
def test_a_uniform_correlation_age_stays_uniform(field, x_flux):
    """What moves the age is what moves the density, in every stage; only its growth differs from place to place."""
    grid, f = cut()
    state = State.from_distribution(grid, f, correlation_age=np.full(grid.nx, 2.0))
    end, _ = solve(state, FIELDS[field](grid, x_flux, Still()), dt=0.03, n_steps=10)
    assert np.allclose(end.correlation_age, 2.0, rtol=1e-13)
    rho = np.asarray(jnp.sum(end.f, (1, 2, 3)))
    assert np.ptp(rho) > 0.01 * np.mean(rho) and np.max(np.abs(end.f - f)) > 0.01 * np.max(f)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="x_flux must be one of"):
        transport.named("weno7")
