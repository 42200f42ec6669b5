"""Measures everything: tables to the terminal and to files, with their figures.

The tables of docs/performance.md are in benchmarks/results, which only a run with --publish writes.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.coverage import coverage_summary, measure_coverage
from benchmarks.patching import measure_circuits, measure_cmap, measure_dcm, with_eager
from benchmarks.path_patching import measure_families, measure_searches
from benchmarks.plots import plot_ratios, plot_scaling
from benchmarks.refined import measure_refined
from benchmarks.scaling import measure_scaling, peak_memory
from benchmarks.shapes import SHAPES, Setting
from benchmarks.variants import measure_variants
from entity_mech.engine.packed import PACKED

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "benchmarks" / "results"
PARTS = ("searches", "circuits", "cmap", "dcm", "refined", "variants", "scaling", "memory", "coverage", "families")
SHAPED = {"searches", "circuits", "cmap", "dcm"}
# Each is several batches under the small budget of memory_stages.py.
MEMORY_PROMPTS = {"6x8x256": (48, 192, 768), "12x12x768": (12, 48), "135M": (6, 24)}


def measure_shape(name: str, parts: list[str], quick: bool, show: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    """All rows of one shape. Large shapes get fewer prompts and runs, never another kind of work."""
    large = name == "135M"
    seconds = 0.3 if quick else 3.0
    setting = Setting(SHAPES[name], 7)
    jobs: dict[str, Callable[[], list[dict[str, object]]]] = {
        "searches": lambda: measure_searches(setting, 2 if quick else 3, seconds),
        "circuits": lambda: measure_circuits(
            setting, 4 if quick or large else 16, 2 if quick or large else 3, seconds
        ),
        "cmap": lambda: [measure_cmap(setting, 8 if quick or large else 32, 2 if quick else 5, seconds)],
        "dcm": lambda: measure_dcm(with_eager(setting), 1 if quick or large else 3, seconds),
    }
    tables = []
    for part in parts:
        if part in jobs:
            table = pd.DataFrame(jobs[part]())
            table.insert(0, "shape", name)
            show(table)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def measure_each(shapes: list[str], measure: Callable[[Setting], list[dict[str, object]]]) -> pd.DataFrame:
    """A part with a table of its own, over shapes."""
    tables = []
    for name in shapes:
        table = pd.DataFrame(measure(Setting(SHAPES[name], 7)))
        table.insert(0, "shape", name)
        show(table)
        tables.append(table)
        PACKED.clear()
    return pd.concat(tables, ignore_index=True)


def measure_memory(shape: str) -> pd.DataFrame:
    """Peak memory of each stage at two numbers of prompts, beside the model's own."""
    from benchmarks.memory_stages import STAGES

    rows = [
        {"shape": shape, "stage": stage, "prompts": n, "peak_mib": peak_memory(shape, n, stage)}
        for stage in STAGES
        for n in MEMORY_PROMPTS[shape]
    ]
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> None:
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep=""), flush=True)


def write(table: pd.DataFrame, path: Path, keys: list[str]) -> pd.DataFrame:
    """Write a table; rows that were measured before and not now stay as they were."""
    if path.exists():
        old = pd.read_csv(path)
        new = set(map(tuple, table[keys].astype(str).to_numpy()))
        kept = [tuple(row) not in new for row in old[keys].astype(str).to_numpy()]
        table = pd.concat([old[kept], table], ignore_index=True)
    table.to_csv(path, index=False, float_format="%.4g", lineterminator="\n")
    return table


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options. Results go to results/benchmarks, which git ignores, unless it says otherwise."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer runs: a look, not a measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without packed weights, as torch multiplies by itself")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks", help="folder of the results")
    where.add_argument("--publish", action="store_true", help="write the tables of docs/performance.md")
    options = parser.parse_args(arguments)
    if options.publish and options.quick:
        parser.error("--publish: what --quick gives is no measurement")
    if options.publish:
        options.out = PUBLISHED
    return options


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    PACKED.enabled = PACKED.enabled and not options.plain
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.shapes if set(options.parts) & SHAPED else ():
        table = measure_shape(name, options.parts, options.quick, show)
        PACKED.clear()
        if len(table):
            table = write(table, options.out / "bench.csv", ["shape", "what"])
            plot_ratios(table, options.out / "bench.png")
    if "refined" in options.parts:
        table = measure_each(options.shapes, lambda setting: measure_refined(setting, 1 if options.quick else 2))
        write(table, options.out / "refined.csv", ["shape", "what"])
    if "variants" in options.parts:
        table = measure_each(
            [name for name in options.shapes if name != "135M"],
            lambda setting: measure_variants(setting, 1 if options.quick else 3),
        )
        write(table, options.out / "variants.csv", ["shape", "what"])
    if "scaling" in options.parts:
        table = pd.DataFrame(measure_scaling(1 if options.quick else 3, options.quick))
        show(table)
        table.to_csv(options.out / "scaling.csv", index=False, float_format="%.4g", lineterminator="\n")
        plot_scaling(table, options.out / "scaling.png")
    if "memory" in options.parts:
        for name in options.shapes:
            show(table := measure_memory(name))
            write(table, options.out / "memory.csv", ["shape", "stage", "prompts"])
    if "families" in options.parts:
        table = measure_families(SHAPES["6x8x256"], 2 if options.quick else 3, 0.3 if options.quick else 3.0)
        show(table)
        write(table, options.out / "families.csv", ["family", "what"])
    if "coverage" in options.parts:
        table = measure_coverage(100 if options.quick else 2000)
        show(coverage_summary(table))
        table.to_csv(options.out / "coverage.csv", index=False, float_format="%.4g", lineterminator="\n")
