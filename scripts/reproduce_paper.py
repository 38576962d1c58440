"""Reproduces the results of the paper (arXiv:2603.27828): its figures, and the numbers of docs/paper.md.

    python scripts/reproduce_paper.py [fig1 ... fig7 figC8 results ...] [options]

Without a name all figures are made, then the results.  A figure needs some of the runs of `runs`; those that are
complete are not run again, and one that was interrupted goes on from its last checkpoint.  Figures go to OUT/figures.
`results` measures all runs that are complete and stores the errors in benchmarks/results/paper.json, run by run;
`python scripts/tables.py` then fills docs/paper.md.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

from ddco_jax.evaluation import paper  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.evaluation.report import measured_coefficients  # noqa: E402
from ddco_jax.md.dataset import open_dataset  # noqa: E402
from ddco_jax.plasma.files import write_text  # noqa: E402
from ddco_jax.plots import columns, series  # noqa: E402
from ddco_jax.plots.coefficients import coefficients_figure  # noqa: E402
from ddco_jax.plots.style import STYLE, Drawing, save  # noqa: E402
from ddco_jax.settings import ConfigError, RunFailed, parsed  # noqa: E402
from ddco_jax.simulation import config, sweep  # noqa: E402
from ddco_jax.simulation.interrupts import Stopped  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
MD = ROOT / "data" / "md"
RESULT = ROOT / "benchmarks" / "results" / "paper.json"
DOCS = ROOT / "docs" / "figures"
STARTS = ("local_maxwellian", "bimaxwellian", "symmetric_double_well", "asymmetric_double_well")
KERNELS = ("ddco", "ddco-paper", "dd-landau", "landau")
PAPER_SCHEME = "ddco-paper, paper's scheme"
CELLS, TIMES, STRIP_TIMES = (0, 5, 10, 15), (0.4, 0.8), (0.4, 0.6)
"""Cells and times (t0) of the paper's figures."""
COARSE = "ddco, coarse"
"""Three quarters of the points along each velocity axis and twice the time step: the solver's own error."""
MARKOVIAN = {"collisions.buildup": "off"}
"""Kernels without a build-up of correlations, as they were learned."""
SINGLE = STARTS[1:]
"""Starts that run in single precision with `ddco-paper` on two cores: its C[f] takes five times as long."""
GRIDS = {
    "local_maxwellian": {"grid.nv": [28, 28, 28]},
    "bimaxwellian": {"grid.nv": [48, 32, 32]},
    "symmetric_double_well": {"grid.nv": [62, 62, 62]},
    "asymmetric_double_well": {"grid.nv": [54, 54, 54], "collisions.substeps": 2},
}
"""Grids on which the paper's scheme is stable on two cores; at the paper's size its own."""
COARSE_GRIDS = {
    "local_maxwellian": [22, 22, 22],
    "bimaxwellian": [36, 24, 24],
    "symmetric_double_well": [34, 34, 34],
    "asymmetric_double_well": [64, 64, 64],
}
BYTES = 200_000
"""Largest size of a figure of the documentation."""


def overrides(start: str, column: str, paper_size: bool) -> dict:
    """What a run changes in the shipped config of its start."""
    if column == COARSE:
        return {"grid.nv": COARSE_GRIDS[start], "time.step_ps": 0.1, "time.steps": 8, "output.snapshot_every": 1}
    chosen = {} if column == "ddco" else {"collisions.kernel": column.partition(",")[0], **MARKOVIAN}
    if column == "ddco-paper" and start in SINGLE and not paper_size:
        chosen["precision"] = "float32"
    if column == PAPER_SCHEME:
        chosen |= {"scheme": "paper", "precision": "float64", "time.step_ps": 0.02, "time.steps": 40}
        chosen |= {"output.snapshot_every": 5, "output.checkpoint_every": 5} | ({} if paper_size else GRIDS[start])
    return chosen


