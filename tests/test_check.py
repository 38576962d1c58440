"""`ddco check` and what a run is refused or warned for: stability, resolution, memory, notes."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but
from young import young

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, solve, steppers
from ddco_jax.correlations import AGED, MARKOV
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.units import PAPER
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import check
from ddco_jax.simulation import run as runner
from ddco_jax.simulation.check import check_report
from ddco_jax.simulation.config import ArrayStart, load, parse
from ddco_jax.simulation.stiffness import stiffness
from ddco_jax.simulation.survey import MOST, Survey, survey_cell
from ddco_jax.steppers.collision import stability_interval
from ddco_jax.velocity import differences

STARTS = ("local_maxwellian", "bimaxwellian", "symmetric_double_well", "asymmetric_double_well")


@pytest.mark.slow
def test_the_shipped_starts_are_resolved_in_their_coldest_cells():
    reports = {name: check_report(load(name)[0]) for name in STARTS}
    assert [name for name in STARTS if not reports[name]["resolved"]] == []
    coarser = check_report(load("asymmetric_double_well", ("grid.nv=[72, 72, 72]",))[0])
    assert not coarser["resolved"] and "under-resolved" in " ".join(coarser["notes"])
    for report in reports.values():
        assert max(report["streaming_number"], report["acceleration_number"]) < 1
        assert report["parts"] == 1 and 3 <= report["stages"] <= 5
        assert report["coupling_parameter"] == pytest.approx([0.776, 2.29], abs=0.01)


def test_a_mean_drift_of_components_is_noted_as_a_current():
    """The bump of the package moves alone; a drift of the bulk that balances it has no current, nor has no field."""
    bump = load("bump_on_tail", {})[0].initial.component
    against = -bump[1].fraction * bump[1].drift_m_s[0] / bump[0].fraction
    noted = []
    for changed in ({}, {"initial.component.0.drift_m_s": [against, 0.0, 0.0]}, {"field": "none"}):
        drifts = {"initial.component.0.drift_m_s": [0.0, 0.0, 0.0], "grid.nv": [80, 8, 8], **changed}
        notes = check_report(load("bump_on_tail", drifts)[0])["notes"]
        noted.append([note for note in notes if "a current" in note])
    assert [len(found) for found in noted] == [1, 0, 0] and "omega_p" in noted[0][0]


@pytest.mark.parametrize("case", ["streaming", "parts"])
def test_the_step_that_a_refusal_names_is_in_ps_and_passes(case):
    """With t0 = 0.0075 ps, where a step in t0 is 133 times one in ps."""
    keys = {
        "streaming": ("collisions.kernel=none", "grid.nx=8", "field=none"),
        "parts": ("collisions.kernel=landau", "collisions.stages=2", "collisions.buildup=off"),
    }[case]
    keys += ("units.velocity_m_s=2e5", "units.length_angstrom=15.0", "grid.nv=[14, 14, 14]")
    with pytest.raises(ConfigError, match=r"time\.step_ps: .* take at most \S+ ps") as caught:
        check.refuse(check_report(load("relaxation", (*keys, "time.step_ps=5.0"))[0]))
    largest = float(str(caught.value).partition("take at most ")[2].split()[0])
    assert 1e-3 < largest < 5.0
    report = check_report(load("relaxation", (*keys, f"time.step_ps={largest}"))[0])
    check.refuse(report)
    assert case == "parts" or report["streaming_number"] == pytest.approx(0.995, rel=0.005)


def stiffness_of(grid, f, kernel, buildup=MARKOV, duration=0.0):
    """The estimate for cells f (cells, nvx, nvy, nvz), for the midpoint rule in the ratio form."""
    step = steppers.MidpointCollision(CollisionOperator(grid, kernel, differences="central"), buildup)
    cells = tuple(survey_cell(grid, cell, i) for i, cell in enumerate(f))
    return stiffness(Survey(cells, np.ones(len(f))), step, duration), step


def test_the_stability_number_sees_the_fast_and_what_is_not_a_number(monkeypatch):
    """Maxwell molecules: A_aa = rho (v_b^2 + v_c^2 + 2T)/24 grows with v, to beyond two thermal speeds."""
    # the formulas below are those of the middle of a plasma, without its flanks and the edges of the box
    monkeypatch.setattr(differences, "MOST_GROWN", 1.0)
    monkeypatch.setattr(differences, "EDGE_EIGENVALUE", 0.0)
    grid, T, dt = PhaseGrid(1.0, 1, (2.4, 2.4, 3.0), (12, 12, 14)), 0.3, 0.01
    f = initial.maxwellian(grid, 1.0, T)
    x, y, z = (v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    A = np.stack([y + z, x + z, x + y]) + 2 * T
    largest = np.max(np.sum(A / 24 / np.square(grid.dv)[:, None, None, None], 0))
    found, step = stiffness_of(grid, f, kernels.MaxwellMolecules())
    k = step.op.differences.largest_eigenvalue
    assert found == pytest.approx(k * largest, rel=1e-3)  # <v_a^2> of f is T up to the grid's error
    assert check.collision_stability(step, found, dt, None).number == pytest.approx(dt / 2 * found)
    nan, _ = stiffness_of(grid, np.where(f == f.max(), np.nan, f), kernels.MaxwellMolecules())
    assert np.isnan(nan)
    report = {"streaming_number": 0.1, "acceleration_number": 0.1, "time_step_ps": dt, "stages": 3, "parts": 1}
    chebyshev = steppers.ChebyshevCollision(step.op)
    for stepper in (step, chebyshev):
        number = check.collision_stability(stepper, nan, dt, None).number
        with pytest.raises(ConfigError, match="is not a number"):
            check.refuse(report | {"collision_number": number})
    check.refuse(report | {"collision_number": 1.0})
    with pytest.raises(ConfigError, match="parts"):
        check.refuse(report | {"collision_number": 1.0, "parts": 13})


@pytest.mark.parametrize("kernel", [kernels.Landau(), kernels.MaxwellMolecules()], ids=["landau", "maxwell"])
def test_the_stability_number_beyond_the_points_it_looks_at(kernel):
    """A box of more than MOST points per axis, most of it empty: a fine patch of f and a coarse one of the box."""
    grid = PhaseGrid(1.0, 1, (5.0, 4.0, 4.0), (MOST + 14, MOST, MOST))
    f = initial.symmetric_double_well(grid, 1.0, 0.2)
    assert len(survey_cell(grid, f[0]).patches) == 2
    found, step = stiffness_of(grid, f, kernel)
    A = np.asarray(step.op.diffusion(jnp.asarray(f)))[0]
    largest = np.max(np.sum(A / np.square(grid.dv)[:, None, None, None], 0))
    assert found == pytest.approx(step.op.differences.largest_eigenvalue * largest, rel=0.05)


def test_the_stability_number_counts_the_build_up_and_the_microfield(monkeypatch):
    """The largest amplitude over the quench, and dt/2 sum nu T/dv^2, which stays where collisions have not begun."""
    # the formulas below are those of the middle of a plasma, without its flanks and the edges of the box
    monkeypatch.setattr(differences, "MOST_GROWN", 1.0)
    monkeypatch.setattr(differences, "EDGE_EIGENVALUE", 0.0)
    grid = PhaseGrid(1.0, 1, (2.4, 2.4, 3.0), (12, 12, 12))
    T, end = 0.2, 1.5
    f = initial.maxwellian(grid, 1.0, T)
    frequency = PAPER.plasma_frequency(1.0)

    def found(buildup):
        return stiffness_of(grid, f, kernels.Landau(), buildup, end)[0]

    assert found(lambda age, gamma: 3 * age / (frequency * end)) == pytest.approx(3 * found(MARKOV), rel=1e-4)

    def microfield(age, gamma):
        return young(age.shape, level=0.0, rate=age / 3)

    discrete = float(compute_moments(grid, jnp.asarray(f[0])).temperature)
    expected = frequency**2 * end / 3 * discrete * sum(1 / d**2 for d in grid.dv)
    k = CollisionOperator(grid, kernels.Landau(), differences="central").differences.largest_eigenvalue
    assert found(microfield) == pytest.approx(k * expected, rel=1e-4)


@pytest.mark.parametrize("start", ["symmetric_double_well", "bump_on_tail", "two_stream", "uniform_ball"])
def test_a_cell_by_itself_is_that_of_the_whole(start, tmp_path):
    drift = ("initial.drift_m_s=3000.0",) if start == "two_stream" else ()
    settings, _ = load(
        "local_maxwellian",
        (f'initial.kind="{start}"', "initial.density_perturbation=0.2", "grid.nx=4", "grid.nv=[40, 40, 40]", *drift),
    )
    grid = settings.build_grid()
    f = settings.build_distribution(grid)
    np.save(tmp_path / "f.npy", f)
    file = settings.model_copy(update={"initial": ArrayStart(kind="array", file=str(tmp_path / "f.npy"))})
    for cell in (0, 3):
        np.testing.assert_allclose(settings.build_cell(grid, cell), f[cell], rtol=1e-11, atol=1e-13 * f.max())
        np.testing.assert_array_equal(file.build_cell(grid, cell), f[cell])


BLEW_UP = {
    "landau": {"kernel": "landau", "buildup": "off"},
    "maxwell": {"kernel": "maxwell_molecules", "buildup": "off"},
    "ddco": {"kernel": "ddco", "buildup": "quench"},
}
STEPS_PS = {"landau": 0.15, "maxwell": 0.04, "ddco": 0.05}
CASES = [(name, scheme) for name in BLEW_UP for scheme in ("accurate", "paper")]


@pytest.mark.parametrize("case, scheme", slow_but([c for c in CASES if c != ("ddco", "accurate")], CASES))
def test_what_blew_up_is_refused_or_stable(case, scheme, tmp_path):
    """Under-resolved bi-Maxwellians whose old stability number was below 1."""
    collisions = BLEW_UP[case] | ({"differences": "fourth"} if scheme == "accurate" else {})
    settings = parse(
        {
            "scheme": scheme,
            "field": "none",
            "plasma": {"temperature_eV": 0.2},
            "grid": {"length_angstrom": 100.0, "nx": 1, "velocity_extent_m_s": (26500.0,) * 3, "nv": (24, 20, 20)},
            "time": {"step_ps": STEPS_PS[case], "steps": 40},
            "initial": {"kind": "bimaxwellian", "anisotropy": 0.25},
            "collisions": collisions,
        }
    )
    try:
        history = runner.run(settings, tmp_path / "run", progress=False).history
    except ConfigError as error:
        assert scheme == "paper" and "take at most" in str(error)
        return
    assert scheme == "accurate"
    assert np.all(np.isfinite(history["entropy"]))
    assert np.min(np.diff(history["entropy"])) > -1e-13
    stages = json.loads((tmp_path / "run" / "config.json").read_text())["config"]["collisions"]["stages"]
    assert stages == check_report(settings)["stages"] >= 2


def test_the_papers_scheme_reaches_a_section_that_is_built_already():
    """A config made in Python is the one that its dict would be."""
    plain = load("relaxation", ('scheme="paper"',))[0]
    given = plain.model_dump(exclude={"x_flux", "collisions"}) | {"collisions": type(plain.collisions)(kernel="landau")}
    built = type(plain)(**given)
    assert (built.x_flux, built.collisions.force, built.collisions.step) == ("upwind", "log", "midpoint")
    assert built.collisions.kernel == "landau"


def test_strang_refuses_the_option_of_the_other_step():
    grid = PhaseGrid(1.0, 1, (2.4, 2.4, 3.0), (6, 6, 6))
    op = CollisionOperator(grid, kernels.MaxwellMolecules())
    with pytest.raises(ValueError, match="collision_substeps to the midpoint"):
        steppers.Strang(grid, op, collision_substeps=8)
    with pytest.raises(ValueError, match="collision_stages belongs to the chebyshev"):
        steppers.Strang(grid, op, collision="midpoint", collision_stages=4)
    with pytest.raises(ValueError, match="at least 2"):
        steppers.Strang(grid, op, collision_stages=1)


def test_f_may_turn_negative_where_the_steps_are_too_long_together():
    """The two numbers are checked one by one; positivity needs their sum."""
    slow, fast = (load("langmuir", (f"time.step_ps={step}",))[0] for step in (0.02, 0.0495))
    reports = [check_report(config) for config in (slow, fast)]
    assert max(reports[1]["streaming_number"], reports[1]["acceleration_number"]) < 1
    assert ["f may turn negative" in " ".join(report["notes"]) for report in reports] == [False, True]


@pytest.mark.parametrize("collides", slow_but([False], [False, True]))
def test_memory_is_what_the_compiler_asks_for(collides):
    """Within a factor 1.5, of a run and of a gradient through it."""
    grid = PhaseGrid(10.0, 20, (2.4, 2.4, 2.4), (14, 14, 14))
    op = CollisionOperator(grid, kernels.Landau(0.3)) if collides else None
    stepper = steppers.Strang(grid, op)
    f = jnp.asarray(initial.bimaxwellian(grid, 1.0, 0.4, 0.5))

    def run(f):
        return jnp.sum(solve(State.from_distribution(grid, f), stepper, dt=0.02, n_steps=16)[0].f ** 2)

    estimate = check.memory(grid, op, 8, 16)
    for function, expected in ((run, estimate.run), (jax.grad(run), estimate.gradient)):
        found = jax.jit(function).lower(f).compile().memory_analysis()
        total = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
        assert expected / 1.5 < total < expected * 1.5


@pytest.mark.parametrize("reach", [2.0, 5.0])
def test_the_estimate_is_the_stiffness_of_the_operator(reach):
    """Where the survey looks at all points: of a Maxwellian, also one that the box cuts, and of two beams."""
    grid = PhaseGrid(1.0, 1, (reach,) * 3, (16, 15, 14))
    kernel = kernels.Landau(0.3)
    step = steppers.ChebyshevCollision(CollisionOperator(grid, kernel))
    for f in (initial.maxwellian(grid, 1.0, 1.0), initial.asymmetric_double_well(grid, 1.0, 1.0)):
        estimate = stiffness(Survey((survey_cell(grid, f[0]),), np.ones(1)), step, 0.0)
        found = float(jax.jit(lambda f: step.op.rate(f, AGED).stiffness)(jnp.asarray(f[0])))
        assert estimate == pytest.approx(found, rel=0.07)


@pytest.mark.parametrize("excess, parts", [(0.3, 1), (1.5, 2), (2.5, 4), (9.0, 16)])
def test_the_parts_of_a_step_are_those_that_it_takes(excess, parts):
    """A step is halved until a part is stable."""
    grid = PhaseGrid(1.0, 1, (2.2, 2.0, 2.0), (6, 5, 5))
    f = jnp.asarray(initial.maxwellian(grid, 1.0, 0.4))
    step = steppers.ChebyshevCollision(CollisionOperator(grid, kernels.Landau(0.3)), stages=2)
    stiff = float(jax.jit(lambda f: step.op.rate(f, AGED).stiffness)(f[0]))
    dt = excess * stability_interval(2) / stiff
    assert check.collision_stability(step, stiff, dt, 2).parts == parts
    end = jax.jit(step.step)(State.from_distribution(grid, f), jnp.asarray(dt))
    assert float(end.tally.evaluations) == 2 * parts and float(end.tally.refused) == 0


def test_a_box_shorter_than_the_distance_of_particles_is_noted():
    """At 1e24 1/m^3 it is 62 angstrom; a single cell stands for any length."""
    noted = []
    for length, nx in ((61, 4), (63, 4), (61, 1)):
        changed = (f"grid.length_angstrom={length}", f"grid.nx={nx}", "time.step_ps=1e-5")
        notes = check_report(load("langmuir", changed)[0])["notes"]
        noted += [[note for note in notes if "shorter than the distance" in note]]
    assert [len(found) for found in noted] == [1, 0, 0] and "6.2e-09 m; is grid.length_angstrom" in noted[0][0]
    # where such a box makes the step too long, the box is what is refused
    with pytest.raises(ConfigError, match=r"^the box, 1e-11 m, is shorter than .*; is grid\.length_m or"):
        check.refuse(check_report(load("langmuir", {"grid.length_m": 1e-11, "grid.length_angstrom": None})[0]))


def test_the_step_that_a_refusal_names_meets_all_limits():
    """Of several numbers above 1 it states the largest; parts are powers of two; the step is rounded down."""
    fine = {"streaming_number": 0.9, "acceleration_number": 0.1, "collision_number": 1.0, "parts": 8, "stages": 50}
    check.refuse(fine | {"time_step_ps": 0.1})
    cases = {
        "dx = 3.000 exceeds 1; take at most 0.333 ps": {"streaming_number": 3.0, "acceleration_number": 2.0},
        "dvx = 7.000 exceeds 1; take at most 0.142 ps": {"streaming_number": 3.0, "acceleration_number": 7.0},
        "into 16 parts, more than 8; take at most 0.533 ps": {"parts": 16, "collision_number": 15 / 16},
        "velocity grid = 1.999 exceeds 1; take at most 0.5 ps, or": {"collision_number": 1.999, "stages": None},
    }
    for message, changed in cases.items():
        with pytest.raises(ConfigError) as caught:
            check.refuse(fine | {"time_step_ps": 1.0} | changed)
        assert message in str(caught.value)


def test_a_refused_step_is_said_once_and_first(tmp_path):
    """One number for one condition: that of the table; no note on the sum of it with another one."""
    command = (sys.executable, "-m", "ddco_jax.cli", "check", "langmuir", "--set", "time.step_ps=1.0")
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    first, *table = done.stdout.splitlines()
    assert done.returncode == 2 and first.startswith("ddco: time.step_ps: CFL: max|vx| dt/dx = ")
    number = first.partition(" = ")[2].split()[0]
    assert [line.split()[2] for line in table if line.startswith("max|vx| dt/dx")] == [number]
    assert float(number) > 1 and not any(line.startswith("note: max|vx|") for line in table)


@pytest.mark.parametrize("kernel, what", [("landau", "mean free paths"), ("none", "Debye lengths")])
def test_a_cell_far_longer_than_the_mean_free_path_is_noted(kernel, what):
    """A box that is 1000 times too long; the number is that of the table of the plasma."""
    found = []
    for length in (512.0, 512e3):
        changed = {"grid.nx": 4, "grid.length_angstrom": length, "collisions.kernel": kernel, "field": "ampere"}
        report = check_report(load("relaxation", changed)[0], plasma=True)
        row = report["plasma"]["mean_free_path" if kernel == "landau" else "debye_length"]
        cells = 1e-10 * length / 4 / row["si"][1]
        found.append((cells, [note for note in report["notes"] if "a cell along x" in note]))
    (short, nothing), (long, (note,)) = found
    assert nothing == [] and short < 4 and long == pytest.approx(1000 * short)
    assert f"is {long:,.0f} {what} long" in note and "1.28e-05 m" in note


def test_beams_without_collisions_may_fill_the_velocity_box_and_may_not_leave_it():
    """Two beams of the package, whose spread is that of their drifts; collisions would make a wide Maxwellian of f."""
    noted = []
    for changed in ({}, {"grid.velocity_extent_m_s": [3.5e6, 1.5e6, 1.5e6]}, {"collisions.kernel": "landau"}):
        config = load("electron_two_stream", {"grid.nv": [160, 8, 8], "grid.nx": 4, **changed})[0]
        notes = check_report(config)["notes"]
        noted.append([note for note in notes if "standard deviations" in note])
    assert [len(found) for found in noted] == [0, 1, 1] and "reaches 1.25" in noted[2][0]
