"""Figures of a run, like the paper's Figs. 2-7."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ddco_jax.simulation.recovery import require_whole
from ddco_jax.simulation.results import open_result

STYLE: Any = {
    "figure.dpi": 150,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}
CMAP = "viridis"
ROUNDINGS = 64
"""Change of the entropy, in units of its last place, that counts as rounding: it is a sum over all points."""


def plot_run(folder: Path) -> list[Path]:
    """Write all figures of the run in `folder` as PNG to its `figures`.

    Raises FileNotFoundError without a run, or where it has no snapshot yet.
    """
    result = open_result(folder)
    require_whole(folder)
    history = result["history"].to_dataset().load()
    snapshots = result["snapshots"].to_dataset().load()
    if not snapshots.sizes["t"]:
        raise FileNotFoundError(f"{folder} holds no snapshot yet; wait for the run, or `ddco resume` it")
    out = Path(folder) / "figures"
    out.mkdir(exist_ok=True)
    title = json.loads(result.attrs["config"])["description"] or result.attrs["name"]
    paths = []
    with plt.rc_context(STYLE):
        drawings = {
            "conservation": _conservation(history),
            "entropy": entropy_figure(history),
            "vx_vy": _vx_vy(snapshots),
            "marginal": _marginals(snapshots),
        }
        if snapshots.sizes["x"] > 1:
            drawings |= {"x_vx": _x_vx(snapshots), "profiles": _profiles(snapshots)}
        for name, figure in drawings.items():
            figure.suptitle(title, fontsize=8, parse_math=False)
            path = out / f"{name}.png"
            figure.savefig(path, bbox_inches="tight")
            plt.close(figure)
            paths.append(path)
    return paths


def _times(snapshots: xr.Dataset, count: int) -> list[int]:
    """Indices of evenly spaced snapshots, the first and the last included."""
    n = snapshots.sizes["t"]
    return sorted({round(i) for i in np.linspace(0, n - 1, min(count, n))})


def _cells(snapshots: xr.Dataset) -> list[int]:
    """The hottest, a middle and the coldest cell of the start (the paper shows cells 5, 10, 15)."""
    order = np.argsort(snapshots["temperature"].isel(t=0).to_numpy())
    return list(dict.fromkeys(int(order[i]) for i in (-1, len(order) // 2, 0)))


def _conservation(history: xr.Dataset) -> Figure:
    """Fig. 6: errors of mass, momentum and energy."""
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.3), layout="constrained")
    t = history["t"]
    for name, label in (("mass", "M"), ("total_energy", "E")):
        values = history[name]
        axes[0].plot(t, (values - values[0]) / values[0], label=label)
    axes[0].set_title("relative error")
    scale = np.sqrt(2 * history["kinetic_energy"][0] * history["mass"][0])
    for k, axis in enumerate("xyz"):
        momentum = history["momentum"][:, k]
        axes[1].plot(t, (momentum - momentum[0]) / scale, label=f"$P_{axis}$")
    axes[1].set_title(r"change of momentum / $\sqrt{2 M E_K}$")
    axes[2].plot(t, history["field_energy"], color="C3")
    axes[2].set_title("field energy")
    for axis in axes[:2]:
        axis.legend()
    for axis in axes:
        axis.set_xlabel("$t/t_0$")
        axis.axhline(0, color="0.8", lw=0.6, zorder=0)
    return figure


def entropy_figure(history: xr.Dataset) -> Figure:
    """Fig. 7: the growth of entropy since t = 0, and per recorded step."""
    figure, axes = plt.subplots(1, 2, figsize=(5.2, 2.3), layout="constrained")
    t, entropy = history["t"].to_numpy(), history["entropy"].to_numpy()
    axes[0].plot(t, entropy - entropy[0])
    axes[0].set_title("$S(t) - S(0)$")
    gain = np.diff(entropy)
    axes[1].plot(t[1:], gain)
    axes[1].set_title("entropy gained per record")
    rounding = ROUNDINGS * np.finfo(entropy.dtype).eps * np.max(np.abs(entropy))
    if gain.size and np.all(gain > rounding):
        axes[1].set_yscale("log")
        axes[1].set_ylim(bottom=np.min(gain) / 3)
    elif np.max(np.abs(gain), initial=0) > rounding:  # logarithmic beyond rounding, linear within
        axes[1].set_yscale("symlog", linthresh=rounding)
    for axis in axes:
        axis.set_xlabel("$t/t_0$")
    return figure


def _vx_vy(snapshots: xr.Dataset) -> Figure:
    """Figs. 2 and 3: f on the vx-vy plane, by cell and time."""
    times, cells = _times(snapshots, 3), _cells(snapshots)
    shown = snapshots["f_vxvy"].isel(t=times, x=cells)
    visible = shown > 3e-3 * shown.max(("vx", "vy"))
    reach = [
        float(abs(snapshots[v]).where(visible.any([d for d in visible.dims if d != v])).max()) for v in ("vx", "vy")
    ]
    figure, axes = plt.subplots(
        len(times), len(cells), figsize=(2.3 * len(cells) + 0.6, 2.1 * len(times)), squeeze=False, layout="constrained"
    )
    for column, cell in enumerate(cells):
        for row, i in enumerate(times):
            axis, data = axes[row, column], snapshots["f_vxvy"].isel(t=i, x=cell)
            mesh = axis.pcolormesh(snapshots["vx"], snapshots["vy"], data.T, cmap=CMAP, rasterized=True)
            axis.set_aspect("equal")
            axis.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
            axis.set_title(f"cell {cell}, $t$ = {float(snapshots['t'][i]):.2f} $t_0$")
            figure.colorbar(mesh, ax=axis, shrink=0.8)
            axis.set_xlabel("$v_x/V_0$")
            axis.set_ylabel("$v_y/V_0$")
    return figure


def _x_vx(snapshots: xr.Dataset) -> Figure:
    """Figs. 4 and 5: f on the x-vx plane."""
    times = _times(snapshots, 3)
    figure, axes = plt.subplots(1, len(times), figsize=(2.6 * len(times), 2.3), squeeze=False, layout="constrained")
    for axis, i in zip(axes[0], times, strict=True):
        mesh = axis.pcolormesh(
            snapshots["x"], snapshots["vx"], snapshots["f_vx"].isel(t=i).T, cmap=CMAP, rasterized=True
        )
        axis.set_title(f"$t$ = {float(snapshots['t'][i]):.2f} $t_0$")
        axis.set_xlabel("$x/L_0$")
        axis.set_ylabel("$v_x/V_0$")
        figure.colorbar(mesh, ax=axis, shrink=0.8)
    return figure


def _marginals(snapshots: xr.Dataset) -> Figure:
    """f(vx) of three cells over time, with the Maxwellian of the last state."""
    cells = _cells(snapshots)
    figure, axes = plt.subplots(1, len(cells), figsize=(2.5 * len(cells), 2.3), squeeze=False, layout="constrained")
    vx = snapshots["vx"].to_numpy()
    times = _times(snapshots, 5)
    for axis, cell in zip(axes[0], cells, strict=True):
        for k, i in enumerate(times):
            color = plt.get_cmap(CMAP)(k / max(1, len(times)))
            label = f"{float(snapshots['t'][i]):.2f} $t_0$"
            axis.plot(vx, snapshots["f_vx"].isel(t=i, x=cell), color=color, label=label)
        last = snapshots.isel(t=-1, x=cell)
        rho, u, T = (float(last[name]) for name in ("density", "drift_x", "temperature"))
        maxwellian = rho * np.exp(-((vx - u) ** 2) / (2 * T)) / np.sqrt(2 * np.pi * T)
        axis.plot(vx, maxwellian, "k:", lw=0.9, label="Maxwellian")
        axis.set_title(f"cell {cell}")
        axis.set_xlabel("$v_x/V_0$")
    axes[0, 0].set_ylabel("$f(v_x)$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=6)
    return figure


def _profiles(snapshots: xr.Dataset) -> Figure:
    """Density, drift, temperature and field along x."""
    names = {
        "density": r"$\rho/n_0$",
        "drift_x": r"$\bar v_x/V_0$",
        "temperature": "$(kT/m)/V_0^2$",
        "electric_field": "$E/E_0$",
    }
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.1), layout="constrained")
    times = _times(snapshots, 5)
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for k, i in enumerate(times):
            color = plt.get_cmap(CMAP)(k / max(1, len(times)))
            axis.plot(
                snapshots["x"], snapshots[name].isel(t=i), color=color, label=f"{float(snapshots['t'][i]):.2f} $t_0$"
            )
        axis.set_title(label)
        axis.set_xlabel("$x/L_0$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=6)
    return figure
