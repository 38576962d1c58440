"""A run goes on with the kernel that it was begun with, whatever has become of the one that its config names."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ddco_here, said

import ddco_jax
from ddco_jax import open_result
from ddco_jax.kernels import store
from ddco_jax.plasma.files import read_json, sealed

CONFIG = (
    "collisions.kernel=mine",
    "grid.nv=[12, 12, 12]",
    "time.steps=2",
    "output.snapshot_every=1",
    "output.checkpoint_every=1",
)
SETTINGS = [word for setting in CONFIG for word in ("--set", setting)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("provenance")
    shutil.copytree(store.pretrained()["dd-landau"], folder / "mine")
    ddco_here("run", "relaxation", "--out", "whole", *SETTINGS, cwd=folder)
    return folder


@pytest.fixture
def half(whole, tmp_path):
    """The run as a kill after the first step leaves it, with the kernel of its config."""
    folder = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(folder / "whole" / "checkpoints" / "2")
    return folder


def change(folder, seed=3):
    """Another kernel of the same form and name."""
    form, _ = store._form(read_json(folder / "kernel.json"))
    store.save(folder, form, form.build(seed), {"description": "another"})


@pytest.mark.parametrize("fate", ["replaced", "removed"])
def test_resume_uses_the_copy_of_the_kernel(fate, half, whole):
    change(half / "mine") if fate == "replaced" else shutil.rmtree(half / "mine")
    _, err = ddco_here("resume", "whole", cwd=half)
    assert said(err) == []
    one, two = open_result(whole / "whole"), open_result(half / "whole")
    np.testing.assert_array_equal(one["snapshots/f_vxvy"], two["snapshots/f_vxvy"])
    np.testing.assert_array_equal(one["history/entropy"], two["history/entropy"])
    assert two.attrs["kernel"] == "mine" and json.loads(two.attrs["config"])["collisions"]["kernel"] == "mine"
    first, last = (one["snapshots/f_vxvy"].to_numpy()[i] for i in (0, -1))
    assert np.linalg.norm(last - first) > 1e-3 * np.linalg.norm(first)  # it collides


@pytest.mark.parametrize("fate", ["replaced", "removed"])
def test_a_copy_that_was_changed_is_refused(fate, half):
    copy = half / "whole" / "kernel"
    change(copy) if fate == "replaced" else (copy / "parameters.npz").unlink()
    _, err = ddco_here("resume", "whole", cwd=half, expect=2)
    message = "was changed after it was written" if fate == "replaced" else "is missing"
    assert message in err and "begin the run again" in err and err.count("\n") == 1


def test_other_versions_are_said_and_older_runs_go_on(half):
    file = half / "whole" / "config.json"
    settings = read_json(file)
    assert set(settings["kernel"]) == {"kernel.json", "parameters.npz"}
    del settings["kernel"]
    file.write_text(json.dumps(sealed(settings | {"version": "0.0.7"})))
    shutil.rmtree(half / "whole" / "kernel")
    _, err = ddco_here("resume", "whole", cwd=half)
    version, kernel = said(err)
    assert version.startswith("note: begun with version 0.0.7, goes on with ")
    assert kernel == "note: the run has no copy of its kernel; it goes on with mine as it is now"


def test_a_config_that_is_none_is_refused(half):
    (half / "whole" / "config.json").write_text(json.dumps(sealed({"name": "x", "config": {"scheme": "paper"}})))
    _, err = ddco_here("resume", "whole", cwd=half, expect=2)
    assert "holds no config of a run" in err and err.count("\n") == 1


def test_the_version_is_one_and_later_than_the_one_that_texts_call_old(whole):
    """It is in the code alone: --version, results and the citation have it, and so has the wheel (test_cli)."""
    out, _ = ddco_here("--version", cwd=whole)
    assert out.strip() == ddco_jax.__version__ == open_result(whole / "whole").attrs["version"]
    assert read_json(whole / "whole" / "config.json")["version"] == ddco_jax.__version__
    assert tuple(int(part) for part in ddco_jax.__version__.split(".")[:2]) > (0, 1)
    root = Path(__file__).parents[1]
    assert f"version: {ddco_jax.__version__}\n" in (root / "CITATION.cff").read_text()
    released, _, stage = ddco_jax.__version__.partition(".dev")
    assert f"## {f'Unreleased ({released})' if stage else released}\n" in (root / "CHANGELOG.md").read_text()
