"""The benchmark's own arithmetic, and a run of it on a tiny shape."""

import subprocess
import sys

import pandas as pd
import pytest
import torch

from benchmarks import least_flops
from benchmarks.patching import GROUPS, draw_circuit, mask_of, measure_circuits, measure_cmap, measure_dcm
from benchmarks.path_patching import measure_families, measure_searches
from benchmarks.plots import plot_ratios, plot_scaling
from benchmarks.refined import measure_refined
from benchmarks.rows import verdict
from benchmarks.run import PUBLISHED, ROOT, parse
from benchmarks.scaling import slope
from benchmarks.shapes import CHAIN, Setting, Shape
from benchmarks.timing import take_turns
from benchmarks.variants import measure_variants
from entity_mech.engine.receivers import Receivers

TINY = Shape(layers=6, heads=4, kv_heads=2, d_model=32, d_head=8, d_mlp=48, vocab=211)


@pytest.fixture(scope="module")
def setting() -> Setting:
    torch.set_num_threads(1)
    return Setting(TINY, 7)


def test_least_flops_by_hand():
    s = Shape(layers=2, heads=1, kv_heads=1, d_model=4, d_head=4, d_mlp=8, vocab=10)
    mlp = 2 * 3 * 4 * 8
    # The logits: senders of layer 0 pass two MLPs, of layer 1 one; each is joined and unembedded.
    assert least_flops.search(s, None, [5], 5) == 3 * mlp + 2 * 2 * 4 * 4 + 2 * 2 * 4 * 10
    # One value receiver in layer 1, the sender one token before the last: only the last token matters there.
    receivers = Receivers({1: {"v": [0]}})
    first = mlp + 2 * 4 * 4 + 2 * 4 * 4
    second = (2 * 4 * 4 + 2 * 1 * 4) + mlp + 2 * 4 * 10
    assert least_flops.search(s, receivers, [4], 5) == first + second


def test_least_flops_of_the_clean_and_corrupted_runs_by_hand():
    s = Shape(layers=2, heads=2, kv_heads=1, d_model=4, d_head=2, d_mlp=8, vocab=10)
    mlp, kv, query_or_out = 2 * 3 * 4 * 8, 2 * 4 * 4, 2 * 4 * 4
    attended = 2 * 2 * 2 * 2  # scores and mixing, two heads of two dimensions, for one query and one key
    # Three tokens: in layer 0 they attend to 1, 2 and 3; in layer 1 only the last one asks.
    below = 3 * (kv + 2 * query_or_out + mlp) + (1 + 2 + 3) * attended
    clean = below + 3 * kv + 2 * query_or_out + 3 * attended + mlp + 2 * 4 * 10
    corrupted = below + 3 * kv + query_or_out + 3 * attended
    assert least_flops.runs(s, 5, 3) == 5 * (clean + corrupted)


def test_searches_agree_with_the_literal_way_and_the_total_adds_up(setting):
    table = pd.DataFrame(measure_searches(setting, n_literal=2, seconds=0.01))
    assert table["what"].tolist() == ["clean and corrupted runs", *(f"search {g}" for g in CHAIN), "four searches"]
    assert (table["gap"] < 5e-6).all()
    assert table["engine_s"].iloc[-1] == pytest.approx(table["engine_s"].iloc[:-1].sum())
    assert (table["ratio"] > 0).all()
    assert table["least_tflop"].iloc[-1] == pytest.approx(table["least_tflop"].iloc[:-1].sum())
    over = table["time_over_limit"].iloc[:-1]
    assert over.min() <= table["time_over_limit"].iloc[-1] <= over.max(), "the total charges all its rows"


def test_searches_on_other_families_agree_with_the_literal_way():
    table = measure_families(TINY, n_literal=2, seconds=0.01)
    assert table["family"].nunique() == 4
    assert (table["gap"] < 5e-6).all()


