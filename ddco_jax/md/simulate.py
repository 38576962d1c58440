"""`ddco md`: equilibrate, draw velocities, integrate, measure; after a kill a run resumes where it stopped."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from ddco_jax.md import correlations, dataset, dump, lammps
from ddco_jax.md.config import MDConfig, NamedKick, StretchKick
from ddco_jax.md.equilibrate import equilibrate, load_configuration
from ddco_jax.md.statistics import EXTENT, Bins, Statistics, cell_of
from ddco_jax.plasma import ocp, particles
from ddco_jax.plasma.files import complete, write_text
from ddco_jax.plasma.lock import locked
from ddco_jax.settings import ConfigError

RATE = 4e5
"""Particle-steps per second and core, for the estimate before a run."""
BYTES_PER_PARTICLE = 1500
"""Least memory of a run: test functions of two snapshots (860), positions and velocities here (240), LAMMPS (400)."""
KEPT = "trajectory"
"""Subfolder of the work folder that holds the snapshots for `trajectory` during the run."""


def simulate(
    config: MDConfig, out: Path, *, trajectory: Path | None = None, progress: bool | None = None
) -> xr.Dataset:
    """Run a config and write its dataset to `out`.  Raises ConfigError, RunFailed, FolderInUse.

    Work in progress lives in `out` + ".work"; calling again after a kill resumes from it.  With `trajectory`, a new
    folder, the snapshots of each replicate are kept there as binary LAMMPS dumps.
    """
    with locked(work_folder(out)):
        return _simulate(config, out, trajectory, sys.stderr.isatty() if progress is None else progress)


def work_folder(out: Path) -> Path:
    """The folder of the work in progress for a dataset."""
    return out.with_name(out.name + ".work")


def _simulate(config: MDConfig, out: Path, trajectory: Path | None, show: bool) -> xr.Dataset:
    if out.exists():
        raise ConfigError(f"--out {out}: the file exists; choose another")
    if trajectory is not None and config.correlations is not None:
        raise ConfigError("--trajectory: a run with [correlations] keeps no snapshots; leave it out")
    if trajectory is not None and trajectory.exists():
        raise ConfigError(f"--trajectory {trajectory}: the folder exists; choose another")
    lammps.program()
    config.system()
    _refuse_memory(config)
    work = _claim(config, out)
    if config.correlations is not None:
        result = _blocks(config, work, show)
    else:
        parts = [_replicate(config, work, r, show, trajectory is not None) for r in range(config.replicates)]
        drift = float(np.mean([p.attrs["energy_drift"] for p in parts]))
        result = dataset.combine(parts, _attributes(config, drift))
    dataset.write(result, out)
    if trajectory is not None:
        shutil.move(work / KEPT, trajectory)
    shutil.rmtree(work)
    return result


def estimate(config: MDConfig) -> str:
    """Particles, coupling, step, run time, memory and disk space of a run, in one line.

    How fast the user's own command for LAMMPS is (`lammps.given`) is not known: the time is in core hours then.
    """
    n = config.box.particles
    equilibration = 0 if config.equilibrate.file else config.equilibrate.time_ps
    step = config.steps_per(config.interval(config.time.snapshot_ps))[1]
    seconds = n * config.interval(equilibration + config.replicates * config.time.duration_ps) / step
    seconds /= RATE
    if lammps.given():
        duration = f"{seconds / 3600:.1f} core hours of CPUs"
    else:
        duration = f"{seconds / config.processes / 60:.1f} min"
    snapshots = config.time.duration_ps / config.time.snapshot_ps + 1
    disk = 0 if config.correlations else n * 64 * snapshots
    return (
        f"N = {n:,}, Gamma = {config.coupling_parameter:.3g}, step {step:.3g} t0: "
        f"about {duration}, {n * BYTES_PER_PARTICLE / 2**30:.2f} GiB of memory, "
        f"{disk / 2**30:.2f} GiB of disk while it runs"
    )


def _refuse_memory(config: MDConfig) -> None:
    """Raise ConfigError where the particles need more memory than the machine has."""
    needed = config.box.particles * BYTES_PER_PARTICLE
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        sizes = f"at least {needed / 2**30:.0f} GiB of memory, this machine has {present / 2**30:.0f} GiB"
        raise ConfigError(f"box.particles: {config.box.particles:,} need {sizes}; choose fewer")


def _claim(config: MDConfig, out: Path) -> Path:
    work = work_folder(out)
    settings = work / "config.json"
    text = config.model_dump_json(exclude={"processes", "description"})
    if settings.exists() and settings.read_text() != text:
        raise ConfigError(f"{work} holds an unfinished run of another config; delete it or choose another --out")
    write_text(settings, text)
    return work


def _attributes(config: MDConfig, energy_drift: float) -> dict:
    return dataset.metadata(
        config.published(),
        density=config.density,
        number_density=config.number_density,
        temperature=config.temperature,
        coupling_parameter=config.coupling_parameter,
        plasma_frequency=config.plasma_frequency,
        length=config.lengths[0],
        transverse_length=config.lengths[1],
        particles=config.box.particles,
        start=config.start.kind,
        seed=config.seed,
        time_step=config.steps_per(config.interval(config.time.snapshot_ps))[1],
        cutoff=config.system().force.cutoff,
        pppm_accuracy=config.forces.accuracy,
        pppm_order=config.forces.order,
        bin_width=_bins(config).width,
        energy_drift=energy_drift,
        versions=lammps.python_versions(),
    )


def _configuration(config: MDConfig, work: Path, r: int, show: bool) -> dump.Frame:
    """Equilibrated positions and velocities; for a stored configuration the velocities are drawn from a Maxwellian."""
    if config.equilibrate.file is None:
        which = 0 if config.equilibrate.shared else r
        return equilibrate(config, work / f"equilibrate_{which}", which, show)
    x = load_configuration(config, Path(config.equilibrate.file))
    v = particles.maxwellian(np.random.default_rng([config.seed, 3]), len(x))
    v *= np.sqrt(config.temperature_at(x[:, 0]))[:, None]
    box = np.column_stack([np.zeros(3), config.lengths])
    return dump.Frame(0, box, dump.COLUMNS[1:], np.column_stack([x, v]))


def start_velocities(config: MDConfig, x: np.ndarray, replicate: int, draw: int = 0) -> np.ndarray:
    """Velocities (N, 3), V0, of a draw: zero drift and exact kinetic energy in every cell."""
    sampler = config.sampler() or particles.maxwellian
    rng = np.random.default_rng([config.seed, 1, replicate, *[draw] * bool(draw)])
    cells = config.box.cells
    cell = cell_of(x, config.lengths[0], cells)
    c = particles.exact(sampler(rng, len(x)), cell, cells)
    return c * np.sqrt(config.temperature_at(x))[:, None]


def _bins(config: MDConfig) -> Bins:
    scale = config.scales.velocity
    hottest = config.temperature + abs(config.scales.temperature_from_ev(config.plasma.temperature_modulation_eV))
    anisotropy = getattr(config.start, "anisotropy", 1.0)
    widest = np.sqrt(hottest * 3 * max(anisotropy, 1.0) / (anisotropy + 2))
    extent = EXTENT * widest if config.statistics.extent_m_s is None else config.statistics.extent_m_s / scale
    return Bins.cover(config.statistics.bin_m_s / scale, extent)


def _replicate(config: MDConfig, work: Path, r: int, show: bool, keep: bool) -> xr.Dataset:
    """One velocity draw, integrated and measured; read from disk where it was finished before a kill."""
    product, folder = work / f"replicate_{r}.nc", work / f"replicate_{r}"
    if product.exists():
        with xr.open_dataset(product, engine="netcdf4") as done:
            return done.load()
    system = config.system()
    every, dt = config.steps_per(config.interval(config.time.snapshot_ps))
    last = every * max(1, round(config.interval(config.time.duration_ps) / (every * dt)))
    if not (folder / "frame.0.bin").exists():
        frame = _configuration(config, work, r, show)
        velocities = frame.velocities
        if config.start.kind != "equilibrium":
            velocities = start_velocities(config, frame["x"], r)
        with complete(folder / "frame.0.bin") as partial:
            dump.write_frame(partial, 0, system.lengths, frame.positions, velocities)
    frames = _trajectory(config, folder, r, last, dt, every, show)
    result = _measure(config, frames, r, dt, every)
    rows = _thermo(folder)
    energy = np.interp(np.arange(0, last + 1, every), rows[:, 0], rows[:, 3]) / system.particles
    result["total_energy"] = ("t", energy, {"units": dataset.UNITS["total_energy"]})
    per_ten = 10 / (config.plasma_frequency * last * dt)
    result.attrs["energy_drift"] = float((energy[-1] - energy[0]) / config.temperature * per_ten)
    if "potential_energy" not in result:
        potential = np.interp(np.arange(0, last + 1, every), rows[:, 0], rows[:, 1]) / system.particles
        attrs = {"units": dataset.UNITS["potential_energy"]}
        result["potential_energy"] = (("t", "x"), potential[:, None], attrs)
    if keep:
        target = work / KEPT / f"replicate_{r}"
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("frame.*.bin"):
            path.replace(target / f"{int(path.name.split('.')[1]):08d}.bin")
    if config.replicates > 1:  # a finished replicate survives a kill; a single one is written directly in final form
        with complete(product) as partial:
            result.to_netcdf(partial, engine="netcdf4", encoding=dataset.checksums(result))
        shutil.rmtree(folder)
    return result


def _trajectory(
    config: MDConfig, folder: Path, r: int, last: int, dt: float, every: int, show: bool
) -> Iterator[dump.Frame]:
    """All snapshots of a replicate, from the start to the step `last`."""
    name = f"run {r + 1}/{config.replicates}"
    if config.kick is None:
        yield from _integrate(config, folder, 0, last, dt, every, show, name)
        return
    kick = every * round(config.kick.time_ps / config.time.snapshot_ps)
    for frame in _integrate(config, folder, 0, kick, dt, every, show, name):
        if frame.step < kick:
            yield frame
    start = folder / f"start.{kick}.bin"
    if not start.exists():
        before = _stored(folder / f"frame.{kick}.bin")
        assert before is not None
        velocities = kicked_velocities(config, config.kick, before["x"], before.velocities, r)
        with complete(start) as partial:
            dump.write_frame(partial, kick, config.system().lengths, before.positions, velocities)
    yield from _integrate(config, folder, kick, last, dt, every, show, name)


def kicked_velocities(
    config: MDConfig, kick: StretchKick | NamedKick, x: np.ndarray, v: np.ndarray, replicate: int
) -> np.ndarray:
    """Velocities (N, 3), V0, after a kick at positions x (N,), L0.

    A stretch keeps the drift and the temperature of every cell, a swap exchanges vx and vy of all particles, drift
    included, and a redraw sets drift and temperature to those of the start.
    """
    if isinstance(kick, StretchKick):
        cells = config.box.cells
        cell = cell_of(x, config.lengths[0], cells)
        count = np.bincount(cell, minlength=cells)
        mean = np.stack([np.bincount(cell, v[:, a], cells) for a in range(3)], axis=1) / count[:, None]
        c = v - mean[cell]
        temperature = np.bincount(cell, np.einsum("na,na->n", c, c), cells) / (3 * count)
        stretched = particles.exact(c * [kick.factor**0.5, 1, 1], cell, cells)
        return mean[cell] + stretched * np.sqrt(temperature)[cell, None]
    if kick.kind == "swap":
        return v[:, [1, 0, 2]]
    return start_velocities(config, x, replicate, draw=1)


def _integrate(
    config: MDConfig, folder: Path, begin: int, last: int, dt: float, every: int, show: bool, name: str
) -> Iterator[dump.Frame]:
    """The snapshots of a run from the step `begin` on; those stored before a kill are read back first."""
    first = begin - every
    while first < last and _stored(folder / f"frame.{first + every}.bin") is not None:
        first += every
    start = folder / f"start.{max(first, begin)}.bin"
    if first < begin:  # killed while LAMMPS wrote the first snapshot over the one it had read
        shutil.copyfile(start, folder / f"frame.{begin}.bin")
        first = begin
    for step in range(begin, first + 1 if first > begin else begin, every):
        frame = _stored(folder / f"frame.{step}.bin")
        assert frame is not None
        yield frame
    if first >= last:
        return
    columns, fixes = "id x y z vx vy vz", tuple[str, ...]()
    if config.box.cells > 1:
        columns, fixes = columns + " c_energy", ("compute energy all pe/atom",)
    if not start.exists():
        with complete(start) as partial:
            shutil.copyfile(folder / f"frame.{first}.bin", partial)
    for stale in folder.glob("frame.*.bin"):
        if int(stale.name.split(".")[1]) > first:
            stale.unlink()
    if (folder / lammps.LOG).exists():
        (folder / lammps.LOG).replace(folder / f"{lammps.LOG}.before.{first}")
    segment = lammps.Segment(config.system(), start, first, last - first, dt, every, columns, fixes)
    with tqdm(total=last, initial=first, unit="step", desc=name, disable=not show) as bar:
        for frame in lammps.run(segment, folder, lambda s: bar.update(s - bar.n)):
            if frame.step > first or first == begin:
                yield frame


def _stored(path: Path) -> dump.Frame | None:
    return dump.read_frame(path) if path.exists() else None


def _thermo(folder: Path) -> np.ndarray:
    """Rows (step, potential, kinetic, total energy) of all LAMMPS processes of a run, one per step, in order."""
    logs = sorted(folder.glob(f"{lammps.LOG}.before.*"), key=lambda p: int(p.name.split(".")[-1]))
    table = np.concatenate([lammps.thermo(log) for log in [*logs, folder / lammps.LOG] if log.exists()])
    _, first = np.unique(table[:, 0], return_index=True)
    return table[first]


def _measure(config: MDConfig, frames: Iterator[dump.Frame], r: int, dt: float, every: int) -> xr.Dataset:
    s = config.statistics
    n, cells = config.box.particles, config.box.cells
    x = (np.arange(cells) + 0.5) * config.lengths[0] / cells
    thermal_speed = np.sqrt(config.temperature_at(x))
    bins = _bins(config)
    measure = Statistics(config.lengths[0], config.density, thermal_speed, bins)
    rng = np.random.default_rng([config.seed, 2, r])
    subset = np.sort(rng.choice(n, min(s.particles_kept, n), replace=False))
    rows: list[dict] = []
    times: list[float] = []
    kept: list[tuple[float, np.ndarray, np.ndarray]] = []
    for frame in frames:
        energy = frame["c_energy"] if "c_energy" in frame.columns else None
        rows.append(measure(frame["x"], frame.velocities, energy))
        times.append(frame.step * dt)
        if len(subset) and frame.step % (every * s.kept_every) == 0:
            kept.append((frame.step * dt, frame["x"][subset], frame.velocities[subset]))
    return dataset.replicate_dataset(
        rows,
        np.array(times),
        length=config.lengths[0],
        thermal_speed=thermal_speed,
        bins=bins,
        kept=tuple(np.stack(part) for part in zip(*kept, strict=True)) if kept else None,  # type: ignore[arg-type]
    )


def _blocks(config: MDConfig, work: Path, show: bool) -> xr.Dataset:
    """Blocks of an equilibrium trajectory, one LAMMPS process each, reduced to correlation functions."""
    assert config.correlations is not None
    system, c = config.system(), config.correlations
    every, dt = config.steps_per(config.interval(c.sample_ps))
    excess = float(ocp.excess_energy(config.coupling_parameter))
    plan = correlations.Plan(
        system,
        every,
        dt,
        frames=max(2, round(config.interval(c.block_ps) / (every * dt))),
        lags=max(1, round(config.interval(c.lag_ps) / (every * dt))),
        blocks=max(1, round(config.time.duration_ps / c.block_ps)),
        temperature=config.temperature,
        total_energy=(1.5 + excess) * config.temperature,
    )

    def state() -> tuple[np.ndarray, np.ndarray]:
        frame = _configuration(config, work, 0, show)
        # the mean energy of the ensemble at T; with that of this configuration T would deviate by 1/sqrt(N)
        potential = frame["c_energy"].mean() if "c_energy" in frame.columns else excess * config.temperature
        return frame.positions, correlations.with_energy(frame.velocities, plan.total_energy - float(potential))

    parts = correlations.run_blocks(plan, work, state, show)
    block_length = plan.frames * plan.interval
    result = correlations.assemble(parts, plan.lags, plan.interval, block_length)
    gained = (result["energy"].isel(end=1) - result["energy"].isel(end=0)).mean()
    drift = float(gained) / config.temperature * 10 / (config.plasma_frequency * block_length)
    result.attrs |= {"format": correlations.FORMAT, **_attributes(config, drift)}
    return result
