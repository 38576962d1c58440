"""Equilibration before the start: a Langevin thermostat, checked by the potential energy; stored configurations."""

from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from ddco_jax.md import dataset, dump, lammps
from ddco_jax.md.config import MDConfig
from ddco_jax.md.statistics import cell_of
from ddco_jax.plasma import ocp, particles
from ddco_jax.plasma.files import complete
from ddco_jax.settings import ConfigError, RunFailed

EQUILIBRATED = 0.02
"""Largest accepted relative deviation of the potential energy from its equilibrium value u_ex."""
EQUILIBRATED_ABSOLUTE = 0.003
"""The same per particle in kT, for weak coupling, where u_ex is small."""
PROFILE_CELLS = 20
"""Cells in which a slab's potential energy is checked."""
HARMONICS = 8
"""Fourier harmonics of the force that holds a slab's density uniform."""
CONFIGURATION_QUANTUM = 0.005
"""Rounding of stored positions in units of n^(-1/3): shifts the energy by 1e-5 kT at most."""


def equilibrate(config: MDConfig, folder: Path, replicate: int = 0, show: bool = False) -> dump.Frame:
    """Positions and velocities in equilibrium at T, or T(x), from a run until the potential energy is in equilibrium.

    Raises RunFailed where the potential energy does not reach its equilibrium value within equilibrate.limit_ps.
    """
    done = folder / "equilibrated.bin"
    if done.exists():
        frame = dump.read_frame(done)
        assert frame is not None
        return frame
    system = config.system()
    e = config.equilibrate
    dt = config.longest_step if e.step_ps is None else config.interval(e.step_ps)
    steps = int(np.ceil(config.interval(e.time_ps) / dt))
    limit = int(np.ceil(config.interval(e.limit_ps) / dt))
    every = max(1, steps // 20)
    frame, step = _latest(folder), 0
    if frame is None:
        rng = np.random.default_rng([config.seed, 0, replicate])
        x = particles.lattice(rng, system.particles, np.array(system.lengths))
        v = particles.maxwellian(rng, len(x)) * np.sqrt(_thermostat_temperature(config, x[:, 0]))[:, None]
        folder.mkdir(parents=True, exist_ok=True)
        dump.write_frame(folder / "frame.0.bin", 0, system.lengths, x, v)
    else:
        step = frame.step
    with tqdm(total=steps, initial=step, unit="step", desc="equilibrate", disable=not show) as bar:
        while True:
            target = step + every * int(np.ceil(max(steps - step, every) / every))
            start = folder / f"start.{step}.bin"
            (folder / f"frame.{step}.bin").replace(start)
            segment = lammps.Segment(
                system,
                start,
                step,
                target - step,
                dt,
                every,
                "id x y z vx vy vz c_energy",
                _thermostat(config, step, replicate),
            )
            energies = []
            for frame in lammps.run(segment, folder, lambda s: bar.update(s - bar.n)):
                if frame.step > target - max(steps // 5, 1):
                    energies.append(_excess_profile(config, frame))
                for old in folder.glob("frame.*.bin"):
                    if int(old.name.split(".")[1]) < frame.step:
                        old.unlink()
            start.unlink()
            step = target
            reached, message = _judge(config, np.mean(energies, axis=0))
            if reached:
                break
            if step >= limit:
                raise RunFailed(f"not in equilibrium after {e.limit_ps} ps: {message}; raise equilibrate.limit_ps")
    (folder / f"frame.{step}.bin").replace(done)
    frame = dump.read_frame(done)
    assert frame is not None
    return frame


def _latest(folder: Path) -> dump.Frame | None:
    """The last complete snapshot of an interrupted segment."""
    for path in sorted(folder.glob("*.bin"), key=lambda p: int(p.name.split(".")[1]), reverse=True):
        frame = dump.read_frame(path)
        if frame is not None:
            path.replace(folder / f"frame.{frame.step}.bin")
            return frame
    return None


def _thermostat_temperature(config: MDConfig, x: np.ndarray) -> np.ndarray:
    local = config.equilibrate.temperature == "local"
    return config.temperature_at(x) if local else np.full(np.shape(x), config.temperature)


def _thermostat(config: MDConfig, step: int, replicate: int) -> tuple[str, ...]:
    """LAMMPS commands: Langevin thermostat at T or T(x); the force (1/n) dp/dx keeps the density of a slab uniform."""
    e, seed = config.equilibrate, (config.seed * 7919 + replicate * 104_729 + step) % 900_000_000 + 1
    damping = config.interval(e.damping_ps)
    lines = ["compute energy all pe/atom"]
    modulation = config.scales.temperature_from_ev(config.plasma.temperature_modulation_eV)
    if not modulation or e.temperature == "mean":
        T = config.temperature
        return (*lines, f"fix thermostat all langevin {T!r} {T!r} {damping!r} {seed} zero yes")
    length = config.lengths[0]
    k = 2 * np.pi / length
    x = np.arange(256) * length / 256
    gamma = config.scales.coupling_parameter(config.density, config.temperature_at(x))
    pressure = np.fft.rfft(config.temperature_at(x) * (1 + ocp.excess_pressure(gamma))) / 128
    terms = []
    for m in range(1, HARMONICS + 1):
        # p = Re sum_m p_m e^{imkx}, so dp/dx = -sum_m mk [Re p_m sin(mkx) + Im p_m cos(mkx)]
        terms.append(f"({-m * k * pressure[m].real:.12g})*sin({m * k:.15g}*x)")
        terms.append(f"({-m * k * pressure[m].imag:.12g})*cos({m * k:.15g}*x)")
    return (
        *lines,
        f'variable temperature atom "{config.temperature!r}+({modulation!r})*sin({k!r}*x)"',
        f'variable push atom "{"+".join(terms)}"',
        f"fix thermostat all langevin v_temperature 0.0 {damping!r} {seed} zero yes",
        "fix push all addforce v_push 0.0 0.0",
    )


def _excess_profile(config: MDConfig, frame: dump.Frame) -> np.ndarray:
    """Potential energy per particle (cells,), m0 V0^2, by cell in a slab, else in one cell."""
    cells = PROFILE_CELLS if config.box.length_angstrom else 1
    index = cell_of(frame["x"], config.lengths[0], cells)
    count = np.maximum(np.bincount(index, minlength=cells), 1)
    return np.bincount(index, frame["c_energy"], cells) / count


def _judge(config: MDConfig, energy: np.ndarray) -> tuple[bool, str]:
    """Whether each cell has the equilibrium potential energy at the thermostat's temperature, and the worst cell."""
    x = (np.arange(len(energy)) + 0.5) * config.lengths[0] / len(energy)
    T = _thermostat_temperature(config, x)
    expected = ocp.excess_energy(config.scales.coupling_parameter(config.density, T))
    error = np.abs(energy / T - expected)
    allowed = np.maximum(EQUILIBRATED * np.abs(expected), EQUILIBRATED_ABSOLUTE)
    worst = int(np.argmax(error / allowed))
    noise = (config.box.particles / len(energy)) ** -0.5  # three standard deviations of U/NkT in a cell of N
    reached = bool(np.all(error <= allowed + noise))
    return reached, f"U/NkT is {energy[worst] / T[worst]:.4f} instead of {expected[worst]:.4f} in cell {worst}"


def save_configuration(config: MDConfig, frame: dump.Frame, path: Path) -> None:
    """Store the equilibrated positions, rounded, sorted so that they compress; velocities are not kept."""
    quantum = CONFIGURATION_QUANTUM * config.number_density ** (-1 / 3)
    lengths = np.array(config.lengths)
    whole = np.floor(np.mod(frame.positions, lengths) / quantum).astype(np.uint32)
    block = whole // 256
    order = np.lexsort((block[:, 0], block[:, 2], block[:, 1]))
    data = xr.Dataset(
        {"position": (("particle", "axis"), whole[order])},
        attrs=dataset.metadata(
            config.published(),
            format="ddco_jax MD configuration, version 1",
            quantum=quantum,
            lengths=list(config.lengths),
            coupling_parameter=config.coupling_parameter,
            versions=lammps.python_versions(),
        ),
    )
    encoding = {
        "position": {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": (len(whole), 1), "fletcher32": True}
    }
    with complete(path) as partial:
        data.to_netcdf(partial, engine="netcdf4", encoding=encoding)


def load_configuration(config: MDConfig, path: Path) -> np.ndarray:
    """Positions (N, 3), L0, of a stored configuration.  Raises ConfigError where it does not fit the box.

    Each position is drawn at random within its quantum, the same at every call.  On a lattice of quanta, cells whose
    width is not a multiple of the quantum would hold too many or too few particles at t = 0.
    """
    try:
        with xr.open_dataset(path, engine="netcdf4") as data:
            position, quantum = data["position"].to_numpy(), data.attrs["quantum"]
            lengths = np.asarray(data.attrs["lengths"])
    except (OSError, ValueError, KeyError, RuntimeError):
        raise ConfigError(
            f"equilibrate.file: cannot read a configuration from {path}; leave it out to equilibrate anew"
        ) from None
    if len(position) != config.box.particles or not np.allclose(lengths, config.lengths, rtol=1e-9):
        raise ConfigError(
            f"equilibrate.file: {path} holds {len(position)} particles in a box of {lengths.round(3)} L0, "
            f"the config needs {config.box.particles} in {np.round(config.lengths, 3)}; change [box] or leave it out"
        )
    return (position + np.random.default_rng(0).random(position.shape)) * quantum
