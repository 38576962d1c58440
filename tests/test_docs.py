"""The README and the site: links, code blocks, generated pages, the strict build."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from helpers import ddco_here, slow_but

from ddco_jax.simulation.config import load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def anchor(heading):
    """As GitHub and Python-Markdown make it."""
    kept = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
    return re.sub(r"[-\s]+", "-", kept)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, place = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if place:
            headings = [anchor(h) for h in re.findall(r"(?m)^#+ (.*)$", file.read_text())]
            assert place in headings, target


def test_files_that_pages_name_exist():
    """Paths in backquotes: of the repository, or below ddco_jax/."""
    named = 0
    for page in PAGES:
        for path in re.findall(r"`([\w./]+\.(?:py|sh|toml|md|json))`", page.read_text()):
            if "/" in path and "NAME" not in path:
                named += 1
                assert (ROOT / path).exists() or (ROOT / "ddco_jax" / path).exists(), f"{page.name}: {path}"
    assert named > 50


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8192


def run_python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


GRADIENT = """
import numpy as np
h, f = 1e-4, jax.jit(entropy)
for by, step in ((by_T, (h, 0.0)), (by_prefactor, (0.0, h))):
    up, down = (f(0.22 + sign * step[0], 0.03 + sign * step[1]) for sign in (1, -1))
    np.testing.assert_allclose(by, (up - down) / (2 * h), rtol=1e-4)
print("differences agree")
"""


@pytest.mark.parametrize("page", slow_but(["README.md"], ["README.md", "docs/python.md"]))
def test_python_examples_run(page, tmp_path):
    """As printed, but with fewer points and steps."""
    code = "\n".join(blocks(ROOT / page, "python"))
    small = code.replace("(48, 32, 32)", "(24, 16, 16)").replace("n_steps=5", "n_steps=2")
    small = small.replace(", 20, v_max", ", 4, v_max").replace("v_max=(2.95, 3.41, 3.41)", "v_max=(2.2, 2.6, 2.6)")
    assert small != code
    if "entropy" in code:
        small = (
            small.replace("v_max=(2.6, 3.0, 3.0), nv=(24, 20, 20)", "v_max=(2.6, 3.0, 3.0), nv=(16, 16, 16)") + GRADIENT
        )
    done = run_python(small, tmp_path)
    assert done.returncode == 0, done.stderr
    drift, _, rest = done.stdout.partition("]")
    assert np.max(np.abs(np.array(drift.strip("[").split(), float))) < 1e-12
    assert page == "README.md" or "differences agree" in rest


def test_a_case_and_its_gradient_are_five_lines():
    """Two more name what is needed and print the result."""
    lines = blocks(ROOT / "docs" / "python.md", "python")[-1].splitlines()
    grid, *body, gradient, shown = [line for line in lines if line]
    assert "PhaseGrid" in grid and "value_and_grad" in gradient and shown.startswith("print")
    assert len([*body, gradient]) == 5


@pytest.mark.slow
def test_the_plasma_of_getting_started_runs(tmp_path):
    """The config is accepted as printed and runs with fewer points; what is printed of its result is a small number."""
    page = ROOT / "docs" / "getting_started.md"
    (config,), (code,) = blocks(page, "toml"), blocks(page, "python")
    assert len(config.splitlines()) <= 25 and tomllib.loads(config)["grid"]["nx"] > 1
    (tmp_path / "my_plasma.toml").write_text(config)
    load(str(tmp_path / "my_plasma.toml"))
    small = ("--set", "grid.nv=[20, 20, 20]", "--set", "grid.nx=4", "--set", "time.steps=2")
    ddco_here("run", "my_plasma.toml", "--out", "my_run", *small, cwd=tmp_path)
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) < 1e-5


def test_the_configuration_page_is_what_the_models_say(tmp_path):
    page = ROOT / "docs" / "configuration.md"
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import configuration_page
configuration_page.PAGE = __import__("pathlib").Path({str(tmp_path / "page.md")!r})
configuration_page.main()
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.md").read_text() == page.read_text()


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "theory" / "index.html").exists()
