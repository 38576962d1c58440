"""The package from Python: configs, runs and models by name, the examples of their help, five lines with a gradient."""

import doctest
import inspect
import sys

import jax
import numpy as np
import pytest

import ddco_jax as ddco
from ddco_jax.settings import ConfigError

SMALL = {"grid.nv": [20, 16, 16], "time.steps": 2, "collisions.kernel": "landau", "collisions.buildup": "off"}
PUBLIC = ("load_config", "run", "load_model", "initial")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_in_its_help_is_right(name):
    item = getattr(ddco, name)
    assert ">>> " in inspect.getdoc(item)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for test in finder.find(item, name, globs={}):
        runner.run(test)
    assert runner.tries > 1 and runner.failures == 0


def test_what_the_package_names_is_there():
    assert set(ddco.__all__) <= set(dir(ddco))
    for name in ddco.__all__:
        assert getattr(ddco, name) is not None
    assert callable(ddco.run) and "ddco_jax.run" not in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = ddco.runn


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("python") / "run"
    return folder, ddco.run("relaxation", folder, SMALL)


def test_a_run_is_stored_in_its_folder(stored):
    folder, result = stored
    again = ddco.open_result(folder)
    for node in ("history", "snapshots"):
        assert result[node].to_dataset().identical(again[node].to_dataset())
    assert (folder / "checkpoints").is_dir() and result.attrs["name"] == "relaxation"
    with pytest.raises(ConfigError, match="is not empty"):
        ddco.run("relaxation", folder, SMALL)


def test_a_run_of_a_config_without_a_folder_is_the_same(stored, tmp_path, monkeypatch):
    """It leaves no file behind, and JAX as it was."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    config = ddco.load_config("relaxation", {k: v for k, v in SMALL.items() if k != "time.steps"})
    jax.config.update("jax_enable_x64", False)
    try:
        result = ddco.run(config, overrides={"time.steps": 2})
        assert not jax.config.read("jax_enable_x64")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert list(tmp_path.iterdir()) == []
    for node in ("history", "snapshots"):
        assert result[node].to_dataset().equals(stored[1][node].to_dataset())


def test_overrides_are_checked_like_a_file():
    config = ddco.load_config("relaxation", {"grid.nv": (24, 20, 20)})
    assert ddco.load_config(config) is config
    assert ddco.load_config(config, {"time.steps": 3}).grid.nv == (24, 20, 20)
    paper = ddco.load_config(ddco.load_config("relaxation", {"scheme": "paper"}), {"time.steps": 3})
    assert (paper.collisions.force, paper.time.steps) == ("log", 3)
    for source in ("relaxation", config):
        with pytest.raises(ConfigError, match=r"unknown key time\.stps; did you mean 'steps'"):
            ddco.load_config(source, {"time.stps": 3})
    with pytest.raises(ConfigError, match=r"precision\.x: precision is not a section"):
        ddco.load_config("relaxation", {"precision.x": 3})


def test_a_section_of_a_list_is_set_by_its_number():
    config = ddco.load_config(
        "bump_on_tail", {"initial.component.1.fraction": 0.2, "initial.component.0.fraction": 0.8}
    )
    assert [component.fraction for component in config.initial.component] == [0.8, 0.2]
    with pytest.raises(ConfigError, match=r"give the number of the section, from 0: initial\.component\.0\.fraction"):
        ddco.load_config("bump_on_tail", {"initial.component.fraction": 0.2})
    with pytest.raises(ConfigError, match=r"component\.2\.fraction: 2 is not a section"):
        ddco.load_config("bump_on_tail", {"initial.component.2.fraction": 0.2})


def test_a_model_is_its_kernel_with_its_law():
    """Strang takes it in place of an operator; a stated law takes the place of the model's."""
    grid = ddco.PhaseGrid(1.0, 1, (2.2, 2.0, 2.0), (8, 8, 8))
    scales = ddco.units.Scales(length=2e-8)
    model = ddco.load_model("ddco", scales)
    short, long = (
        ddco.steppers.Strang(grid, model, "none"),
        ddco.steppers.Strang(
            grid, ddco.CollisionOperator(grid, ddco.load_kernel("ddco", scales)), "none", buildup=model.buildup
        ),
    )
    assert jax.tree.structure(short) == jax.tree.structure(long)
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (short, long)), strict=True))
    law = ddco.steppers.Strang(grid, model, "none", buildup=ddco.load_model("landau").buildup).collision.buildup
    assert type(law).__name__ == "Markov"
    with pytest.raises(ValueError, match="no kernel 'absent'; there are landau"):
        ddco.load_model("absent")


def test_one_age_is_that_of_all_cells():
    grid = ddco.PhaseGrid(4.0, 3, (2.2, 2.0, 2.0), (8, 8, 8))
    f = ddco.initial.maxwellian(grid, 1.0, 0.3)
    age = ddco.State.from_distribution(grid, f, correlation_age=2.0).correlation_age
    assert np.array_equal(age, [2.0, 2.0, 2.0])
