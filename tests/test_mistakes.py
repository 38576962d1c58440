"""Mistakes in a config are answered in plain words: the key, what was given, what it takes, a near match."""

import re

import pytest

from ddco_jax.learning.config import load as load_training
from ddco_jax.md.config import load as load_md
from ddco_jax.settings import ConfigError
from ddco_jax.simulation.config import load

CONFIG = """
[plasma]
temperature_eV = 0.2
[grid]
length_m = 1e-7
nx = 4
velocity_extent_m_s = [25000.0, 25000.0, 25000.0]
nv = [16, 16, 16]
[time]
step_ps = 0.02
steps = 9
[initial]
kind = "maxwellian"
"""
KINDS = 'it must be "maxwellian", "symmetric_double_well", '
MISTAKES = {
    "nv = [16, 16, 16] -> nv = 24": "grid.nv must be 3 positive integers, got 24; write it as [24, 24, 24]",
    "nv = [16, 16, 16] -> nv = [16, 16]": "grid.nv must be 3 positive integers, got [16, 16]",
    "nv = [16, 16, 16] -> nv = [16, 16, 16, 16]": "grid.nv must be 3 positive integers, got [16, 16, 16, 16]",
    "nv = [16, 16, 16] -> nv = [16, 16.5, 16]": "grid.nv must be 3 positive integers, got [16, 16.5, 16]",
    "nv = [16, 16, 16] -> nvv = [16, 16, 16]": "unknown key grid.nvv; did you mean 'nv'?",
    "nv = [16, 16, 16] -> ": "grid.nv is missing; it must be 3 positive integers",
    '"maxwellian" -> "maxwelian"': "initial.kind = \"maxwelian\" is unknown; did you mean 'maxwellian'?",
    '"maxwellian" -> "Maxwellian"': "initial.kind = \"Maxwellian\" is unknown; did you mean 'maxwellian'?",
    '"maxwellian" -> "gauss"': f'initial.kind = "gauss" is unknown; {KINDS}',
    'kind = "maxwellian" -> ': f"initial.kind is missing; {KINDS}",
    'kind = "maxwellian" -> components = []': "unknown key initial.components; did you mean 'component'?",
    '[initial]\nkind = "maxwellian" -> [initial.component]\nfraction = 1.0': "each begun by [[initial.component]]",
    'kind = "maxwellian" -> component = []': "initial.component must be a list of sections, got an empty list",
    '"maxwellian" -> "bimaxwellian"\nanisotropy = "a"': 'initial.anisotropy must be a positive number, got "a"',
    '[initial]\nkind = "maxwellian" -> ': "the section [initial] is missing; it has the keys ",
    "[initial]\nkind -> [initials]\nkind": "unknown key initials; did you mean 'initial'?",
    "steps = 9 -> steps = 9.0": "time.steps must be a positive integer, got 9.0; write it as 9",
    "steps = 9 -> steps = 0": "time.steps must be a positive integer, got 0",
    "step_ps = 0.02 -> step_ps = '0.02'": 'time.step_ps must be a positive number, got "0.02"; write it without quotes',
    "step_ps = 0.02 -> step_ps = '20 fs'": 'got "20 fs"; write the number alone: the name of the key states the unit',
    "step_ps = 0.02 -> step_ps = inf": "time.step_ps must be finite, got inf",
    "step_ps = 0.02 -> step = 0.02": "unknown key time.step; did you mean 'step_ps' or 'steps'?",
    "temperature_eV = 0.2 -> temperature_ev = 0.2": "unknown key plasma.temperature_ev; did you mean 'temperature_eV'?",
    "temperature_eV = 0.2 -> temperature_eV = true": "plasma.temperature_eV must be a positive number, got true",
    "temperature_eV = 0.2 -> temperature_eV = -0.2": "plasma.temperature_eV must be a positive number, got -0.2",
    "[plasma] -> [plasma]\nspecies = 'protn'": "plasma.species = \"protn\" is unknown; did you mean 'proton'?",
    "[plasma] -> [plasma]\nspecies = 1": 'plasma.species = 1 is unknown; it must be "electron", "proton", ',
    "[plasma] -> field = 'ampère'\n[plasma]": "field = \"ampère\" is unknown; did you mean 'ampere'?",
    "[plasma] -> time = 3.0\n[plasma]\n[[q]]\n -> ": "not valid TOML",
    "[time]\nstep_ps = 0.02\nsteps = 9 -> ": "the section [time] is missing; it has the keys step_ps, steps",
    "length_m = 1e-7 -> ": "grid.length_m is missing; it must be a positive number",
    "length_m = 1e-7 -> length_m = 1e-7\nlength_angstrom = 1e3": "are the same length; leave out one of the two",
}
"""The text that is replaced -> its replacement, and what the answer holds."""
OVERRIDES = {
    "time=3": "time must be a section, [time] with keys below it, got 3",
    "collisions.stages=1": "collisions.stages must be an integer of at least 2 and of at most 50, got 1",
    "collisions.kernel=3": "collisions.kernel must be a text, got 3; write it in quotes",
    "initial.density_perturbation=2.0": "must be a number above -1 and below 1, got 2.0",
    "grid.nv=16,16,16": 'got "16,16,16"; write it in brackets, without quotes',
    'initial={component=[{fraction=0.5, shape="bal"}]}': "component.0.shape = \"bal\" is unknown; did you mean 'ball'?",
    "initial={component=[{fraction=1.5}]}": "initial.component.0.fraction must be a number above 0 and of at most 1",
    "initial={component=[{fraction=1.0, drift_m_s=1e3}]}": "must be 3 numbers, got 1000.0; write it as [1000.0, ",
    'initial={component=[{fraction=1.0, temperature_eV="x"}]}': "must be a positive number or 3 positive numbers",
    "output.distribution=1": "output.distribution must be true or false, got 1",
}


def answer(source, overrides=(), read=load):
    """The answer to a mistake, one line without the words of pydantic."""
    with pytest.raises(ConfigError) as caught:
        read(str(source), list(overrides))
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    assert not re.search(r"Input|valid (tuple|string|number|dictionary)|\btag\b|found using|List|type=|None", text)
    return text


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file(mistake, tmp_path):
    before, _, after = mistake.partition(" -> ")
    assert before in CONFIG
    path = tmp_path / "my.toml"
    path.write_text(CONFIG.replace(before, after, 1))
    found = answer(path)
    assert found.startswith(f"{path}: ") and MISTAKES[mistake] in found


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_mistake_on_the_command_line(override, tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(CONFIG)
    load(str(path))
    assert OVERRIDES[override] in answer(path, [override])


def test_mistakes_in_configs_of_md_and_training():
    assert "start.kind = \"bimaxwelian\" is unknown; did you mean 'bimaxwellian'?" in answer(
        "bimaxwellian", ["start.kind=bimaxwelian"], load_md
    )
    assert 'box.particles must be a positive integer, got "1e2"; write it without' in answer(
        "bimaxwellian", ["box.particles='1e2'"], load_md
    )
    assert "data.rounds must be a positive integer, got 0" in answer("ddco", ["data.rounds=0"], load_training)
    assert "data.gamma must be 2 positive numbers, got [0.1]" in answer("ddco", ["data.gamma=[0.1]"], load_training)
