"""How the code is laid out: imports downwards only, short files and functions, a core of few dependencies."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ddco_jax"
CORE = ("plasma", "velocity", "correlations", "kernels", "collisions", "vlasov", "steppers")
LAYERS = (*((name,) for name in CORE), ("simulation", "md"), ("learning",), ("evaluation",), ("plots",), ("cli",))
"""From the lowest to the highest; those of one entry do not import each other."""
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
BLOCKED = ("pydantic", "xarray", "zarr", "cyclopts", "optax", "orbax", "matplotlib", "netCDF4", "tqdm")


def modules(root):
    """The file of every module of the package in a folder, by dotted name."""
    names = {}
    for file in sorted(root.rglob("*.py")):
        parts = [root.name, *file.relative_to(root).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(name, file, known):
    """(module, line, at the top of the file?) for every module of the package that a file imports, in functions too."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            while target and target not in known:  # a name in a module counts as its module
                target = target.rpartition(".")[0]
            if target:
                yield target, node.lineno, node in tree.body


def layer(name):
    """The folder, or the module at the top, in which a module lives; empty for the face of the package."""
    return (name.partition(".")[2]).partition(".")[0]


def allowed(name, target, at_top):
    """Whether one module of the package may import another."""
    here, there = layer(name), layer(target)
    if not here:  # the face of the package; what its functions import is loaded when they are called
        return there in CORE or not at_top
    if not there:  # the names of the face live in folders
        return False
    if here == "settings":
        return there == here or target.split(".")[1:] == ["plasma", "units"]
    if there == "settings":
        return RANK[here] >= RANK["simulation"]
    return here == there or RANK[there] < RANK[here]


def faults(root):
    """One line per import that is not allowed and per cycle of modules."""
    known, found, graph = modules(root), [], {}
    for name, file in known.items():
        graph[name] = set()
        for target, line, at_top in imports(name, file, known):
            if not allowed(name, target, at_top):
                found.append(f"{name}:{line} imports {target}")
            if target != name and layer(name):
                graph[name].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        found.append("cycle: " + " <- ".join(error.args[1]))
    return found


def test_every_module_has_a_layer():
    assert {layer(name) for name in modules(PACKAGE)} == {"", "settings", *RANK}


def test_imports_go_downwards_and_never_round():
    assert faults(PACKAGE) == []


def tree(folder, files):
    root = folder / "ddco_jax"
    for path in ("__init__.py", *(f"{name}/__init__.py" for name in ("plasma", "kernels", "md", "simulation"))):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    for path, text in files.items():
        (root / path).write_text(text)
    return root


FAULTS = {
    "upward": (
        {"plasma/a.py": "from ddco_jax.kernels import b", "kernels/b.py": ""},
        "plasma.a:1 imports {}.kernels.b",
    ),
    "in a function": ({"plasma/a.py": "def f():\n    import ddco_jax.kernels"}, "plasma.a:2 imports {}.kernels"),
    "relative": ({"plasma/a.py": "from ..kernels import Kernel"}, "plasma.a:1 imports {}.kernels"),
    "side by side": ({"md/a.py": "from ddco_jax import simulation"}, "md.a:1 imports {}.simulation"),
    "settings": ({"kernels/a.py": "from ddco_jax.settings import Section", "settings.py": ""}, "imports {}.settings"),
    "of settings": ({"settings.py": "from ddco_jax.plasma import a", "plasma/a.py": ""}, "imports {}.plasma.a"),
    "face": ({"kernels/a.py": "from ddco_jax import PhaseGrid"}, "kernels.a:1 imports {}"),
    "of the face": ({"__init__.py": "from ddco_jax.md import a", "md/a.py": ""}, "{}:1 imports {}.md.a"),
    "cycle": ({"md/a.py": "from ddco_jax.md.b import x", "md/b.py": "import ddco_jax.md.a"}, "cycle: "),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_in_a_tree_is_found(case, tmp_path):
    files, message = FAULTS[case]
    (fault,) = faults(tree(tmp_path, files))
    assert message.replace("{}", "ddco_jax") in fault


def test_a_tree_without_fault_passes(tmp_path):
    files = {
        "__init__.py": "from ddco_jax.kernels import b\ndef f():\n    from ddco_jax.simulation import run",
        "settings.py": "from ddco_jax.plasma.units import Scales",
        "plasma/units.py": "import numpy",
        "kernels/b.py": "from ddco_jax.plasma.units import Scales\nfrom ddco_jax import plasma",
        "md/a.py": "from ddco_jax import settings\nfrom ddco_jax.kernels import b",
        "simulation/run.py": "from .. import settings",
    }
    assert faults(tree(tmp_path, files)) == []


def test_the_top_of_the_package_stays_small():
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert 0 < len(entries) <= 18


@pytest.mark.parametrize("name", modules(PACKAGE))
def test_a_module_says_what_it_is_for(name):
    """The first line of its docstring is a sentence."""
    doc = ast.get_docstring(ast.parse(modules(PACKAGE)[name].read_text())) or ""
    first = doc.partition("\n")[0]
    assert first.endswith(".") and len(first.split()) >= 2


def test_files_and_functions_are_short():
    """At most 400 lines in a file and 60 in a function, decorators apart."""
    files = [f for folder in ("ddco_jax", "tests", "scripts", "benchmarks") for f in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    long = []
    for file in files:
        text, where = file.read_text(), file.relative_to(ROOT)
        if (lines := len(text.splitlines())) > 400:
            long.append(f"{where} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    long.append(f"{where}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


PROBE = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {blocked}:
            return None
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__", "").startswith("importlib"):
            frame = frame.f_back
        # flax imports these itself, whatever of it is used
        if top in ("optax", "orbax") and frame.f_globals.get("__name__", "").startswith(("flax.", "optax", "orbax")):
            return None
        raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())
for name in {names}:
    importlib.import_module(name)
"""


def probe(names):
    code = PROBE.format(blocked=BLOCKED, names=names)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_core_needs_neither_settings_nor_files_nor_figures():
    core = [name for name in modules(PACKAGE) if layer(name) in CORE]
    assert len(core) > 30
    done = probe(["ddco_jax", *core])
    assert done.returncode == 0, done.stderr
    assert "is blocked" in probe(["ddco_jax.settings"]).stderr  # the probe notices what it forbids