def test_other_stages_agree_with_the_literal_way(setting, tmp_path):
    rows = measure_circuits(setting, n_prompts=2, n_literal=2, seconds=0.01)
    rows += [measure_cmap(setting, n_prompts=2, n_literal=2, seconds=0.01, draws=2)]
    rows += measure_dcm(setting, n_literal=1, seconds=0.01, batch=4)
    table = pd.DataFrame(rows).assign(shape="tiny")
    assert (table["gap"] < 1e-4).all()
    assert set(table["what"]) >= {"50 circuits", "CMAP", *(f"pairs {g}" for g in GROUPS), "DCM step D"}
    plot_ratios(table, tmp_path / "bench.png")
    points = pd.DataFrame({"axis": ["heads"] * 2, "value": [4, 8], "engine_s": [1.0, 2.0], "slope": [1.0, 1.0]})
    plot_scaling(points, tmp_path / "scaling.png")
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_refined_mode_finds_the_exact_heads_and_its_total_adds_up(setting):
    table = pd.DataFrame(measure_refined(setting, n_literal=1)).set_index("what")
    assert table["same_heads"].dropna().all()
    parts, total = table.iloc[:-1], table.loc["four searches"]
    assert total["refined_s"] == pytest.approx(parts["refined_s"].sum())
    assert total["against_literal"] == pytest.approx(parts["literal_s"].sum() / parts["refined_s"].sum())
    searches = table.loc[["search B", "search C", "search D"]]
    assert (searches["run_exactly"] <= searches["senders"]).all()
    assert (searches["error_max"] < 0.01).all()


def test_variants_compare_equal_work(setting):
    table = pd.DataFrame(measure_variants(setting, 1)).set_index("what")
    assert (table["ratio"] > 0).all()
    errors = table.loc[["bfloat16, search A", "bfloat16, search D"], "error_max"]
    assert errors.between(1e-7, 0.05).all()


def test_drawn_circuits_share_no_head_at_one_token():
    import numpy as np

    circuit = draw_circuit(TINY, np.random.default_rng(0))
    assert list(circuit) == list(GROUPS)
    assert mask_of(TINY, circuit).sum() == sum(map(len, circuit.values()))
    assert all(circuit.values())


def test_turns_count_what_they_should():
    ran: list[str] = []
    turns = take_turns(lambda: ran.append("fast"), [lambda: ran.append("slow")] * 3, lambda: 1.0, 0.0)
    assert len(turns.slow) == 3
    assert len(turns.fast) == 1
    assert turns.sgemm == 1.0


def test_only_a_run_that_is_told_to_publish_writes_the_published_tables():
    for arguments in ([], ["--quick"], ["--parts", "searches", "--plain"]):
        assert parse(arguments).out == ROOT / "results" / "benchmarks"
    assert "/results/" in (ROOT / ".gitignore").read_text().splitlines()
    assert parse(["--publish"]).out == PUBLISHED
    assert (PUBLISHED / "bench.csv").is_file()
    for refused in (["--publish", "--quick"], ["--publish", "--out", "x"]):
        with pytest.raises(SystemExit):
            parse(refused)


@pytest.mark.parametrize("command", [["benchmarks", "--quick", "--parts"], ["benchmarks/attribution.py", "--help"]])
def test_they_run_from_another_folder(tmp_path, command):
    """With --parts and no part nothing is measured: all is imported, and nothing published changes."""
    before = {path.name: path.stat().st_mtime_ns for path in PUBLISHED.iterdir()}
    program, *options = command
    out = ["--out", str(tmp_path / "out")] if "--quick" in options else []
    done = subprocess.run(
        [sys.executable, str(ROOT / program), *out, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in PUBLISHED.iterdir()} == before


def test_slope_and_verdict():
    assert slope([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert [verdict("search D", r) for r in (10, 15, 20)] == ["missed", "pass", "excellent"]
    assert verdict("CMAP", 3) == ""
