"""Random settings, files and command lines: accepted, or refused in one line that is not a fault of ours."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ending_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddco_jax.kernels import store
from ddco_jax.settings.mistakes import _paths
from ddco_jax.simulation.config import Config

BASE = ("grid.nx=2", "grid.nv=[12, 12, 12]", "collisions.kernel=none", "time.step_ps=0.01", "time.steps=2")
KEYS = sorted(set(_paths(Config)))
SECONDS = 10.0
"""Longest time of a case."""

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


overrides = st.lists(
    st.builds("{}={}".format, keys, st.one_of(values.map(toml), st.text(max_size=12))).filter(
        lambda s: "\x00" not in s
    ),
    min_size=1,
    max_size=3,
)


def outcome(*command, cwd):
    """Status of a command that ended well: with 0, or in one line with 2 or 3."""
    begin = time.perf_counter()
    _, err, status = ending_of(*command, cwd=cwd)
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert time.perf_counter() - begin < SECONDS, command
    if status == 0:
        assert lines == [], (command, err)
    else:
        assert status in (2, 3) and len(lines) == 1 and lines[0].startswith("ddco: "), (command, err)
        assert "this is unexpected" not in err and "--debug shows" not in err, (command, err)
    return status


FEW = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@FEW
@given(overrides)
def test_settings(tmp_path_factory, chosen):
    folder = tmp_path_factory.getbasetemp()
    outcome("check", "langmuir", *(word for s in (*BASE, *chosen) for word in ("--set", s)), cwd=folder)


@settings(FEW, max_examples=50)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.just(b"[grid]\nnx = 3\n")))
def test_files_of_settings(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "some.toml").write_bytes(content)
    outcome("check", "some.toml", cwd=folder)


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


@settings(FEW, max_examples=100)
@given(st.sampled_from(sorted(COMMANDS)), damages)
def test_files(samples, name, damage):
    whole = (samples / name).read_bytes()
    try:
        (samples / name).write_bytes(damaged(whole, *damage))
        outcome(*COMMANDS[name], cwd=samples)
    finally:
        (samples / name).write_bytes(whole)
