"""The learning data: measured rates of the test functions, and the pair averages that predict them for any kernel.

A `Run` holds one homogeneous MD run in thermal units and times omega_p t: the measured rates over the intervals between
snapshots, and the pair averages (`pairs`, `nodes`).  Their product with the node values of a kernel gives the kernel's
rates (`rates`).
"""

import copy
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from tqdm import tqdm

from ddco_jax.correlations.jumps import COLLISION_JUMP, NODES, RATIO
from ddco_jax.learning import jumps, nodes
from ddco_jax.learning.pairs import FIRST, microfield_averages, pair_averages
from ddco_jax.md.dataset import open_dataset
from ddco_jax.md.test_functions import TEST_FUNCTIONS, VERSION
from ddco_jax.plasma.files import complete
from ddco_jax.plasma.units import PAPER
from ddco_jax.settings import ConfigError

if TYPE_CHECKING:  # the type has no public name
    from hashlib import _Hash

EARLY, EVERY = 1.2, 2
"""Pair averages are made of every stored snapshot before EARLY (1/omega_p), while those of narrow beams curve in time,
and of every EVERY-th one after that."""
SIMPSON = ((0.0, 1 / 6), (0.5, 4 / 6), (1.0, 1 / 6))
"""Points and weights of Simpson's rule in an interval, within which the rate of a quench is not linear."""
CALIBRATION_STEPS = 50
SINGULAR = 1e-5
"""`calibrate` leaves out combinations of test functions whose variance is below this share of the largest."""
PLAUSIBLE = (1e-3, 200.0)
"""Range of accepted Gamma; values outside (a gas without correlations, a crystal) are taken for a mistake in units."""
PARTICLES_PER_FUNCTION = 20
"""Smallest number of stored particles per test function that the calibration needs."""
SIGNAL = 1.5
"""Smallest accepted mean square of rate over error; 1 would be noise alone."""
ANISOTROPY = TEST_FUNCTIONS.names.index("cx^2 cy^0 cz^0")
AXISYMMETRIC = ("bimaxwellian", "bump_on_tail", "cold_beam")
REFLECTED = ("bimaxwellian",)
CUBIC = ("uniform", "symmetric_double_well")
TETRAHEDRAL = ("four_beams",)
ISOTROPIC = ("maxwellian", "uniform_ball", "equilibrium")


class Run(NamedTuple):
    """The learning data of one MD run: T snapshots with pair averages, I intervals, K test functions."""

    name: str
    start: str
    gamma: float
    density: float
    temperature: float
    plasma_frequency: float
    averages: np.ndarray
    """(2, T, K, 3, nodes.COUNT): two independent `pair_averages`."""
    jumped: np.ndarray
    """The same after random velocity jumps of the particles with the ell^2 of collisions (`correlations.jumps`)."""
    microfield: np.ndarray
    """(T, 1 + NODES, near, K + 4, 5): `microfield_averages`."""
    interpolation: np.ndarray
    """(I, 3, T): weights of the snapshots at the Simpson points of each interval."""
    times: np.ndarray
    """(I, 3): omega_p t of the Simpson points."""
    rate: np.ndarray
    """(I, K): measured rates, per omega_p t."""
    error: np.ndarray
    """(I, K): standard errors of the rates."""
    anisotropy: np.ndarray
    """(I + 1,): (Tx - Tperp)/T at the snapshots."""
    anisotropy_error: np.ndarray
    """(I + 1,): its standard error."""
    jump: np.ndarray
    """(I, K'): J(k_1) - J(k) at the K' further k, v_th^2 (`jumps.measured`)."""
    jump_error: np.ndarray
    """(I, K'): its standard error, infinite where it was not measured."""
    jump_first: np.ndarray
    """(I,): J(k_1), v_th^2."""


def symmetrise(c: np.ndarray, start: str, rng: np.random.Generator) -> np.ndarray:
    """c (N, 3), each particle moved by a random symmetry operation of the start's distribution: less noise, no bias."""
    if start not in AXISYMMETRIC + CUBIC + TETRAHEDRAL + ISOTROPIC:
        return c
    if start in ISOTROPIC:
        direction = rng.standard_normal(c.shape)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        return direction * np.linalg.norm(c, axis=1, keepdims=True)
    if start in CUBIC + REFLECTED:
        c = c * rng.choice([-1.0, 1.0], c.shape)
    if start in TETRAHEDRAL:  # an even number of sign changes: an odd one turns the tetrahedron into its mirror image
        sign = rng.choice([-1.0, 1.0], c.shape)
        c = c * sign * sign.prod(1, keepdims=True)
    if start in CUBIC + TETRAHEDRAL:
        return np.take_along_axis(c, np.argsort(rng.random(c.shape), axis=1), axis=1)
    angle = rng.uniform(0, 2 * np.pi, len(c))
    across = np.hypot(c[:, 1], c[:, 2])
    return np.stack([c[:, 0], across * np.cos(angle), across * np.sin(angle)], axis=1)


