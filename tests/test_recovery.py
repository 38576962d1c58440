"""Resuming from damaged folders: the same result as without damage, or one line; never NaN, never another f."""

import itertools
import json
import shutil
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import ddco_here, said

from ddco_jax import open_result
from ddco_jax.learning import data as learning_data
from ddco_jax.md.dataset import open_dataset, write
from ddco_jax.plasma.files import sealed
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import recovery

DATA = Path(__file__).parents[1] / "data" / "md" / "held_out_draws" / "gamma_1_bimaxwellian_0.25.nc"
CONFIG = (
    "grid.nx=4",
    "grid.nv=[20, 6, 6]",
    "collisions.kernel=none",
    "time.step_ps=0.01",
    "time.steps=6",
    "output.snapshot_every=2",
    "output.checkpoint_every=2",
    "output.checkpoints_kept=3",
    "output.distribution=true",
)
SETTINGS = [word for setting in CONFIG for word in ("--set", setting)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recovery")
    ddco_here("run", "langmuir", "--out", "whole", *SETTINGS, cwd=folder)
    f = open_result(folder / "whole")["snapshots/f"].to_numpy()
    assert all(np.any(a != b, (1, 2, 3)).all() for a, b in itertools.pairwise(f))  # something happens everywhere
    return folder / "whole"


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def flip(path, place=0.5):
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def shorten(folder, rows):
    for name, array in zarr.open_group(str(folder / "result.zarr"), mode="r+")["history"].arrays():
        if name != "axis":
            array.resize((rows, *array.shape[1:]))


def older_store(folder):
    shorten(folder, 5)  # steps 0 ... 4


def forge(sealing):
    """Spoil a checkpoint with the hashes of another f, and with a valid hash of the metadata or without one."""

    def spoil(folder):
        path = folder / "checkpoints" / "6" / "_CHECKPOINT_METADATA"
        data, other = (json.loads((folder / f"checkpoints/{n}/{path.name}").read_text()) for n in (6, 4))
        data["custom_metadata"]["hashes"]["f"] = other["custom_metadata"]["hashes"]["f"]
        data["custom_metadata"] = sealing(data["custom_metadata"])
        path.write_text(json.dumps(data))

    return spoil


def foreign(folder):
    for name in ("99", "1000000000000"):
        (folder / "checkpoints" / name).mkdir()
    (folder / "checkpoints" / "99" / "notes.txt").write_text("of mine")


def other_row(folder):
    zarr.open_group(str(folder / "result.zarr"), mode="r+")["history/entropy"][6] = 0.25


def earlier_row(folder):
    zarr.open_group(str(folder / "result.zarr"), mode="r+")["history/momentum"][3, 1] = 0.25


def other_chunk(folder):
    """A valid chunk with a valid checksum, of another time."""
    chunks = folder / "result.zarr" / "snapshots" / "f" / "c"
    shutil.copy(chunks / "1/0/0/0/0", chunks / "3/0/0/0/0")


BACK = {
    "flipped checkpoint": (lambda d: flip(largest(d / "checkpoints" / "6" / "default")), "checkpoint 6 is not used"),
    "no arrays": (lambda d: shutil.rmtree(d / "checkpoints" / "6" / "default"), "checkpoint 6 is not used"),
    "empty metadata": (lambda d: (d / "checkpoints/6/_CHECKPOINT_METADATA").write_text(""), "6 is not used"),
    "forged": (forge(lambda data: data), "changed after it was written"),
    "another f": (
        forge(lambda data: sealed({k: v for k, v in data.items() if k != "sha256"})),
        "f differs from its hash",
    ),
    "older store": (older_store, "has 5 of 7 rows"),
    "lost snapshot": (
        lambda d: (d / "result.zarr/snapshots/f_vx/c/3/0/0").unlink(),
        "snapshots/f_vx lacks chunk 3/0/0",
    ),
    "lost f": (lambda d: (d / "result.zarr/snapshots/f/c/3/0/0/0/0").unlink(), "snapshots/f lacks chunk 3/0/0/0/0"),
    "flipped snapshot": (lambda d: flip(d / "result.zarr/snapshots/density/c/3/0"), "checksum"),
    "another row": (other_row, "history/entropy is not that of the checkpoint"),
    "an earlier row": (earlier_row, "history/momentum is not that of the checkpoint"),
    "snapshot of another run": (other_chunk, "snapshots/f is not that of the checkpoint"),
    "foreign": (foreign, "checkpoint 99 is not used"),
}


@pytest.mark.parametrize("case", BACK)
def test_resume_goes_back_to_the_last_state_that_is_whole(case, copy, whole):
    damage, message = BACK[case]
    damage(copy)
    _, err = ddco_here("resume", "copy", cwd=copy.parent)
    assert message in "\n".join(said(err)) and all(line.startswith("note: ") for line in said(err))
    one, two = open_result(whole), open_result(copy)
    for node in ("history", "snapshots"):
        for name in one[node].variables:
            np.testing.assert_array_equal(one[node][name], two[node][name])
    if case == "foreign":
        assert (copy / "checkpoints" / "99.set_aside" / "notes.txt").read_text() == "of mine"
    assert [p.name for p in (copy / "checkpoints").iterdir() if p.name.isdecimal()]
    _, err = ddco_here("resume", "copy", cwd=copy.parent)
    assert said(err) == []  # what was set aside is so for good


def other_attributes(folder):
    """Those of another run, with a valid hash."""
    attributes = zarr.open_group(str(folder / "result.zarr"), mode="r+").attrs
    attributes.put(sealed({k: 2 * v if k == "density_m3" else v for k, v in attributes.items() if k != "sha256"}))


def no_checkpoints(folder):
    shutil.rmtree(folder / "checkpoints")


REFUSED = {
    "lost history": (lambda d: (d / "result.zarr/history/mass/c/0").unlink(), "history/mass lacks chunk 0"),
    "lost array": (lambda d: shutil.rmtree(d / "result.zarr/history/entropy"), "history/entropy is missing"),
    "lost node": (lambda d: shutil.rmtree(d / "result.zarr/snapshots"), "no checkpoint can be used, 6: "),
    "lost store": (lambda d: shutil.rmtree(d / "result.zarr"), "no checkpoint can be used, 6: "),
    "flipped history": (lambda d: flip(d / "result.zarr/history/mass/c/0"), "checksum"),
    "attributes of another run": (other_attributes, "result.zarr/zarr.json is not that of the checkpoint"),
    "no checkpoints": (no_checkpoints, "holds results but no checkpoint"),
    "half a config": (lambda d: (d / "config.json").write_text('{"name": '), "not valid JSON"),
    "deep config": (lambda d: (d / "config.json").write_text("[" * 5000), "not valid JSON"),
    "changed config": (
        lambda d: (d / "config.json").write_text((d / "config.json").read_text().replace('"steps": 6', '"steps": 7')),
        "changed after it was written; if on purpose, delete its line 'sha256'",
    ),
    "no config": (lambda d: (d / "config.json").unlink(), "no run to resume"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_checkpoint_fits_is_refused_in_one_line(case, copy):
    damage, message = REFUSED[case]
    damage(copy)
    before = sorted(copy.rglob("*"))
    _, err = ddco_here("resume", "copy", cwd=copy.parent, expect=2)
    assert message in err and err.startswith("ddco: ") and err.count("\n") == 1
    assert sorted(copy.rglob("*")) == before  # refused, nothing is touched


def test_a_run_without_hashes_goes_on_with_a_note(copy, whole):
    """As version 0.1 wrote it: no hash in config.json, no metadata in the checkpoints, no checksums in the store."""
    settings = json.loads((copy / "config.json").read_text())
    assert settings == sealed({k: v for k, v in settings.items() if k != "sha256"})
    del settings["sha256"]
    (copy / "config.json").write_text(json.dumps(settings))
    shutil.rmtree(copy / "checkpoints" / "6")
    path = copy / "checkpoints" / "4" / "_CHECKPOINT_METADATA"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"custom_metadata": {}}))
    _, err = ddco_here("resume", "copy", cwd=copy.parent)
    assert said(err) == ["note: checkpoint 4 is of version 0.1, without hashes: damage goes unnoticed"]
    np.testing.assert_array_equal(open_result(whole)["snapshots/f"], open_result(copy)["snapshots/f"])


