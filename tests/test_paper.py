"""The paper's figures by one command: which runs they need, at which size, and one of them with its numbers."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers import ddco_here

from ddco_jax.evaluation import compare, paper
from ddco_jax.plasma.units import PAPER
from ddco_jax.plots import columns, series
from ddco_jax.plots.axes import Units
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import sweep

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import paper_page  # noqa: E402
import reproduce_paper  # noqa: E402

TINY = (
    "grid.velocity_extent_m_s=[18e3,18e3,18e3]",
    "grid.nv=[12,12,12]",
    "time.step_ps=0.1",
    "time.steps=8",
    "output.snapshot_every=4",
    "collisions.stages=3",
)
START = "symmetric_double_well"


def test_the_size_of_the_paper_changes_the_config_alone(tmp_path):
    """Every run of every figure has a valid config at both sizes; kernels of a start differ in nothing else."""
    both = [reproduce_paper.Plan(tmp_path, large) for large in (False, True)]
    for figure in (*reproduce_paper.FIGURES, "results"):
        small, large = (plan.runs(figure) for plan in both)
        assert large == [run for run in small if run[1] != reproduce_paper.COARSE]
        for start, column in large:
            one, two = (plan.point(start, column)[1].config for plan in both)
            assert two.grid.nv == (200, 200, 200) and two.dt == 0.02 and two.time.steps == 40
            assert one.collisions.kernel == two.collisions.kernel and one.initial == two.initial
            assert two.precision == "float64" and one.collisions.buildup == two.collisions.buildup
    plan = both[0]
    for start in reproduce_paper.STARTS:
        data = [plan.point(start, column)[1].config.model_dump() for column in reproduce_paper.KERNELS]
        for one in data:
            one["collisions"] |= {"kernel": "", "buildup": ""}
            one["precision"] = ""  # single for the paper's kernel, whose error is 1e-6
        assert all(one == data[0] for one in data)
        assert plan.point(start, "ddco")[1].config.collisions.buildup == "quench"
    assert len({plan.folder(*run) for run in plan.runs("results")}) == 20
    with pytest.raises(ConfigError, match="fig7 has none of these; it has ddco"):
        reproduce_paper.Plan(tmp_path, columns=("landau",)).draw("fig7")


@pytest.mark.slow
def test_a_figure_beside_md_and_its_numbers(tmp_path, monkeypatch):
    """What is complete is not run again; all panels share their colours; the numbers are those of `ddco compare`."""
    called, drawn = [], []

    def call(processes, words):
        called.append(words[0])
        ddco_here(*words, cwd=tmp_path)
        return 0, ""

    monkeypatch.setattr(sweep._Processes, "call", call)
    monkeypatch.setattr(reproduce_paper, "save", lambda drawing, *_: drawn.append(drawing) or [])
    plan = reproduce_paper.Plan(tmp_path, columns=("dd-landau",), settings=TINY)
    plan.draw("figC8")
    plan.complete(plan.runs("figC8"))
    assert called == ["run"] and len(drawn) == 1
    folder, md = plan.folder(START, "dd-landau"), reproduce_paper.slab(START)
    images = [axis.get_images()[0] for axis in drawn[0].figure.axes if axis.get_images()]
    upper = [one for one in images if one.get_clim()[0] == 0]
    lower = [one for one in images if one not in upper]
    assert len(upper) == 8 and len(lower) == 4
    assert len({one.get_clim() for one in upper}) == len({one.get_clim() for one in lower}) == 1
    f = columns.Columns.of(md, {"dd-landau": folder}).plane(0.4, 5)
    expected = 100 * (f[1] - f[0]) / f[0].max()
    np.testing.assert_allclose(np.asarray(lower[1].get_array()), expected.T)
    rows = {(round(r["time"], 6), r["cell"], r["quantity"]): r for r in compare.compare(folder, md)}
    texts = [text.get_text() for axis in drawn[0].figure.axes for text in axis.texts]
    assert f"{100 * rows[0.4, 5, 'f_vxvy']['excess']:.1f} %" in texts

    found = paper.measure(folder, md, reproduce_paper.CELLS, reproduce_paper.TIMES)
    excess = [rows[0.8, cell, "f_vxvy"]["excess"] for cell in range(20)]
    stored = paper_page.value(found["errors"], 0.8, "f_vxvy")
    assert stored == pytest.approx(np.mean(np.square(excess)) ** 0.5, abs=1e-6)
    md_left = {row["cell"]: row["md"] for row in found["departure"] if row["time"] == 0.8}
    assert 0 < md_left[15] < 0.8 * md_left[5] < 0.8  # the coldest cell relaxes fastest
    assert paper.difference(folder, folder, md)[-1]["difference"] == 0
    gap = paper.gap(md, reproduce_paper.slab(START, "ii"))
    assert gap[0]["gap"] < 0.01 < gap[-1]["gap"] < 0.2
    table = paper_page.errors({f"{START}/dd-landau": found})
    assert table.count("not run") == 6 * 19
    plt.close("all")


def test_entropies_and_conservation_share_their_units(tmp_path, monkeypatch):
    """A slow growth beside a fast one is drawn in the unit of the fast one; mass and energy in units of rounding."""
    t = np.linspace(0, 0.8, 9)

    def history(folder):
        rate = float(folder.name)
        names = {"entropy": 3 + rate * t, "mass": 1 + 1e-15 * t, "total_energy": 2 - 4e-15 * t, "kinetic_energy": 2 + t}
        data = {name: ("t", values) for name, values in names.items()}
        return xr.Dataset(data | {"momentum": (("t", "axis"), np.outer(t, [1e-15, 0, 0]))}, {"t": t}), Units(
            PAPER, False
        )

    monkeypatch.setattr(series, "_history", history)
    left, right = series.entropy({"bimaxwellian": tmp_path / "1", "local_maxwellian": tmp_path / "1e-4"}).figure.axes
    fast, slow = (line.get_ydata() for line in right.lines)
    np.testing.assert_allclose(fast, 1e4 * slow)
    assert [line.get_label() for line in left.lines] == ["bi-Maxwellian", "local Maxwellian"]
    axes = series.conservation({("bimaxwellian", "ddco"): tmp_path / "1"}).figure.axes
    mass, energy = (line.get_ydata()[-1] for line in axes[0].lines)
    assert energy / mass == pytest.approx(-2, abs=0.6)
    assert axes[1].lines[0].get_ydata()[-1] == pytest.approx(0.8 / 2, rel=1e-6)
    plt.close("all")


def test_planes_of_runs_and_md_have_the_same_axes():
    """The bi-Maxwellian of the start, colder along vx, on the solver's points is the MD at t = 0."""
    md = reproduce_paper.slab("bimaxwellian").isel(t=[0])
    v, T = np.linspace(-3, 3, 61), md["temperature_axis"].mean("replicate")[0].to_numpy()
    along, across = (np.exp(-(v**2) / (2 * T[:, k, None])) / np.sqrt(2 * np.pi * T[:, k, None]) for k in (0, 1))
    fields = {"f_vxvy": (("t", "x", "vx", "vy"), (along[:, :, None] * across[:, None])[None])}
    fields["f_vx"] = (("t", "x", "vx"), along[None])
    run = xr.Dataset(fields, {"t": [0.0], "x": np.arange(20) + 0.5, "vx": v, "vy": v})
    found = columns.Columns(md, [run], ["ddco"], [{}], 2, Units(PAPER, False))
    for measured, model in (found.plane(0.0, 5), found.strip(0.0)):
        assert measured.shape == model.shape
        assert np.max(np.abs(model - measured)) < 0.04 * np.max(measured)
