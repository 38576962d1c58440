"""Learned kernels on disk: named arrays, the first format, what is refused; recompressed kernels load and run."""

import dataclasses
import json
import shutil
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_conserved, ddco_here

from ddco_jax import CollisionOperator, PhaseGrid, initial, steppers
from ddco_jax.collisions.operator import CollisionOperator as Operator
from ddco_jax.correlations import NoMemory, Quench
from ddco_jax.kernels import store
from ddco_jax.kernels.forms import ConvexForm, LandauForm, LowRankForm, SeparableForm, buildup_name
from ddco_jax.learning import recompress
from ddco_jax.plasma.state import State

FORMAT_1, FORMAT_2 = (Path(__file__).parent / "data" / name for name in ("format_1", "format_2"))
NAMES = ("ddco", "ddco-paper", "dd-landau", "ddco-convex")
GRID = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
FORMS = {
    "separable": SeparableForm(rank=2, perpendicular=False, width=3),
    "low rank": LowRankForm(rank=2, width=3, depth=1, buildup="rise"),
    "landau": LandauForm(width=4, state="free"),
    "convex": ConvexForm(buildup="off"),
}


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(
        jax.tree.leaves(eqx.filter(a, eqx.is_array)), jax.tree.leaves(eqx.filter(b, eqx.is_array)), strict=True
    ):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_format_is_read(name):
    """The kernels of version 0.1 are those of the second format, whose arrays have names; ddco is ddco-quench now."""
    assert "format" not in json.loads((FORMAT_1 / name / "kernel.json").read_text())
    old = store.load_learned(FORMAT_1 / name)
    new = store.load_learned("ddco-quench" if name == "ddco" else FORMAT_2 / name)
    equal(old, new)
    assert all(a.size for a in store.arrays_of(new).values())


def test_the_second_format_is_read():
    """Its "quench" is the law of version 0.1, without a memory."""
    folder = store.pretrained()["ddco-quench"]
    stored = json.loads((folder / "kernel.json").read_text())
    assert stored["format"] == 2 and stored["kernel"]["buildup"] == "quench"
    law = store.load_learned("ddco-quench").buildup
    assert buildup_name(law) == "quench_0.1" and buildup_name(Quench.initial()) == "quench"
    assert isinstance(law.memory, NoMemory)


@pytest.mark.parametrize("name", FORMS)
def test_what_is_stored_comes_back(name, tmp_path):
    model = FORMS[name].build(4)
    store.save(tmp_path, FORMS[name], model, {"description": name})
    equal(store.load_learned(tmp_path), model)
    assert json.loads((tmp_path / "kernel.json").read_text())["format"] == store.FORMAT
    assert not list(tmp_path.glob("*.part"))


def test_names_say_where_a_parameter_belongs():
    names = store.arrays_of(store.load_learned("ddco"))
    assert len(names) == 18 + 19 + 4
    for name in (
        "kernel.terms.0.parallel.network.layers.2.bias",
        "buildup.pairs.ringing.lifetime",
        "buildup.microfield.neighbour_fading.time",
        "buildup.hole.radius",
        "buildup.memory.growth",
        "tagged.swing",
    ):
        assert name in names


def test_the_order_in_the_file_does_not_matter(tmp_path):
    """A class whose fields change places reads the same parameters: they are found by name."""
    shutil.copytree(store.pretrained()["ddco"], tmp_path / "ddco")
    with np.load(tmp_path / "ddco" / "parameters.npz") as stored:
        arrays = {name: stored[name] for name in reversed(stored.files)}
    np.savez(tmp_path / "ddco" / "parameters.npz", **arrays)
    equal(store.load_learned(tmp_path / "ddco"), store.load_learned("ddco"))


def kernel_json(change):
    def spoil(folder):
        text = json.loads((folder / "kernel.json").read_text())
        change(text)
        (folder / "kernel.json").write_text(json.dumps(text))

    return spoil


def arrays(change):
    def spoil(folder):
        with np.load(folder / "parameters.npz") as stored:
            values = dict(stored)
        change(values)
        np.savez(folder / "parameters.npz", **values)

    return spoil


def one_array(folder):
    with open(folder / "parameters.npz", "wb") as file:
        np.save(file, np.ones(2))


