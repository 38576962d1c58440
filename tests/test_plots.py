"""Figures of runs: units of the axes, one colour scale, cropping, panels, formats, the movie."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers import ddco_here
from PIL import Image

from ddco_jax import open_result
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.plots import distribution, style
from ddco_jax.plots.axes import Units, in_powers
from ddco_jax.plots.history import conservation_figure, entropy_figure, temperature_figure
from ddco_jax.plots.movie import plot_movie

WAVE = """
description = "a wave"
x_flux = "upwind"
[plasma]
temperature_eV = 0.2
temperature_modulation_eV = 0.05
[grid]
length_angstrom = 1024.0
nx = 6
velocity_extent_m_s = [25000.0, 25000.0, 25000.0]
nv = [16, 12, 12]
[time]
step_ps = 0.02
steps = 4
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "none"
[output]
snapshot_every = 2
"""
HOMOGENEOUS = ("grid.nx=1", "plasma.temperature_modulation_eV=0.0", "field=none", "time.steps=2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    (folder / "wave.toml").write_text(WAVE)
    ddco_here("run", "wave.toml", "--out", "wave", cwd=folder)
    extra = [word for setting in HOMOGENEOUS for word in ("--set", setting)]
    ddco_here("run", "wave.toml", "--out", "cell", *extra, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wave(runs):
    result = open_result(runs / "wave")
    return result["history"].to_dataset().load(), result["snapshots"].to_dataset().load(), Units(PAPER, False)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def labels(figure):
    return [text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel()) if text]


def test_the_command_draws_what_there_is_in_the_formats_asked_for(runs):
    common = {"conservation", "entropy", "vx_vy", "marginal", "temperature"}
    for run, more, kinds in (("wave", {"x_vx", "profiles"}, ["png"]), ("cell", set(), ["pdf"])):
        out, _ = ddco_here("plot", run, *(word for kind in kinds for word in ("--format", kind)), cwd=runs)
        paths = [runs / line for line in out.splitlines()]
        assert {path.name for path in paths} == {f"{name}.{kind}" for name in common | more for kind in kinds}
        assert all(path.stat().st_size > 5000 for path in paths)
        captions = (runs / run / "figures" / "captions.txt").read_text().splitlines()
        assert sorted(line.partition(": ")[0] for line in captions) == sorted(common | more)
    assert (runs / "cell" / "figures" / "vx_vy.pdf").read_bytes()[:4] == b"%PDF"
    _, err = ddco_here("plot", "wave", "--format", "bmp", cwd=runs, expect=2)
    assert "--format" in err and err.count("\n") == 1


@pytest.mark.slow
def test_runs_are_drawn_side_by_side(runs, monkeypatch):
    """Two runs of one kernel are told apart by their folders; f of the second is that of its own cell and time."""
    drawn = []
    keep = lambda drawing, folder, name, formats: drawn.append((drawing, name)) or [folder / f"{name}.png"]
    monkeypatch.setattr("ddco_jax.plots.side_by_side.save", keep)
    out, _ = ddco_here("plot", "wave", "--with", "cell", cwd=runs)
    assert out.splitlines()[-1] == "wave/figures/side_by_side.png"
    ((drawing, name),) = drawn
    assert name == "side_by_side" and drawing.caption.startswith("f(vx) of the runs at ")
    above, heat = (part.axes for part in drawing.figure.subfigs)
    labels = above[0].get_legend_handles_labels()[1]
    assert [label.partition(" ")[0] for label in labels] == ["wave", "cell"]
    shown = [float(np.max(above[0].lines[k].get_ydata())) for k in (0, 3)]
    snapshots = [open_result(runs / run)["snapshots"].isel(t=0) for run in ("wave", "cell")]
    largest = [float(now["f_vx"][int(np.argmax(now["temperature"].to_numpy()))].max()) for now in snapshots]
    assert shown[0] / shown[1] == pytest.approx(largest[0] / largest[1], rel=0.03)  # maxima of splines and of points
    assert abs(largest[0] / largest[1] - 1) > 0.05
    assert len(heat[0].lines) > 4 and len(heat[1].lines) == 2
    # another species: the same eV
    narrower = ("plasma.species=helium", "grid.velocity_extent_m_s=[12500, 12500, 12500]")
    extra = [word for setting in (*HOMOGENEOUS, *narrower) for word in ("--set", setting)]
    ddco_here("run", "wave.toml", "--out", "helium", *extra, cwd=runs)
    ddco_here("plot", "cell", "--with", "helium", cwd=runs)
    heat = drawn[1][0].figure.subfigs[1].axes[0]
    first = [line.get_ydata()[0] for line in heat.lines]
    assert len(first) == 4 and first[2:] == pytest.approx(first[:2], rel=5e-3)
    _, err = ddco_here("compare", "wave", "cell", cwd=runs, expect=2)
    assert "a folder, not an MD file" in err and err.count("\n") == 1


def test_a_movie_has_a_frame_per_snapshot(runs):
    out, _ = ddco_here("plot", "cell", "--movie", "--units", "code", cwd=runs)
    assert (runs / out.splitlines()[-1]).stem == "movie"
    path = plot_movie(runs / "wave")
    if path.suffix == ".gif":  # without ffmpeg
        with Image.open(path) as movie:
            assert movie.n_frames == 3
            first = np.asarray(movie.convert("RGB"), float)
            movie.seek(2)
            assert np.any(first != np.asarray(movie.convert("RGB"), float))


def test_axes_are_in_practical_units():
    """As a known number of code units, drawn in SI, in the unit that the label names."""
    units = Units(PAPER, False)
    cases = {
        "t": (0.72, "$t$ (ps)", 0.72),
        "x": (10.24, "$x$ (nm)", 102.4),
        "vx": (2.5, "$v_x$ (km/s)", 25.0),
        "drift_x": (0.02, "$u_x$ (m/s)", 200.0),
        "temperature": (PAPER.temperature_from_ev(0.3), "$T$ (eV)", 0.3),
        "density": (1.0, "$n$ ($10^{24}$ m$^{-3}$)", 1.0),
        "f_vx": (1.0, "$f(v_x)$ ($10^{23}$ m$^{-3}$ (km/s)$^{-1}$)", 1.0),
        "f_vxvy": (2.0, "$f(v_x,v_y)$ ($10^{22}$ m$^{-3}$ (km/s)$^{-2}$)", 2.0),
    }
    for name, (value, label, drawn) in cases.items():
        axis = units.axis(name, np.array([-value, 0.0]))
        assert axis.label == label and axis.factor * value == pytest.approx(drawn), name
    for name, largest, unit in (("t", 200, "ps"), ("t", 700, "ns"), ("t", 0.3, "fs")):
        assert units.axis(name, np.array([largest])).unit == unit
    for degrees, unit in ((0.02, "meV"), (0.06, "eV"), (600.0, "eV"), (2000.0, "keV")):
        assert units.axis("temperature", PAPER.temperature_from_ev(np.array([degrees]))).unit == unit
    assert units.axis("t", np.array([2.0])).text(0.12) == "$t$ = 0.12 ps"
    cold = Units(Scales(velocity=10.0, length=1e-5), False)
    assert cold.axis("t", np.ones(1)).label == "$t$ (µs)"
    factor, unit = units.rate(np.array([3e-3]))  # 3e9 per second
    assert unit == "ns$^{-1}$" and 3e-3 * factor == pytest.approx(3.0)
    code = Units(PAPER, True)
    assert code.axis("f_vx", np.ones(1)) == (1.0, "$f(v_x)/(n_0/V_0)$", "")
    assert code.axis("t", np.ones(1)).text(0.5) == "$t$ = 0.5 $t_0$"


def test_powers_of_ten_are_in_the_label():
    values, power = in_powers(np.array([0.0, -3e-16]))
    assert power == " ($10^{-16}$)" and values[1] == pytest.approx(-3)
    assert in_powers(np.array([0.5]))[1] == in_powers(np.zeros(2))[1] == ""


def test_planes_share_one_labelled_colour_scale_and_are_cropped(wave):
    _, snapshots, units = wave
    cells = distribution.chosen_cells(snapshots)
    degrees = snapshots["temperature"].isel(t=0).to_numpy()
    assert cells[0] == degrees.argmax() and cells[-1] == degrees.argmin()
    shown = {"plane": snapshots["f_vxvy"].isel(x=cells), "streaming": snapshots["f_vx"]}
    figures = {
        "plane": distribution.plane_figure(snapshots, cells, units).figure,
        "streaming": distribution.streaming_figure(snapshots, units).figure,
    }
    for name, figure in figures.items():
        panels = [axis for axis in figure.axes if axis.images]
        assert len(panels) == (9 if name == "plane" else 3) and len(figure.axes) == len(panels) + 1
        (scale,) = {axis.images[0].get_clim() for axis in panels}
        largest = float(shown[name].max())
        factor = units.axis("f_vxvy" if name == "plane" else "f_vx", shown[name]).factor
        assert scale == pytest.approx((0, largest * factor))
        assert figure.axes[-1].get_ylabel().startswith("$f(v_x") and "m$^{-3}$" in figure.axes[-1].get_ylabel()
    panels = figures["plane"].axes
    assert panels[0].get_ylabel().startswith(f"$x$ = {102.4 / 6 * (cells[0] + 0.5):.3g} nm\n")
    assert [panel.get_title() for panel in panels[:3]] == ["$t$ = 0 fs", "$t$ = 40 fs", "$t$ = 80 fs"]
    low, high = panels[0].get_xlim()  # the box reaches 25 km/s; f(vx) is narrower, Tx = T/3
    assert -25 < low < -5 and 5 < high < 25
    assert figures["streaming"].axes[0].get_xlabel() == "$x$ (nm)"
    assert figures["streaming"].axes[0].get_xlim() == pytest.approx((0, 102.4))


def test_profiles_have_a_panel_for_the_field_where_there_is_one(wave):
    _, snapshots, units = wave
    figure = distribution.profile_figure(snapshots, units).figure
    found = [label.split()[0] for label in labels(figure) if "x$ (nm)" not in label]
    assert found == ["$n$", "$u_x$", "$E$", "$T_x$", "$T_y$", "$T_z$"]
    assert len({axis.get_ylim() for axis in figure.axes[3:]}) == 1
    temperature = next(axis for axis in figure.axes if axis.get_ylabel() == "$T_x$ (eV)")
    points = temperature.lines[1]  # after the smooth line of the first time
    np.testing.assert_allclose(points.get_xdata(), (np.arange(6) + 0.5) * 102.4 / 6)
    expected = PAPER.temperature_to_ev(snapshots["axis_temperature"].isel(t=0, axis=0).to_numpy())
    np.testing.assert_allclose(points.get_ydata(), expected)
    no_field = snapshots.assign(electric_field=0 * snapshots["electric_field"])
    assert not any(label.startswith("$E$") for label in labels(distribution.profile_figure(no_field, units).figure))


def test_marginals_are_linear_and_logarithmic_with_lines_through_the_points(wave):
    _, snapshots, units = wave
    cells = distribution.chosen_cells(snapshots)
    figure = distribution.marginal_figure(snapshots, cells, units).figure
    above, below = figure.axes[0], figure.axes[len(cells)]
    assert (above.get_yscale(), below.get_yscale()) == ("linear", "log")
    low, high = below.get_ylim()
    assert 1e-6 < low / high < 1e-5 * 1.01
    line, points = above.lines[:2]
    assert len(line.get_xdata()) == style.FINE and points.get_marker() == "o"
    np.testing.assert_allclose(np.interp(points.get_xdata(), *line.get_data()), points.get_ydata(), atol=1e-3)
    assert above.get_legend() is None and len(figure.legends[0].get_texts()) == 4  # three times, Maxwellian


def test_conservation_and_temperatures(wave):
    history, snapshots, units = wave
    figure = conservation_figure(history, units).figure
    symbols = ("relative change (", r"$\Delta P_i\,/\,(2MW_K)^{1/2}$ (", "$W_E$ (")
    for axis, symbol in zip(figure.axes, symbols, strict=True):
        assert axis.get_ylabel().startswith(symbol)
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == [
        rf"$\Delta P_{axis}$" for axis in "xyz"
    ]
    no_field = history.assign(field_energy=0 * history["field_energy"])
    assert len(conservation_figure(no_field, units).figure.axes) == 2
    figure = temperature_figure(snapshots, [1, 4], units).figure
    drawn = [line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata()) == 3]
    of_x = PAPER.temperature_to_ev(snapshots["axis_temperature"].isel(x=1, axis=0).to_numpy())
    np.testing.assert_allclose(drawn[1].get_ydata(), of_x)  # after the mean
    assert figure.axes[0].get_ylabel() == "$T_i$ (eV)" and figure.axes[1].get_title() == "$x$ = 76.8 nm"


GAINS = {
    "grows": (np.array([1e-3, 1e-4, 1e-6]), "log"),
    "grows evenly": (np.array([1e-3, 9e-4, 8e-4]), "linear"),
    "falls by rounding": (np.array([4e-16, -9e-16, 0.0]), "linear"),
    "falls": (np.array([1e-3, -1e-5, 0.0]), "symlog"),
}


@pytest.mark.parametrize("case", GAINS)
def test_the_figure_of_the_entropy_shows_gains_and_losses_alike(case):
    """No axis reaches below the smallest change that is not rounding."""
    gains, scale = GAINS[case]
    entropy = np.cumsum(np.append(3.0, gains))
    history = xr.Dataset({"entropy": ("t", entropy), "mass": ("t", np.ones(4))}, {"t": np.arange(4.0)})
    figure = entropy_figure(history, xr.Dataset(), Units(PAPER, True)).figure
    right = figure.axes[1]
    figure.canvas.draw()  # the limits are those that are seen
    low, high = right.get_ylim()
    assert right.get_yscale() == scale
    np.testing.assert_array_equal(right.lines[0].get_ydata(), np.diff(entropy))
    assert low <= np.diff(entropy).min() and high >= np.diff(entropy).max()
    assert low == pytest.approx(1e-6 / 2) if scale == "log" else -1e-2 < low <= 0


def test_the_entropy_produced_by_collisions_is_drawn_per_particle():
    """Beside the rate of the entropy: 2 k n0/t0 in a plasma of density 4 n0, with t0 = 1 ps."""
    history = xr.Dataset({"entropy": ("t", [0.0, 1.0, 1.01]), "mass": ("t", [2.0, 2.0, 2.0])}, {"t": [0.0, 2.0, 4.0]})
    density, produced = np.full((2, 2), 4.0), np.array([[0.0, 0.0], [2.0, 2.0]])
    snapshots = xr.Dataset(
        {"density": (("t", "x"), density), "entropy_production": (("t", "x"), produced)}, {"t": [0.0, 1.0]}
    )
    figure = entropy_figure(history, snapshots, Units(PAPER, False)).figure
    assert figure.get_tightbbox().width < 8  # a zero is not drawn far outside a logarithmic axis
    right = figure.axes[1]
    assert right.get_yscale() == "log"
    assert right.get_ylabel().endswith("(ps$^{-1}$)")
    rate, circles = right.lines[:2]
    np.testing.assert_allclose(rate.get_ydata(), [0.25, 0.0025])
    np.testing.assert_allclose(circles.get_data(), ([0.0, 1.0], [0.0, 0.5]))


def test_times_are_evenly_spaced_where_there_are_three():
    of = lambda n, count: distribution.chosen_times(xr.Dataset(coords={"t": np.arange(n)}), count)
    assert of(7, 5) == [0, 2, 4, 6] and of(13, 5) == [0, 3, 6, 9, 12]
    assert of(8, 5) == [0, 2, 4, 5, 7]
    assert of(1, 3) == [0] and of(2, 3) == [0, 1]