def calibrate(c: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights (N,), mean 1, with which averages of the test functions over c (N, 3) equal those of all particles (K,).

    The weights are an exponential tilt, the smallest change in relative entropy that achieves this.  Averages of the
    test functions over the subset then have only the noise of the whole run.
    """
    psi = TEST_FUNCTIONS(c) - target
    z = psi / (psi.std(0) + 1e-12)
    variance, directions = np.linalg.eigh(z.T @ z / len(z))
    z = z @ directions[:, variance > SINGULAR * variance[-1]]
    tilt = np.zeros(z.shape[1])
    weight = np.full(len(z), 1 / len(z))
    for _ in range(CALIBRATION_STEPS):
        residual = weight @ z
        if np.abs(residual).max() < 1e-10:
            break
        hessian = (z * weight[:, None]).T @ z - np.outer(residual, residual)
        tilt -= np.linalg.solve(hessian, residual)
        exponent = z @ tilt
        weight = np.exp(exponent - exponent.max())
        weight /= weight.sum()
    return weight * len(z)


def load_run(path: Path, cache: Path | None = None, rounds: int = 6) -> Run:
    """The learning data of one file, with `rounds` pairings per snapshot and half; averages are stored in `cache`.

    Raises ConfigError where no kernel can be learned from the file.
    """
    data = open_dataset(path)
    _refuse(path, data)
    data = data.isel(replicate=0, x=0)
    omega, start = float(data.attrs["plasma_frequency"]), str(data.attrs["start"])
    data = thinned(data)
    kept = data["t_kept"].to_numpy() * omega
    edges = data["t"].to_numpy() * omega
    points = edges[:-1, None] + np.diff(edges)[:, None] * np.array([p for p, _ in SIMPSON])
    c = data["velocity"].to_numpy() / float(data["thermal_speed"])
    jump, jump_error, jump_first = jumps.measured(c, kept, edges)
    made = _Averages(path, data, rounds, cache)
    density, temperature, plasma_frequency = kernel_state(data.attrs)
    return Run(
        name=path.stem,
        start=start,
        gamma=float(data.attrs["coupling_parameter"]),
        density=density,
        temperature=temperature,
        plasma_frequency=plasma_frequency,
        averages=made.pairs(0.0),
        jumped=made.pairs(COLLISION_JUMP),
        microfield=made.microfield(),
        interpolation=_interpolation(kept, points),
        times=points,
        rate=data["psi_rate"].to_numpy() / omega,
        error=data["psi_rate_error"].to_numpy() / omega,
        jump=jump,
        jump_error=jump_error,
        jump_first=jump_first,
        **_anisotropy(data),
    )


def thinned(data: xr.Dataset) -> xr.Dataset:
    """The data with only those stored snapshots of which pair averages are made (EARLY, EVERY)."""
    early = data["t_kept"].to_numpy() * float(data.attrs["plasma_frequency"]) < EARLY
    last = max(int(early.sum()) - 1, 0)
    return data.isel(t_kept=[*range(last), *range(last, len(early), EVERY)])


def _interpolation(kept: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weights (*points.shape, T) of a cubic spline; its slope is zero at t = 0, where df/dt = 0 after a quench."""
    start = (1, np.zeros(len(kept))) if kept[0] == 0 else "not-a-knot"
    return CubicSpline(kept, np.eye(len(kept)), bc_type=(start, "not-a-knot"))(points)


def _anisotropy(data: xr.Dataset) -> dict[str, np.ndarray]:
    axis = data["temperature_axis"].to_numpy() / float(data.attrs["temperature"])
    # each T_a has the variance 2 T_a^2/N
    variance = (2 * axis[:, 0] ** 2 + (axis[:, 1] ** 2 + axis[:, 2] ** 2) / 2) / float(data.attrs["particles"])
    return {"anisotropy": axis[:, 0] - axis[:, 1:].mean(1), "anisotropy_error": variance**0.5}


def kernel_state(attributes: Mapping[str, Any]) -> tuple[float, float, float]:
    """Density (n0), kT/m (V0^2) and omega_p (1/t0) at which a kernel is evaluated for MD with these attributes.

    A kernel is learned in the units of App. D.  MD in other units, or of another species, has the state of equal Gamma.
    """
    names = ("density", "temperature", "plasma_frequency", "coupling_parameter")
    density, temperature, omega, gamma = (float(attributes[name]) for name in names)
    found = (PAPER.coupling_parameter(density, temperature), PAPER.plasma_frequency(density))
    if np.allclose(found, (gamma, omega), rtol=1e-6, atol=0):
        return density, temperature, omega
    return 1.0, float(PAPER.coupling_parameter(1.0, 1.0)) / gamma, float(PAPER.plasma_frequency(1.0))


def _refuse(path: Path, data: xr.Dataset) -> None:
    """Raise ConfigError for data that no kernel can be learned from, and say why."""
    if "psi_rate" not in data or "velocity" not in data:
        raise ConfigError(
            f"{path}: holds no rates of test functions or no velocities of particles; give a homogeneous run after a "
            "quench, whose particles have ids"
        )
    if data.attrs["test_functions_version"] != VERSION:
        raise ConfigError(f"{path}: its test functions are those of another version; make or import the file again")
    if data.sizes["x"] > 1:
        raise ConfigError(f"{path}: {data.sizes['x']} cells along x; give a homogeneous run, with one cell")
    gamma = float(data.attrs["coupling_parameter"])
    if not PLAUSIBLE[0] < gamma < PLAUSIBLE[1]:
        low, high = PLAUSIBLE
        raise ConfigError(
            f"{path}: Gamma = {gamma:.3g} is not within {low:g} ... {high:g}; check the units of the data"
        )
    for name in ("velocity", "psi", "psi_rate", "psi_rate_error"):
        if not np.isfinite(data[name].to_numpy()).all():
            raise ConfigError(f"{path}: {name} holds values that are not finite; make or import the file again")
    kept, needed = data.sizes["particle"], PARTICLES_PER_FUNCTION * len(TEST_FUNCTIONS)
    if kept < needed:
        raise ConfigError(
            f"{path}: {kept} stored particles are too few for {len(TEST_FUNCTIONS)} test functions; "
            f"set statistics.particles_kept to {needed} or more"
        )
    signal = float(np.mean((data["psi_rate"] / data["psi_rate_error"]).to_numpy() ** 2))
    if signal < SIGNAL:
        raise ConfigError(
            f"{path}: the rates are not above their noise; use more particles, or a start farther from equilibrium"
        )


def load_runs(
    paths: Sequence[Path],
    cache: Path | None,
    rounds: int = 6,
    progress: bool = False,
    gamma_range: tuple[float, float] | None = None,
) -> list[Run]:
    """The learning data of the files, or of those with Gamma in `gamma_range`.  Raises ConfigError if there is none."""
    if gamma_range is not None:
        paths = [
            p for p in paths if gamma_range[0] <= float(open_dataset(p).attrs["coupling_parameter"]) <= gamma_range[1]
        ]
    if not paths:
        raise ConfigError("data.gamma: no file of data.files is in this range; widen it")
    return [load_run(p, cache, rounds) for p in tqdm(paths, unit="run", desc="pair averages", disable=not progress)]


def snapshots(data: xr.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
    """For each stored snapshot: velocities (N, 3) in v_th, weights (N,), and a generator for further random draws."""
    thermal, times = float(data["thermal_speed"]), data["t"].to_numpy()
    for i, t in enumerate(data["t_kept"].to_numpy()):
        rng = np.random.default_rng([i, 17])
        c = symmetrise(data["velocity"].to_numpy()[i] / thermal, str(data.attrs["start"]), rng)
        yield c, calibrate(c, data["psi"].to_numpy()[int(np.argmin(np.abs(times - t)))]), rng


class _Averages:
    """Averages over the stored snapshots of one file, which is hashed once and calibrated once."""

    def __init__(self, path: Path, data: xr.Dataset, rounds: int, cache: Path | None) -> None:
        self.path, self.data, self.rounds, self.cache = path, data, rounds, cache

    def pairs(self, jump: float) -> np.ndarray:
        """Pair averages (2, T, K, 3, nodes.COUNT), after jumps with ell^2 = `jump` (v_th^2) where that is not 0."""

        def make() -> np.ndarray:
            # a copy of the generator, so that no array depends on which others were made before
            drawn = [(c, weight, copy.deepcopy(rng)) for c, weight, rng in self._snapshots]
            each = [pair_averages(c, weight, self.rounds, rng, jump) for c, weight, rng in drawn]
            return np.stack(each, axis=1).astype(np.float32)

        settings = (self.rounds, EARLY, EVERY, nodes.RELATIVE, nodes.PECULIAR)
        return self._kept("jumped-" if jump else "", (*settings, jump) if jump else settings, make)

    def microfield(self) -> np.ndarray:
        """`microfield_averages` of every snapshot."""

        def make() -> np.ndarray:
            return np.stack([microfield_averages(c, weight) for c, weight, _ in self._snapshots])

        return self._kept("microfield-", ("near", EARLY, EVERY, FIRST, NODES, RATIO, nodes.NEAR), make)

    @functools.cached_property
    def _snapshots(self) -> list[tuple[np.ndarray, np.ndarray, np.random.Generator]]:
        return list(snapshots(self.data))

    @functools.cached_property
    def _hash(self) -> "_Hash":
        return hashlib.sha256(self.path.read_bytes())

    def _kept(self, what: str, settings: tuple, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array for these settings, read from the cache or else made and stored there."""
        if self.cache is None:
            return make()
        key = self._hash.copy()
        key.update(repr(settings).encode())
        stored = self.cache / f"{self.path.stem}-{what}{key.hexdigest()[:16]}.npz"
        try:
            with np.load(stored, allow_pickle=False) as file:
                return file["array"]  # with the checksum of ZIP
        except Exception:  # absent, or damaged, for which zipfile and NumPy raise errors of many kinds
            array = make()
        with complete(stored) as partial, open(partial, "wb") as file:
            np.savez(file, array=array)
        return array