SPOILT = {
    "newer": (NAMES[0], kernel_json(lambda t: t.update(format=4)), "reads formats up to 3, not 4"),
    "form": (NAMES[0], kernel_json(lambda t: t["kernel"].update(form="neural")), "kernel.form must be one of"),
    "list of forms": (NAMES[0], kernel_json(lambda t: t["kernel"].update(form=["a"])), "kernel.form must be one of"),
    "deep": (NAMES[0], lambda folder: (folder / "kernel.json").write_text("[" * 100_000), "recursion"),
    "key": (
        NAMES[0],
        kernel_json(lambda t: t["kernel"].update(widht=3)),
        "unknown key kernel.widht; did you mean 'width'",
    ),
    "type": (NAMES[0], kernel_json(lambda t: t["kernel"].update(width="12")), "kernel.width must be of type int"),
    "missing": (NAMES[0], arrays(lambda a: a.pop("buildup.hole.radius")), "buildup.hole.radius is missing"),
    "foreign": (NAMES[0], arrays(lambda a: a.update(x=np.ones(2))), "x is no parameter"),
    "shape": (NAMES[0], arrays(lambda a: a.update({"buildup.hole.radius": np.ones(3)})), "has shape (3,), not (2,)"),
    "text": (NAMES[0], lambda folder: (folder / "kernel.json").write_text("{"), "Expecting property name"),
    "list": (NAMES[0], lambda folder: (folder / "kernel.json").write_text("[1]"), "not an object of JSON"),
    "no form": (NAMES[0], kernel_json(lambda t: t.pop("kernel")), "holds no specification"),
    "no arrays": (
        NAMES[0],
        lambda folder: (folder / "parameters.npz").write_bytes(b""),
        "not a readable file of arrays",
    ),
    "objects": (NAMES[0], arrays(lambda a: a.update(x=np.array([None]))), "not a readable file of arrays"),
    "nan": (NAMES[0], arrays(lambda a: a["buildup.hole.radius"].fill(np.nan)), "must hold finite real numbers"),
    "words": (
        NAMES[0],
        arrays(lambda a: a.update({"buildup.hole.radius": np.array(["1", "2"])})),
        "finite real numbers",
    ),
    "one array": (NAMES[0], one_array, "not a readable file of arrays"),
    "swapped": (
        NAMES[0],
        kernel_json(lambda t: t["kernel"].update(buildup="rise")),
        "buildup.time is missing",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_does_not_fit_is_refused_in_one_line(case, tmp_path):
    name, spoil, message = SPOILT[case]
    shutil.copytree(store.pretrained()[name], tmp_path / "kernel")
    spoil(tmp_path / "kernel")
    with pytest.raises(ValueError) as error:
        store.load_learned(tmp_path / "kernel")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_the_command_says_so_too(tmp_path):
    shutil.copytree(store.pretrained()["ddco"], tmp_path / "kernel")
    arrays(lambda a: a.pop("buildup.hole.radius"))(tmp_path / "kernel")
    options = ("--set", "collisions.kernel=kernel", "--set", "collisions.buildup=quench")
    _, err = ddco_here("check", "relaxation", *options, cwd=tmp_path, expect=2)
    assert "buildup.hole.radius is missing" in err and err.count("\n") == 1


FIRST = {
    "switch": (kernel_json(lambda t: t["kernel"].update(hole="yes")), "kernel.hole must be true or false, got 'yes'"),
    "key": (kernel_json(lambda t: t["kernel"].update(bogus=1)), "unknown key kernel.bogus"),
    "flags": (kernel_json(lambda t: t["kernel"].update(hole=False)), "train a new one"),
    "factors": (kernel_json(lambda t: t["kernel"].update(factors=False)), "train a new one"),
    "short": (arrays(lambda a: a.update({"20": np.ones((1, 2))})), "fewer entries than"),
    "count": (arrays(lambda a: a.pop("25")), "holds 25 arrays, but its kernel.json needs 26"),
    "build-up": (kernel_json(lambda t: t["kernel"].update(buildup=False)), "holds 26 arrays"),
}


@pytest.mark.parametrize("case", FIRST)
def test_experiments_of_the_first_format_are_refused_in_one_line(case, tmp_path):
    spoil, message = FIRST[case]
    shutil.copytree(FORMAT_1 / "ddco", tmp_path / "kernel")
    spoil(tmp_path / "kernel")
    with pytest.raises(ValueError) as error:
        store.load_learned(tmp_path / "kernel")
    assert message in str(error.value) and "\n" not in str(error.value)


def parts(module):
    """A module and all modules in its fields."""
    yield module
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, eqx.Module):
                yield from parts(item)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_optional_in_correlations_and_collisions(name):
    learned = store.load_learned(name)
    now = learned.buildup(jnp.ones(2), jnp.ones(2))
    found = [m for top in (learned.buildup, now, Operator(GRID, learned.kernel)) for m in parts(top)]
    checked = [m for m in found if type(m).__module__.startswith(("ddco_jax.correlations", "ddco_jax.collisions"))]
    assert len(checked) >= 3
    for module in checked:
        for field in dataclasses.fields(module):
            assert getattr(module, field.name) is not None, (type(module), field.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recompressed_kernel_loads_and_runs(name, tmp_path, monkeypatch):
    """Two products of every learned kernel: read again with its build-up, one step conserves and relaxes."""
    monkeypatch.setattr(recompress, "STEPS", 3)
    monkeypatch.setattr(recompress, "_cost", lambda kernel: (1, 1.0))  # timed in test_learning
    with jax.numpy_dtype_promotion("standard"):
        found = recompress.recompress_learned(name, tmp_path / "small", 2)
    assert np.all(found.distance > 0)
    learned = store.load_learned(tmp_path / "small")
    assert len(learned.kernel.terms) == 2
    equal(learned.buildup, store.load_learned(name).buildup)
    op = CollisionOperator(GRID, store.load_kernel(tmp_path / "small"))
    f = jnp.asarray(initial.bimaxwellian(GRID, 1.0, 0.4, 0.5))
    state = State.from_distribution(GRID, f, correlation_age=np.ones(2))
    step = steppers.MidpointCollision(op, learned.buildup)
    change = step.step(state, jnp.asarray(0.01)).f - f
    assert_conserved(GRID, op(f, step.correlations(state)))
    assert np.max(np.abs(change)) > 1e-6 * np.max(f) and np.all(np.isfinite(change))
