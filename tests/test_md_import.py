"""`ddco import-md` on the flavours that public tools write: the same dataset, or one line that gives the remedy."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import trajectories as made
import xarray as xr
from trajectories import METAL, PLAIN, STEP, assert_same, imported, refused

from ddco_jax.md import lammps
from ddco_jax.md.units import UNIT_STYLES, from_strings
from ddco_jax.settings import ConfigError

CENTRE = np.full(3, -made.L / 2)
Writer = Callable[[Path], object]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """What all say, from a LAMMPS dump with ids."""
    folder = tmp_path_factory.mktemp("plain")
    data, notes = imported(folder, [made.text(folder / "plain.lammpstrj")])
    assert notes == []
    return data


def test_the_plain_dump_holds_what_was_written(plain: xr.Dataset, tmp_path: Path) -> None:
    assert plain.attrs["coupling_parameter"] == pytest.approx(1.159, abs=1e-3) and plain.attrs["particles"] == made.N
    np.testing.assert_allclose(plain["t"], np.arange(5) * 0.05, atol=1e-12)
    code = made.V / 100  # 1e4 m/s are 100 Angstrom/ps
    np.testing.assert_allclose(plain["temperature_axis"][0, :, 0], code.var(1), rtol=1e-8)
    np.testing.assert_allclose(plain["velocity"][0], code, atol=0.01)  # sorted by id, stored in quanta
    file = made.text(tmp_path / "a.lammpstrj")
    data, _ = imported(tmp_path, [file], (*PLAIN, "--lag-ps", "0.05"))
    assert float(data["vacf"][0, 1] / data["vacf"][0, 0]) == pytest.approx(0.998, abs=5e-4)


SAME: dict[str, tuple[Writer, tuple[str, ...]]] = {
    "a.lammpstrj.gz": (made.text, PLAIN),
    "a.lammpstrj.bz2": (made.text, PLAIN),
    "a.lammpstrj.xz": (made.text, PLAIN),
    "scaled.lammpstrj": (lambda p: made.text(p, "id type xs ys zs vx vy vz"), PLAIN),
    "unwrapped.lammpstrj": (lambda p: made.text(p, "id type xu yu zu vx vy vz"), PLAIN),
    "scaled_unwrapped.lammpstrj": (lambda p: made.text(p, "xsu id ysu zsu vx vy vz"), PLAIN),
    "images.lammpstrj": (lambda p: made.text(p, "id type x y z ix iy iz vx vy vz"), PLAIN),
    "interleaved.lammpstrj": (lambda p: made.text(p, "id x vx y vy z vz"), PLAIN),
    "time.lammpstrj": (lambda p: made.text(p, timed=True), METAL),
    "units.lammpstrj": (lambda p: made.text(p, head="ITEM: UNITS\nmetal\n"), STEP),
    "unitstime.lammpstrj": (lambda p: made.text(p, head="ITEM: UNITS\nmetal\n", timed=True), ()),
    "agrees.lammpstrj": (lambda p: made.text(p, head="ITEM: UNITS\nmetal\n", timed=True), PLAIN),
    "plain.bin": (made.binary, PLAIN),
    "interleaved.bin": (lambda p: made.binary(p, "id x vx y vy z vz"), PLAIN),
    "interleaved_centred.bin": (lambda p: made.binary(p, "id x vx y vy z vz", low=CENTRE), PLAIN),
    "scaled.bin": (lambda p: made.binary(p, "id xs ys zs vx vy vz"), PLAIN),
    "unwrapped.bin": (lambda p: made.binary(p, "id xu yu zu vx vy vz"), PLAIN),
    "unitstime.bin": (lambda p: made.binary(p, units="metal", timed=True), ()),
    "no_tilt.bin": (lambda p: made.binary(p, tilt=(0.0, 0.0, 0.0)), PLAIN),
    "ids.h5md": (lambda p: made.h5md(p, ids=True), ()),
    "plain.xyz": (made.xyz, METAL),
}


@pytest.mark.parametrize("name", SAME)
def test_flavours_import_to_the_same_dataset(name: str, plain: xr.Dataset, tmp_path: Path) -> None:
    write, flags = SAME[name]
    write(tmp_path / name)
    data, notes = imported(tmp_path, [tmp_path / name], flags)
    assert_same(data, plain)
    assert notes == []


ROWS = "no particle ids: a row is taken"
NOT_FOLLOWED = "particles are not followed"
RATES = ("psi_rate_error", "psi_rate_covariance", "velocity", "t_kept")
NOTED: dict[str, tuple[Writer, tuple[str, ...], tuple[str, ...], str]] = {
    "plain.h5md": (made.h5md, METAL, (), ROWS),
    "suffix.hdf5": (made.h5md, METAL, (), ROWS),
    "fixed_box.h5md": (lambda p: made.h5md(p, edges="fixed"), METAL, (), ROWS),
    "linear.h5md": (lambda p: made.h5md(p, linear=True), METAL, (), ROWS),
    "no_time.h5md": (lambda p: made.h5md(p, timed=False), PLAIN, (), ROWS),
    "nanometre.h5md": (lambda p: made.h5md(p, scale=0.1, units=("nm", "nm ps-1")), (), (), ROWS),
    "no_units.h5md": (lambda p: made.h5md(p, units=None), METAL, (), ROWS),
    "gromacs.h5md": (lambda p: made.h5md(p, edges="vectors", scale=0.1, units=("nm", "nm/ps")), (), (), ROWS),
    "odd_units.h5md": (lambda p: made.h5md(p, units=("sigma", "sigma")), METAL, (), "'sigma' is not understood"),
    "groups.h5md": (lambda p: made.h5md(p, groups=("ions", "electrons")), ("--group", "ions"), (), "electrons"),
    "shuffled.h5md": (lambda p: made.h5md(p, shuffled=True), METAL, RATES, NOT_FOLLOWED),
    "ordered.xyz": (lambda p: made.xyz(p, ids=False, shuffled=False), METAL, (), ROWS),
    "noid.xyz": (lambda p: made.xyz(p, ids=False), METAL, RATES, NOT_FOLLOWED),
    "noid.lammpstrj": (lambda p: made.text(p, "type x y z vx vy vz"), PLAIN, RATES, NOT_FOLLOWED),
    "noid.bin": (lambda p: made.binary(p, "type x y z vx vy vz"), PLAIN, RATES, NOT_FOLLOWED),
    "open_box.lammpstrj": (lambda p: made.text(p, bounds="ff ff ss"), (*PLAIN, "--allow-open-box"), (), "taken as per"),
    "open_box.bin": (lambda p: made.binary(p, boundary=2), (*PLAIN, "--allow-open-box"), (), "taken as periodic"),
    "open_box.h5md": (lambda p: made.h5md(p, boundary=b"none"), ("--allow-open-box",), (), "taken as periodic"),
    "old.lammpstrj": (lambda p: made.text(p, bounds=""), PLAIN, (), "boundaries of the box are not stated"),
    "no_pbc.xyz": (lambda p: made.xyz(p, pbc=""), METAL, (), "boundaries of the box are not stated"),
}


@pytest.mark.parametrize("name", NOTED)
def test_what_is_assumed_or_left_out_is_said(name: str, plain: xr.Dataset, tmp_path: Path) -> None:
    write, flags, without, message = NOTED[name]
    write(tmp_path / name)
    data, notes = imported(tmp_path, [tmp_path / name], flags)
    assert_same(data, plain, without)
    assert any(message in note for note in notes) and len(notes) <= 3, notes


def _twice(data: dict[str, np.ndarray], t: int) -> None:
    data["id"][7] = data["id"][8]


def _other(data: dict[str, np.ndarray], t: int) -> None:
    data["id"][7] += 1000 * (t == 3)


def _not_finite(data: dict[str, np.ndarray], t: int) -> None:
    data["vy"][7] = np.inf


def _fast(data: dict[str, np.ndarray], t: int) -> None:
    data["vz"][7] *= 1e200 if t == 3 else 1


def _drift(data: dict[str, np.ndarray], t: int) -> None:
    data["vx"] += 100.0


def _few(path: Path) -> None:
    """One particle leaves after the first snapshot."""
    text = made.text(path).read_text()
    first, rest = text[: (cut := text.index("ITEM: TIMESTEP", 10))], text[cut:]
    rest = rest[: rest.index("ITEM: TIMESTEP", 10)].replace("ATOMS\n400", "ATOMS\n399")
    path.write_text(first + rest[: rest.rstrip().rindex("\n") + 1])


TILTED = "".join(f"{a} {a + made.L + tilt} {tilt}\n" for a, tilt in zip(made.LOW, (120.0, 0, 0), strict=True))
ABC = "".join(f"{a} {b} {c} 0\n" for a, b, c in ((made.L, 0, 0), (90, made.L, 0), (0, 0, made.L)))
REFUSED: dict[str, tuple[Writer, tuple[str, ...], tuple[str, ...]]] = {
    "contradicts.lammpstrj": (lambda p: made.text(p, head="ITEM: UNITS\nreal\n"), PLAIN, ("units real", "units metal")),
    "lj.lammpstrj": (lambda p: made.text(p, head="ITEM: UNITS\nlj\n"), PLAIN, ("units lj", "units metal")),
    "nanometre.h5md": (lambda p: made.h5md(p, scale=0.1, units=("nm", "nm ps-1")), METAL, ("nm ps-1", "units metal")),
    "slow.lammpstrj": (lambda p: made.text(p, timed=True), (*METAL, "--step-time", "0.002"), ("0.05", "0.1", "leave")),
    "no_time.h5md": (lambda p: made.h5md(p, timed=False), METAL, ("--step-time",)),
    "steps.lammpstrj": (made.text, METAL, ("--step-time",)),
    "units.lammpstrj": (made.text, STEP, ("--units", "--length-m")),
    "groups.h5md": (lambda p: made.h5md(p, groups=("ions", "electrons")), (), ("--group", "electrons, ions")),
    "no_group.h5md": (made.h5md, ("--group", "ions"), ("no such", "all")),
    "group.lammpstrj": (made.text, (*PLAIN, "--group", "ions"), ("only H5MD",)),
    "type.lammpstrj": (made.text, (*PLAIN, "--type", "2"), ("--type 2", "there are 1")),
    "no_types.lammpstrj": (lambda p: made.text(p, "id x y z vx vy vz"), (*PLAIN, "--type", "2"), ("leave --type out",)),
    "open_box.lammpstrj": (lambda p: made.text(p, bounds="ff pp ss"), PLAIN, ("along x, z", "--allow-open-box")),
    "open_box.bin": (lambda p: made.binary(p, boundary=1), PLAIN, ("--allow-open-box",)),
    "open_box.h5md": (lambda p: made.h5md(p, boundary=b"none"), (), ("--allow-open-box",)),
    "tilted.lammpstrj": (
        lambda p: made.text(p, bounds="xy xz yz pp pp pp", box=TILTED),
        PLAIN,
        ("skewed", "orthogonal"),
    ),
    "tilted.bin": (lambda p: made.binary(p, tilt=(100.0, 0.0, 0.0)), PLAIN, ("skewed", "orthogonal")),
    "general.lammpstrj": (lambda p: made.text(p, bounds="abc origin pp pp pp", box=ABC), PLAIN, ("skewed",)),
    "infinite.lammpstrj": (lambda p: made.text(p, box="0 inf\n0 1\n0 1\n"), PLAIN, ("positive and finite",)),
    "empty_box.lammpstrj": (lambda p: made.text(p, box="0 1\n3 3\n0 1\n"), PLAIN, ("positive and finite",)),
    "twice.lammpstrj": (lambda p: made.text(p, change=_twice), PLAIN, ("two particles have the id 9", "unique")),
    "twice.bin": (lambda p: made.binary(p, change=_twice), PLAIN, ("two particles have the id 9", "unique")),
    "other.bin": (lambda p: made.binary(p, change=_other), PLAIN, ("snapshot 3", "id 1008 is new")),
    "inf_time.lammpstrj": (
        lambda p: made.text(p, head="ITEM: TIME\nnan\n", frames=[0]),
        PLAIN,
        ("time are not finite",),
    ),
    "inf.bin": (lambda p: made.binary(p, change=_not_finite), PLAIN, ("not finite",)),
    "no_vy.bin": (lambda p: made.binary(p, "id x y z vx vz"), PLAIN, ("no velocities", "vy", "dump 1 all custom")),
    "lag.h5md": (made.h5md, ("--lag-ps", "-1"), ("--lag-ps", "positive")),
    "noid.bin": (lambda p: made.binary(p, "x y z vx vy vz"), (*PLAIN, "--lag-ps", "0.1"), ("--lag-ps", "ids")),
    "kept.bin": (made.binary, (*PLAIN, "--particles-kept", "-1"), ("--particles-kept", "negative")),
    "mass.bin": (made.binary, (*PLAIN, "--mass-kg", "0"), ("--mass-kg", "positive")),
    "light.bin": (lambda p: made.binary(p, change=_fast), PLAIN, ("snapshot 3", "faster than light", "units")),
    "bins.bin": (made.binary, (*PLAIN, "--bin-m-s", "1"), ("--bin-m-s", "wider")),
    "few.lammpstrj": (_few, PLAIN, ("snapshot 1", "399 particles, 400 before")),
    "drift.bin": (lambda p: made.binary(p, change=_drift), PLAIN, ("net drift", "--remove-drift")),
    "still.lammpstrj": (lambda p: made.text(p, "id type x y z"), PLAIN, ("no velocities",)),
    "style.bin": (made.binary, ("--units", "imperial", *STEP), ("no style 'imperial'", "metal")),
    "bin.bin": (made.binary, (*PLAIN, "--bin-m-s", "nan"), ("--bin-m-s", "positive")),
    "cells.bin": (made.binary, (*PLAIN, "--cells", "4000"), ("--cells", "fewer")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_says_what_is_wrong_and_what_to_do(name: str, tmp_path: Path) -> None:
    write, flags, messages = REFUSED[name]
    write(tmp_path / name)
    line = refused(tmp_path, [tmp_path / name], flags)
    assert all(message in line for message in messages), line


@pytest.mark.parametrize("kind", [made.text, made.binary])
def test_one_species_is_read(kind: Callable[..., Path], tmp_path: Path) -> None:
    """Every other particle is of type 1, and four times as fast."""

    def mixed(data: dict[str, np.ndarray], t: int) -> None:
        data["type"] = data["two"]
        for axis in "xyz":
            data[f"v{axis}"] = data[f"v{axis}"] * np.where(data["two"] == 1, 4, 1)

    file = kind(tmp_path / "mixed", change=mixed)
    assert "types (1, 2); choose one with --type" in refused(tmp_path, [file])
    data, notes = imported(tmp_path, [file], (*PLAIN, "--type", "2", "--remove-drift"))
    second = made.V[:, 1::2] / 100
    np.testing.assert_allclose(data["temperature_axis"][0, :, 0], second.var(1), rtol=1e-7)
    assert data.attrs["particles"] == 200 and "200 of 400 particles" in notes[0]


def test_a_drift_is_removed_when_asked(plain: xr.Dataset, tmp_path: Path) -> None:
    file = made.binary(tmp_path / "drift.bin", change=_drift)
    data, _ = imported(tmp_path, [file], (*PLAIN, "--remove-drift"))
    assert np.abs(data["drift"][0, 0]).max() < 1e-12
    np.testing.assert_allclose(data["temperature_axis"], plain["temperature_axis"], rtol=1e-7)
    assert "no such file" in refused(tmp_path, [tmp_path / "absent"])


def test_one_snapshot_has_moments_and_no_rates(plain: xr.Dataset, tmp_path: Path) -> None:
    data, notes = imported(tmp_path, [made.text(tmp_path / "one.lammpstrj", frames=[0])])
    assert "psi_rate" not in data and notes == ["one snapshot: no rates"]
    for name in ("moment", "f_vx", "f_vxvy", "psi", "velocity"):
        np.testing.assert_allclose(data[name][:, 0], plain[name][:, 0], rtol=2e-7, atol=1e-8)


def test_a_restart_repeats_a_snapshot(plain: xr.Dataset, tmp_path: Path) -> None:
    first = made.text(tmp_path / "part1.lammpstrj", frames=[0, 1, 2])
    second = made.text(tmp_path / "part2.lammpstrj", frames=[2, 3, 4])
    data, notes = imported(tmp_path, [first, second])
    assert_same(data, plain)
    assert len(notes) == 1 and "part2.lammpstrj: snapshot 0 repeats" in notes[0]
    assert "does not follow" in refused(tmp_path, [second, first])
    other = made.text(tmp_path / "other.lammpstrj", frames=[2], change=lambda data, t: data["vx"].__imul__(1.01))
    assert "does not follow" in refused(tmp_path, [first, other])


CUT = {"a.lammpstrj": made.text, "a.lammpstrj.gz": made.text, "a.bin": made.binary, "a.xyz": made.xyz}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0.93, 0.66, 0.1])
def test_a_cut_file_gives_its_whole_snapshots(name: str, share: float, plain: xr.Dataset, tmp_path: Path) -> None:
    file = CUT[name](tmp_path / name)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    flags = METAL if name == "a.xyz" else PLAIN
    if share < 0.2:
        assert "no complete snapshot" in refused(tmp_path, [file], flags)
        return
    data, notes = imported(tmp_path, [file], flags)
    whole = int(share * 5)
    assert notes == [f"{name} ends within snapshot {whole}; the {whole} whole ones before it are used"]
    np.testing.assert_allclose(data["moment"], plain["moment"][:, :whole], rtol=2e-7, atol=1e-8)


def test_a_cut_number_is_no_number(plain: xr.Dataset, tmp_path: Path) -> None:
    """The last line lacks its last digits: all rows are there, but the last snapshot is not whole."""
    file = made.text(tmp_path / "a.lammpstrj")
    file.write_text(file.read_text().rstrip()[:-3])
    data, notes = imported(tmp_path, [file])
    assert data.sizes["t"] == 4 and "ends within snapshot 4" in notes[0]


def _lines(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    rows = _lines(
        made.text(tmp_path / "rows.lammpstrj"), "\nITEM: NUMBER OF ATOMS\n400", "\nITEM: NUMBER OF ATOMS\n399"
    )
    count = _lines(
        made.text(tmp_path / "count.lammpstrj"), "\nITEM: NUMBER OF ATOMS\n400", "\nITEM: NUMBER OF ATOMS\n0"
    )
    word = _lines(made.text(tmp_path / "word.lammpstrj"), " 1 ", " 1 x")
    binary = made.binary(tmp_path / "bits.bin")
    raw = bytearray(binary.read_bytes())
    raw[8 + 10 + 8 + 8] ^= 255  # the number of particles
    binary.write_bytes(raw)
    h5md = made.h5md(tmp_path / "cut.h5md")
    h5md.write_bytes(h5md.read_bytes()[:-5000])
    gz = made.text(tmp_path / "bits.lammpstrj.gz")
    raw = bytearray(gz.read_bytes())
    raw[5000] ^= 255
    gz.write_bytes(raw)
    noise = tmp_path / "noise.dump"
    noise.write_bytes(np.random.default_rng(1).bytes(5000))
    for file in (rows, count, word, binary, h5md, gz):
        assert "damaged after" in refused(tmp_path, [file]), file
    assert "no LAMMPS dump" in refused(tmp_path, [noise])


def test_elements_of_h5md_have_steps_of_their_own(plain: xr.Dataset, tmp_path: Path) -> None:
    """Velocities at every second step only; two named species; a row without particle."""
    file = made.h5md(tmp_path / "own.h5md", ids=True)
    with h5py.File(file, "a") as out:
        group = out["particles/all"]
        kept = group["velocity/value"][::2]
        unit = dict(group["velocity/value"].attrs)
        for name, data in (("value", kept), ("step", made.STEPS[::2]), ("time", made.STEPS[::2] * made.STEP_TIME)):
            del group[f"velocity/{name}"]
            group[f"velocity/{name}"] = data
        group["velocity/value"].attrs.update(unit)
        kinds = np.ones((made.T, made.N), "i4")
        ids = group["id/value"][()]
        kinds[ids == 17] = 2
        dtype = h5py.enum_dtype({"H": 1, "He": 2}, basetype="i4")
        group.create_dataset("species/value", data=kinds, dtype=dtype)
        group["species/step"] = made.STEPS
        del group["id/value"]
        group.create_dataset("id/value", data=np.where(ids == 18, -1, ids), fillvalue=-1)
    assert "(H, He); choose one with --type" in refused(tmp_path, [file], ())
    data, notes = imported(tmp_path, [file], ("--type", "H", "--remove-drift"))
    assert data.sizes["t"] == 3 and "2 of 5 snapshots are left out" in notes[0]
    rest = np.delete(made.V[::2] / 100, [16, 17], axis=1)
    np.testing.assert_allclose(data["temperature_axis"][0, :, 0], rest.var(1), rtol=1e-7)
    np.testing.assert_allclose(data["velocity"][0], rest - rest[0].mean(0), atol=0.01)


GAS = """
units metal
lattice sc 60.0
region box block 0 6 0 6 0 6
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.5 1
mass * 1.0
labelmap atom 1 H 2 D
velocity all create 3000 87287 mom yes rot no
pair_style zero 4.0
pair_coeff * *
fix move all nve
dump a all custom 10 a.lammpstrj.gz vz id xsu ysu zsu vx vy type
dump b all custom 10 b.bin id vx x vy y vz z type
dump c all custom 10 c.lammpstrj id typelabel xu yu zu fx vx vy vz
dump d all atom 10 d.bin
dump_modify a time yes units yes format float %.15g
dump_modify b time yes units yes
dump_modify c time yes units yes format float %.15g sort id
run 40
"""


def test_what_lammps_writes_today(tmp_path: Path) -> None:
    """An ideal gas of two species, dumped by LAMMPS in three ways, each of which states its units and times."""
    try:
        line = lammps.command(1)
    except ConfigError as error:
        pytest.skip(f"LAMMPS cannot be run here: {error}")
    (tmp_path / "in.lammps").write_text(GAS)
    subprocess.run(line, cwd=tmp_path, env=lammps.environment(), check=True, capture_output=True, timeout=60)
    flags = ("--remove-drift", "--type")
    assert "types (1, 2)" in refused(tmp_path, [tmp_path / "b.bin"], ("--remove-drift",))
    reference, notes = imported(tmp_path, [tmp_path / "b.bin"], (*flags, "2"))
    np.testing.assert_allclose(reference["t"], np.arange(5) * 0.01, rtol=1e-12)
    assert 80 < reference.attrs["particles"] < 136 and notes[0].startswith(f"{reference.attrs['particles']} of 216")
    for name, species in (("a.lammpstrj.gz", "2"), ("c.lammpstrj", "D")):
        assert_same(imported(tmp_path, [tmp_path / name], (*flags, species))[0], reference)
    assert "style custom" in refused(tmp_path, [tmp_path / "d.bin"], flags[:1])


def test_units_as_h5md_writes_them() -> None:
    for texts in (("Angstrom", "Angstrom ps-1", "ps"), ("nm", "nm ps-1", "ps"), ("Ang", "100 m/s", "10-3 ns")):
        units, unknown = from_strings(*texts)
        expected = UNIT_STYLES["metal"] if texts[0] != "nm" else (1e-9, 1e3, 1e-12)
        assert units.values == pytest.approx(expected, rel=1e-12) and unknown == []
    assert from_strings("nm", "nm", "eV")[1] == ["nm", "eV"]  # no velocity, no time
