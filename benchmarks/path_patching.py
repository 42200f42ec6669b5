"""The four searches: the engine against the literal two-pass method, in one process, taking turns."""

import numpy as np
import pandas as pd
import torch

from benchmarks import least_flops
from benchmarks.rows import row, turns_row
from benchmarks.shapes import CHAIN, N_POS, Setting, Shape
from benchmarks.timing import sgemm_rate, take_turns
from entity_mech.engine.clean import CleanRun, run_clean
from entity_mech.engine.packed import PACKED
from entity_mech.engine.path_patching import clean_answer, patched_answers
from entity_mech.engine.search_batch import KEPT, SearchBatch
from tests.helpers.literal_path_patching import LiteralPathPatching


def corrupted_outputs(setting: Setting, group: str) -> torch.Tensor:
    """Head outputs of the corrupted prompts at the group's token [prompt, layer, head, d_head]."""
    rows = torch.arange(len(setting.ids))
    z = run_clean(setting.decoder, setting.other, {"z"}, setting.shape.layers - 1).z
    return torch.stack([layer[rows, setting.token(group)] for layer in z], 1)


def literal_receivers(setting: Setting, group: str) -> set[tuple[str, int, int]] | None:
    """Receivers as (input, layer, index of the head of that input)."""
    heads = setting.receiver_heads(group)
    share = setting.decoder.shape.group
    return None if heads is None else {(k, la, h if k == "q" else h // share) for k, la, h in heads}


def engine_answers(setting: Setting, group: str, clean: CleanRun, z: torch.Tensor) -> torch.Tensor:
    """Probability of the answer [sender, prompt] from the engine."""
    batch = SearchBatch(clean, setting.length, setting.answer, setting.token(group))
    return patched_answers(setting.decoder, batch, z, setting.receivers(group))[0]


def measure_search(
    setting: Setting, group: str, oracle: LiteralPathPatching, clean: CleanRun, n_literal: int, seconds: float
) -> dict[str, object]:
    """One search. The literal way's cost does not depend on the sender: a few senders are run and scaled.

    Both sides start from their clean and corrupted runs, which are a row of their own. Scores are compared on
    the senders that the literal method ran.
    """
    shape, receivers = setting.shape, setting.receivers(group)
    n_senders = shape.layers * shape.heads
    pos, keys, z = setting.token(group), literal_receivers(setting, group), corrupted_outputs(setting, group)
    p_clean = oracle.clean_logits.softmax(-1)[oracle.rows, setting.answer]
    below = n_senders if receivers is None else receivers.last * shape.heads
    senders = np.random.default_rng(0).choice(below, n_literal, replace=False).tolist()
    engine: dict[str, torch.Tensor] = {}
    literal: dict[int, torch.Tensor] = {}

    def fast() -> None:
        engine["p"] = engine_answers(setting, group, clean, z)

    def slow(sender: int) -> None:
        literal[sender] = oracle.probability(*divmod(sender, shape.heads), pos, pos, keys, setting.answer)

    turns = take_turns(
        fast,
        [lambda sender=sender: slow(sender) for sender in senders],
        lambda: sgemm_rate(shape.d_model, 2 * shape.d_mlp),
        seconds,
    )
    # Scores as each side has them: relative to its own clean probability.
    ours = clean_answer(setting.decoder, SearchBatch(clean, setting.length, setting.answer, pos))[0]
    gaps = [(engine["p"][i] / ours - p / p_clean).mean().abs().item() for i, p in literal.items()]
    flops = least_flops.search(shape, receivers, pos.tolist(), N_POS - 1)
    ran = f"{n_literal} of {n_senders} senders"
    return turns_row(f"search {group}", turns, n_senders, ran=ran, gap=max(gaps), flops=flops)


def measure_searches(setting: Setting, n_literal: int, seconds: float) -> list[dict[str, object]]:
    """Clean and corrupted runs, the four searches, and all of it together."""
    shape = setting.shape
    with torch.inference_mode():
        made: dict[str, object] = {}

        def literal_runs() -> None:
            made["oracle"] = setting.oracle(setting.model, setting.ids, setting.length, setting.other)

        def engine_runs() -> None:
            made["clean"] = run_clean(setting.decoder, setting.ids, KEPT)
            run_clean(setting.decoder, setting.other, {"z"}, shape.layers - 1)

        turns = take_turns(
            engine_runs, [literal_runs] * 3, lambda: sgemm_rate(shape.d_model, 2 * shape.d_mlp), seconds
        )
        flops = least_flops.runs(shape, *setting.ids.shape)
        runs = turns_row("clean and corrupted runs", turns, 1, ran="all", gap=0.0, flops=flops)
        oracle, clean = made["oracle"], made["clean"]
        assert isinstance(oracle, LiteralPathPatching)
        assert isinstance(clean, CleanRun)
        rows = [measure_search(setting, group, oracle, clean, n_literal, seconds) for group in CHAIN]
    both = pd.DataFrame([runs, *rows])
    sums = both[["engine_s", "literal_s", "least_tflop"]].sum()
    limit = (both["engine_s"] / both["time_over_limit"]).sum()
    flops = sums["least_tflop"] * 1e12
    ran = f"{n_literal} senders a search"
    total = row("four searches", *sums[:2], ran=ran, gap=both["gap"].max(), sgemm=flops / limit, flops=flops)
    return [runs, *rows, total]


def measure_families(shape: Shape, n_literal: int, seconds: float) -> pd.DataFrame:
    """The searches on other families in a shape. The least FLOPs are counted for Llama's block only."""
    tables = []
    for variant in ("qwen2", "qwen3", "gpt_neox", "gemma2"):
        table = pd.DataFrame(measure_searches(Setting(shape, 7, variant=variant), n_literal, seconds))
        table.insert(0, "family", variant)
        tables.append(table[["family", "what", "engine_s", "literal_s", "ratio", "literal_ran", "gap"]])
        PACKED.clear()
    return pd.concat(tables, ignore_index=True)