def needs(figure: str) -> list[tuple[str, str]]:
    """The runs of a figure or of the results, by start and column."""
    local, bimaxwellian, symmetric, asymmetric = STARTS
    of = {
        "fig1": [],
        "fig2": [(symmetric, c) for c in (*KERNELS, PAPER_SCHEME)],
        "fig3": [(asymmetric, c) for c in KERNELS],
        "fig6": [(s, c) for s in (local, bimaxwellian) for c in ("ddco", PAPER_SCHEME)],
        "fig7": [(s, "ddco") for s in STARTS],
        "figC8": [(symmetric, c) for c in ("ddco", "ddco-paper", "dd-landau")],
        "results": [(s, c) for s in STARTS for c in (*KERNELS, COARSE)],
    }
    return (of | {"fig4": of["fig2"], "fig5": of["fig3"]})[figure]


def has(figure: str) -> set[str]:
    """The columns of a figure."""
    return {column for _, column in needs(figure)}


FIGURES = ("fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "figC8")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where the runs are, how large they are, and which columns are wanted."""

    out: Path
    paper_size: bool = False
    columns: Sequence[str] = ()
    """Only these, where any are given."""
    settings: Sequence[str] = ()
    """section.key=value for all runs."""
    docs: bool = False

    def runs(self, figure: str) -> list[tuple[str, str]]:
        """The runs of a figure that are wanted; an accelerator needs no run on a coarser grid.  Raises ConfigError."""
        every = [run for run in needs(figure) if not (self.paper_size and run[1] == COARSE)]
        wanted = [run for run in every if not self.columns or run[1] in self.columns]
        if every and not wanted:
            raise ConfigError(f"--column: {figure} has none of these; it has {', '.join(sorted(has(figure)))}")
        return wanted

    def folder(self, start: str, column: str) -> Path:
        return self.out / "runs" / f"{start}-{column.replace(', ', '-').replace(' ', '_').replace(chr(39), '')}"

    def point(self, start: str, column: str) -> tuple[str, sweep.Point]:
        """The config that a run starts from, and the run."""
        source = f"{start}_paper" if self.paper_size else start
        changed = overrides(start, column, self.paper_size) | dict(map(parsed, self.settings))
        return source, sweep.Point(self.folder(start, column), (), changed, config.load(source, changed)[0])

    def complete(self, runs: Sequence[tuple[str, str]]) -> None:
        """Run, or go on with, what is not complete.  Raises RunFailed."""
        for start, column in runs:
            source, point = self.point(start, column)
            sweep.require_same(point)
            if sweep.is_complete(point):
                continue
            print(f"{point.folder}: its progress is in run.log", file=sys.stderr, flush=True)
            (outcome,) = sweep.run_all(sweep.Sweep(source, {}, [point]), self.out)
            if outcome.status != "complete":
                raise RunFailed(outcome.error)

    def draw(self, figure: str) -> None:
        """Complete the runs of a figure and draw it."""
        runs = self.runs(figure)
        self.complete(runs)
        with plt.rc_context(STYLE):
            for name, drawing in drawings(figure, {run: self.folder(*run) for run in runs}).items():
                for path in save(drawing, self.out / "figures", name, ["png", "pdf"]):
                    print(path)
        if self.docs:
            for path in sorted((self.out / "figures").glob(f"{figure}*.png")):
                shrink(path, DOCS / f"paper_{path.name}")

    def measure(self) -> None:
        """Complete the runs of the results, and store the errors of all runs that are complete."""
        self.complete(self.runs("results"))
        every = dict.fromkeys(run for name in ("results", "fig2", "fig6") for run in needs(name))
        record(self, [run for run in every if run[1] != COARSE])


def drawings(figure: str, folders: dict[tuple[str, str], Path]) -> dict[str, Drawing]:
    """A figure as one or more drawings, from the folders of its runs by start and column."""
    if figure == "fig1":
        return {figure: coefficients_figure(measured=coefficients())}
    if figure == "fig6":
        return {figure: series.conservation(folders)}
    if figure == "fig7":
        return {figure: series.entropy({start: folder for (start, _), folder in folders.items()})}
    (start,) = {start for start, _ in folders}
    found = columns.Columns.of(slab(start), {column: folder for (_, column), folder in folders.items()})
    if figure in ("fig4", "fig5"):
        return {figure: columns.strip_columns(found, STRIP_TIMES)}
    times = TIMES[:1] if figure == "figC8" else TIMES
    return {f"{figure}_{time:g}t0".replace(".", "p"): columns.plane_columns(found, CELLS, time) for time in times}


def slab(start: str, family: str = "i"):
    """The MD of a start in the paper's box."""
    return open_dataset(MD / "slabs" / f"{family}_{start}.nc").load()


def coefficients():
    """Green-Kubo coefficients of the MD."""
    return measured_coefficients(sorted((MD / "equilibrium").glob("*.nc")))


def record(plan: Plan, runs: Sequence[tuple[str, str]]) -> None:
    """Measure the complete runs and the transport coefficients, and store them."""
    size, made = "paper" if plan.paper_size else "two cores", provenance("scipy")
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
    stored["coefficients"] = {"made": made, "rows": paper.coefficients(KERNELS, coefficients())}
    for start, column in runs:
        _, point = plan.point(start, column)
        if not sweep.is_complete(point):
            continue
        row = {"size": size, "made": made, **paper.measure(point.folder, slab(start), CELLS, TIMES)}
        if column == "ddco":
            row["family ii"] = paper.errors(point.folder, slab(start, "ii"), CELLS)
            row["families"] = paper.gap(slab(start), slab(start, "ii"))
            coarse = plan.point(start, COARSE)[1] if not plan.paper_size else point
            if coarse is not point and sweep.is_complete(coarse):
                row["own error"] = paper.difference(point.folder, coarse.folder, slab(start))
        stored["runs"][f"{start}/{column}" + (" (paper's size)" if plan.paper_size else "")] = row
        print(f"{start}/{column}: measured", file=sys.stderr, flush=True)
    write_text(RESULT, json.dumps(stored, indent=1) + "\n")


def shrink(source: Path, target: Path) -> None:
    """Write a figure with 256 colours, as large as BYTES allow."""
    with Image.open(source) as image:
        for width in range(min(image.width, 1600), 600, -100):
            size = (width, round(image.height * width / image.width))
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            # rare colours count as much as frequent ones, and are then moved to where they are used
            few = small.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
            few.save(target, optimize=True)
            if target.stat().st_size < BYTES:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="NAME", help=f"of {', '.join((*FIGURES, 'results'))}; all without")
    parser.add_argument("--out", type=Path, help="folder of runs and figures, by default runs/paper (or _200)")
    parser.add_argument("--paper-size", action="store_true", help="200^3 points and steps of 0.02 t0, for a GPU")
    parser.add_argument(
        "--column", action="append", default=[], help=f"only this of {', '.join(KERNELS)}; may be repeated"
    )
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all runs")
    parser.add_argument("--docs", action="store_true", help="also write the figures of the documentation")
    given = parser.parse_args()
    unknown = [name for name in given.what if name not in (*FIGURES, "results")]
    if unknown:
        parser.error(f"{unknown[0]}: no such figure; choose from {', '.join((*FIGURES, 'results'))}")
    out = given.out or ROOT / "runs" / ("paper_200" if given.paper_size else "paper")
    plan = Plan(out, given.paper_size, given.column, given.set, given.docs)
    every = [n for n in (*FIGURES, "results") if not (given.column and needs(n)) or set(given.column) & has(n)]
    try:
        for name in given.what or every:
            plan.measure() if name == "results" else plan.draw(name)
    except (ConfigError, RunFailed, Stopped) as error:
        print(f"reproduce_paper: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ConfigError) else 3) from None


if __name__ == "__main__":
    main()
