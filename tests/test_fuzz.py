"""Random settings, files and command lines: accepted, or refused in one line that is not a fault of ours.

In a campaign (`scripts/campaign.py`) FUZZ_COUNTS names a JSON file for the numbers of commands; there are then more
examples, those of `--hypothesis-seed`.
"""

import json
import math
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import trajectories as made
from helpers import ending_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddco_jax import open_result
from ddco_jax.kernels import store
from ddco_jax.plasma.lock import LOCK_FILE
from ddco_jax.settings.mistakes import _paths
from ddco_jax.simulation.config import Config

SMALL = ("grid.nx=2", "grid.nv=[12, 12, 12]", "time.steps=2")
"""What is run of a config that is accepted."""
BASE = (*SMALL, "collisions.kernel=none", "time.step_ps=0.01")
KEYS = sorted(set(_paths(Config)))
SECONDS, MEBIBYTES = 10.0, 512.0
"""Largest processor time of a command, and largest memory above that of `ddco kernels`."""
CAMPAIGN = os.environ.get("FUZZ_COUNTS")
COUNTS: dict[str, Counter] = {}

numbers = st.one_of(
    st.sampled_from([0, -1, 1, 2, 3, 10**9, 10**30, -(2**63), 2**64]),
    st.integers(-5, 40),
    st.sampled_from([0.0, -0.0, 1e-320, 1e-30, 0.5, 1.0, 1e30, 1e300, -1e300, math.inf, -math.inf, math.nan]),
    st.floats(allow_subnormal=True),
)
words = st.one_of(
    st.sampled_from(
        ["landau", "none", "quench", "aged", "float32", "poisson", "upwind", "direct", "log", "bkw", "ball"]
    ),
    st.sampled_from(
        ["midpoint", "two_stream", "array", "ring", "kappa", "deuterium", "paper", "../", "a\x00b", "💥", "'"]
    ),
    st.text(max_size=8),
)
values = st.recursive(
    st.one_of(numbers, words, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
keys = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(KEYS).map(lambda k: k + "x"),
    words,
    st.sampled_from(["", ".", "grid..nx", "a.b.c"]),
)


def toml(value):
    """A value as TOML, or nearly."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return (
        json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")
        if not isinstance(value, float)
        else repr(value)
    )


POSSIBLE = {
    "collisions.kernel": ["landau", "maxwell", "dd-landau"],
    "collisions.buildup": ["auto", "off", "aged", "quench"],
    "collisions.differences": ["central", "fourth", "sixth", "eighth"],
    "collisions.force": ["log", "ratio"],
    "collisions.step": ["midpoint", "stabilised"],
    "collisions.method": ["direct", "spectral"],
    "scheme": ["paper", "accurate"],
    "field": ["poisson", "ampere", "none"],
    "precision": ["float32", "float64"],
    "x_flux": ["upwind", "weno5"],
    "grid.length_m": [1e-9, 4e-8, 1e-3],
    "grid.nx": [1, 3, 8],
    "grid.velocity_extent_m_s": [[1e4, 1e4, 1e4], [2e5, 2e4, 2e4], [3e3, 9e4, 1e3]],
    "initial.kind": ["maxwellian", "two_stream", "bimaxwellian", "symmetric_double_well", "uniform_ball", "cold_beam"],
    "initial.density_perturbation": [0.0, 0.5, 0.999, -0.3],
    "initial.perturbation_mode": [1, 2, 7],
    "initial.drift_m_s": [1e4, -3e3],
    "initial.anisotropy": [0.25, 4.0],
    "initial.start_time_ps": [0.0, 0.3],
    "plasma.temperature_eV": [0.02, 0.2, 3.0],
    "plasma.density_m3": [1e20, 1e24, 1e27],
    "plasma.species": ["hydrogen", "deuterium", "electron", "carbon"],
    "plasma.mass_u": [0.5, 12.0],
    "plasma.charge_number": [1, 6],
    "plasma.temperature_modulation_eV": [0.05, 0.5],
    "time.step_ps": [1e-4, 0.05, 3.0],
    "output.history_every": [1, 2, 5],
    "output.snapshot_every": [1, 7],
    "output.checkpoint_every": [1, 3],
    "output.checkpoints_kept": [1, 4],
    "output.distribution": [True, False],
    "units.length_angstrom": [1.0, 1e3],
    "description": ["of a user", "$x$"],
}
"""Values that a config may have, if they fit together."""
possible = st.sampled_from([f"{key}={toml(value)}" for key, some in POSSIBLE.items() for value in some])
wild = st.builds("{}={}".format, keys, st.one_of(values.map(toml), st.text(max_size=12)))
wilds = st.lists(wild.filter(lambda s: "\x00" not in s), min_size=1, max_size=3)


def mebibytes(key):
    """Memory of this process by its name in /proc, 0 where there is none."""
    file = Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)


def forget_peak():
    """Let the largest memory begin again with the present one."""
    if (file := Path("/proc/self/clear_refs")).exists():
        file.write_text("5")


@pytest.fixture(scope="module", autouse=True)
def counted(tmp_path_factory):
    """Load what `ddco kernels` loads before anything is measured, and store the counts in the end."""
    ending_of("kernels", cwd=tmp_path_factory.getbasetemp())
    yield
    if CAMPAIGN:
        Path(CAMPAIGN).write_text(json.dumps(COUNTS))


def outcome(kind, *command, cwd, limits=True):
    """Status of a command that ended well: with 0, or in one line with 2 or 3."""
    forget_peak()
    begin, before = time.process_time(), mebibytes("VmRSS")
    _, err, status = ending_of(*command, cwd=cwd)
    seconds, memory = time.process_time() - begin, mebibytes("VmHWM") - before
    assert not limits or (seconds < SECONDS and memory < MEBIBYTES), (command, seconds, memory)
    lines = [line for line in err.splitlines() if line.startswith("ddco: ")]
    if status == 0:
        assert lines == [], (command, err)
    else:
        assert status in (2, 3) and len(lines) == 1 and err.splitlines()[-1] == lines[0], (command, err)
        assert "this is unexpected" not in err and "--debug shows" not in err, (command, err)
    assert "Traceback" not in err, (command, err)
    COUNTS.setdefault(kind, Counter())[{0: "accepted", 2: "refused", 3: "failed"}[status]] += 1
    return status


def examples(here, in_campaign):
    """How many there are: those that take a second each are few."""
    return settings(
        max_examples=in_campaign if CAMPAIGN else here,
        deadline=None,
        derandomize=not CAMPAIGN,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def sets(chosen):
    return [word for setting in chosen for word in ("--set", setting)]


def checked_and_run(folder, chosen):
    """What is accepted runs two steps."""
    folder.mkdir(exist_ok=True)
    if outcome("settings", "check", "langmuir", *sets((*BASE, *chosen)), cwd=folder) == 0:
        command = ("run", "langmuir", "--out", "run", *sets((*BASE, *chosen, *SMALL)))
        if (status := outcome("run", *command, cwd=folder)) == 0:
            assert np.all(np.isfinite(open_result(folder / "run")["history/entropy"]))
        assert (folder / "run").exists() == (status != 2)
        shutil.rmtree(folder / "run", ignore_errors=True)
    assert list(folder.iterdir()) == []


@examples(112, 1000)
@given(wilds)
def test_settings(tmp_path_factory, chosen):
    checked_and_run(tmp_path_factory.getbasetemp() / "settings", chosen)


@examples(8, 50)
@given(st.lists(possible, min_size=1, max_size=3))
def test_settings_that_may_fit(tmp_path_factory, chosen):
    checked_and_run(tmp_path_factory.getbasetemp() / "settings", chosen)


@examples(30, 400)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.just(b"[grid]\nnx = 3\n")))
def test_files_of_settings(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "some.toml").write_bytes(content)
    outcome("file of settings", "check", "some.toml", cwd=folder)


def damaged(data, choice, place, bit):
    """Bytes of a file that was cut, flipped in one bit, emptied or filled."""
    at = int(place * len(data))
    flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :] if at < len(data) else data
    return {"cut": data[:at], "flip": flipped, "empty": b"", "fill": data[:at] + bytes(len(data) - at)}[choice]


damages = st.tuples(st.sampled_from(["cut", "flip", "empty", "fill"]), st.floats(0, 1), st.integers(0, 7))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """An array, a kernel and MD, undamaged."""
    folder = tmp_path_factory.mktemp("samples")
    np.save(folder / "f.npy", np.ones((2, 12, 12, 12)))
    shutil.copytree(store.pretrained()["dd-landau"], folder / "kernel")
    source = Path(__file__).parents[1] / "data" / "md" / "held_out_draws" / "gamma_1_bimaxwellian_0.25.nc"
    shutil.copy(source, folder / "md.nc")
    return folder


COMMANDS = {
    "f.npy": ("check", "langmuir", *(w for s in (*BASE, "initial={kind='array', file='f.npy'}") for w in ("--set", s))),
    "kernel/kernel.json": ("transport", "--kernel", "kernel", "--gamma", "1", "--order", "1"),
    "kernel/parameters.npz": ("transport", "--kernel", "kernel", "--gamma", "1", "--order", "1"),
    "md.nc": ("md-transport", "md.nc"),
}


@examples(70, 380)
@given(st.sampled_from(sorted(COMMANDS)), damages)
def test_files(samples, name, damage):
    whole = (samples / name).read_bytes()
    try:
        (samples / name).write_bytes(damaged(whole, *damage))
        outcome(name, *COMMANDS[name], cwd=samples)
    finally:
        (samples / name).write_bytes(whole)


TRAJECTORIES = {
    "a.lammpstrj": made.text,
    "a.lammpstrj.gz": made.text,
    "a.lammpstrj.bz2": made.text,
    "a.bin": made.binary,
    "a.h5md": lambda path: made.h5md(path, ids=True),
    "a.xyz": made.xyz,
}
FLAGS = ["--remove-drift", "--allow-open-box", "--type=1", "--lag-ps=0.1", "--cells=3"]


@pytest.fixture(scope="module")
def whole_trajectories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trajectories")
    for name, write in TRAJECTORIES.items():
        write(folder / name)
        known = {".xyz": made.METAL, ".h5md": ()}.get((folder / name).suffix, made.PLAIN)
        assert ending_of("import-md", name, "--out", f"{name}.nc", *known, cwd=folder)[2] == 0
    return {name: (folder / name).read_bytes() for name in TRAJECTORIES}


def mixed(file, order, place):
    """Name the columns of a trajectory in another order; remove an element of H5MD."""
    if file.suffix != ".h5md":
        named = {".xyz": (b"species:S:1:id:I:1:velo:R:3:force:R:3:pos:R:3", b":")}
        old, separator = named.get(file.suffix, (made.KINDS.encode(), b" "))
        parts = old.split(separator)
        new = separator.join(parts[i % len(parts)] for i in order)
        file.write_bytes(file.read_bytes().replace(old, new))
        return
    with h5py.File(file, "a") as out:
        names: list[str] = []
        out.visit(names.append)
        del out[names[int(place * (len(names) - 1))]]


@examples(60, 640)
@given(
    st.sampled_from(sorted(TRAJECTORIES)),
    st.one_of(damages, st.lists(st.integers(0, 7), min_size=7, max_size=9), st.permutations(range(8))),
    st.floats(0, 1),
    st.lists(
        st.sampled_from(["--remove-drift", "--allow-open-box", "--type=1", "--lag-ps=0.1", "--cells=3"]), max_size=2
    ),
)
def test_trajectories(tmp_path_factory, whole_trajectories, name, damage, place, flags):
    folder = tmp_path_factory.getbasetemp() / "trajectory"
    folder.mkdir(exist_ok=True)
    file = folder / name
    if isinstance(damage, tuple):
        file.write_bytes(damaged(whole_trajectories[name], *damage))
    else:
        file.write_bytes(whole_trajectories[name])
        mixed(file, damage, place)
    known = {".xyz": made.METAL, ".h5md": ()}.get(file.suffix, made.PLAIN)
    status = outcome(name, "import-md", name, "--out", "a.nc", *known, *flags, cwd=folder)
    assert {path.name for path in folder.iterdir()} == {name} | ({"a.nc"} if status == 0 else set())
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run that has ended, with three checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    every = ("output.snapshot_every=1", "output.checkpoint_every=1", "output.distribution=true")
    _, err, status = ending_of("run", "langmuir", "--out", "run", *sets((*BASE, *every)), cwd=folder)
    assert status == 0, err
    return folder / "run"


def content(folder):
    """Every file of a folder with its bytes, and its folders; without the lock, which each command takes and leaves."""
    found = {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
    return {path: data for path, data in found.items() if path != Path(LOCK_FILE)}


foreign = st.tuples(
    st.sampled_from(["", "checkpoints", "checkpoints/2", "result.zarr", "result.zarr/history", "kernel"]),
    st.sampled_from(["99", "-1", "007", "٣", "10000000000000000000000", "2.orbax-checkpoint-tmp", "x y", "c", "lock"]),
    st.booleans(),
)
spoils = st.one_of(
    st.tuples(st.integers(0, 10**6), damages),
    st.tuples(st.integers(0, 10**6), st.sampled_from(["delete", "delete folder"])),
    foreign,
)


def spoil(folder, what):
    """Damage or delete one file of a folder, or put something foreign into it."""
    if isinstance(what[0], str):
        path = folder / what[0] / what[1]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if what[2] else path.write_text("of mine")
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[what[0] % len(files)]
    if what[1] == "delete":
        path.unlink()
    elif what[1] == "delete folder":
        shutil.rmtree(path.parent)
    else:
        path.write_bytes(damaged(path.read_bytes(), *what[1]))


def same(one, two):
    """Whether the results agree in values, axes and attributes; raises what reading raises."""
    a, b = open_result(one).load(), open_result(two).load()
    return a.identical(b)


@examples(20, 30)
@given(st.lists(spoils, min_size=1, max_size=2))
def test_checkpoints(run, chosen):
    """Resumed, the result is that of the whole run or cannot be read; refused, the folder is as before."""
    copy = run.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    for what in chosen:
        if copy.exists() and any(path.is_file() for path in copy.rglob("*")):
            spoil(copy, what)
    before = content(copy) if copy.exists() else {}
    if outcome("checkpoint", "resume", "copy", cwd=run.parent) == 2:
        assert content(copy) == before if copy.exists() else before == {}
        return
    try:
        equal = same(run, copy)
    except Exception:  # whatever reads damage raises
        return
    assert equal, chosen