def test_a_checkpoint_reads_the_chunks_of_results_once(whole, monkeypatch):
    """What it costs does not grow with the number of chunks before it."""
    read, checksum = [], recovery._checksum
    monkeypatch.setattr(recovery, "_checksum", lambda path: read.append(path) or checksum(path))
    grown = recovery.Fingerprints(whole)
    found = [grown({"history": 2 * n + 1, "snapshots": n + 1}) for n in range(4)]
    assert len(read) == len(set(read)) and sum("snapshots/f/" in str(path) for path in read) == 4
    assert found[3] == recovery.Fingerprints(whole)({"history": 7, "snapshots": 4})
    for path in ("history/entropy", "snapshots/f_vx"):
        assert len({rows[path] for rows in found}) == 4


CHANGED = {
    "attribute": ("zarr.json", '"density_m3": ', '"density_m3": 1', "changed after it was written"),
    "axes": ("snapshots/f_vx/zarr.json", '"vx"', '"vy"', r"axes \('t', 'x', 'vy'\) in place of"),
    "variable": ("snapshots/density/zarr.json", '"data_type"', '"data_tyqe"', "density/zarr.json: damaged or missing"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_changed_metadata_of_a_result_are_noticed(case, copy):
    """Scales of the units, names of axes: no wrong number without an error."""
    name, before, after, message = CHANGED[case]
    path = copy / "result.zarr" / name
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(ValueError, match=message):
        open_result(copy)


def test_a_foreign_folder_in_a_result_ends_in_one_line(copy):
    (copy / "result.zarr" / "history" / "99").mkdir()
    log = (copy / "run.log").read_bytes()
    _, err = ddco_here("resume", copy, cwd=copy.parent, expect=2)
    assert err.endswith(f"if it is not of the run, remove the folder {copy}/result.zarr/history/99\n")
    assert (copy / "run.log").read_bytes() == log  # the folder is as before


def test_a_flipped_bit_of_a_result_is_no_number(copy):
    """crc32c: whoever reads the result notices, with xarray as well."""
    flip(copy / "result.zarr" / "snapshots" / "f" / "c/1/0/0/0/0")
    with pytest.raises(ValueError, match="checksum"):
        open_result(copy)["snapshots/f"].load()


def test_a_flipped_bit_of_a_dataset_is_noticed(tmp_path):
    """fletcher32: every number of every array that is written has a checksum, and reading ends in one line."""
    source = open_dataset(DATA)
    write(source, tmp_path / "copy.nc")
    with netCDF4.Dataset(tmp_path / "copy.nc") as file:
        arrays = {name: v for name, v in file.variables.items() if v.dtype is not str and v.ndim}
        unchecked = [name for name, v in arrays.items() if not v.filters()["fletcher32"]]
    assert unchecked == []
    assert open_dataset(tmp_path / "copy.nc").equals(source)
    data = bytearray((tmp_path / "copy.nc").read_bytes())
    data[data.index(source["x"].to_numpy().tobytes()) + 6] ^= 1
    (tmp_path / "copy.nc").write_bytes(data)
    with pytest.raises(ConfigError, match="not a netCDF-4 file"):
        open_dataset(tmp_path / "copy.nc")


def test_any_flipped_byte_of_a_dataset_ends_in_one_line(tmp_path):
    """xarray raises other exceptions for damaged attributes: a quarter into the file, for one."""
    data = bytearray(DATA.read_bytes())
    data[len(data) // 4] ^= 1
    (tmp_path / "flip.nc").write_bytes(data)
    with pytest.raises(ConfigError, match="not a netCDF-4 file"):
        open_dataset(tmp_path / "flip.nc")


def test_damaged_pair_averages_are_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.arange(6.0).reshape(2, 3)

    (tmp_path / "run.nc").write_text("of a run")
    averages = learning_data._Averages(tmp_path / "run.nc", xr.Dataset(), 1, tmp_path / "cache")
    kept = averages._kept
    for _ in range(2):
        np.testing.assert_array_equal(kept("pairs", (1,), make), np.arange(6.0).reshape(2, 3))
    assert made == [1]
    (file,) = (tmp_path / "cache").iterdir()
    for damage in (lambda: flip(file), lambda: file.write_bytes(b""), lambda: file.write_text("text")):
        made.clear()
        damage()
        np.testing.assert_array_equal(kept("pairs", (1,), make), np.arange(6.0).reshape(2, 3))
        assert made == [1]


class Raising:
    def __del__(self):
        raise RuntimeError("Event loop is closed")


@pytest.mark.parametrize("debug", [False, True])
def test_what_nobody_can_catch_is_shown_with_debug_alone(debug, tmp_path, capsys, monkeypatch):
    """After a full disk TensorStore's threads find the event loop closed; `ddco` says its one line for that."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    ddco_here(*(("--debug",) if debug else ()), "configs", cwd=tmp_path)
    Raising()
    assert ("Event loop is closed" in capsys.readouterr().err) == debug
