"""The four searches: the engine against the literal two-pass method, in one process, interleaved."""

import least_flops
import numpy as np
import torch
from literal_path_patching import LiteralPathPatching
from shapes import CHAIN, N_POS, Setting
from timing import cpu_seconds, sgemm_rate

from entity_mech.engine.clean import run_clean
from entity_mech.engine.path_patching import run_search


def corrupted_outputs(setting: Setting, group: str) -> torch.Tensor:
    """Head outputs of the corrupted prompts at the group's token [prompt, layer, head, d_head]."""
    rows = torch.arange(len(setting.ids))
    z = run_clean(setting.decoder, setting.other, {"z"}).z
    return torch.stack([layer[rows, setting.token(group)] for layer in z], 1)


def literal_receivers(setting: Setting, group: str) -> set[tuple[str, int, int]] | None:
    """Receivers as (input, layer, index of the head of that input)."""
    heads = setting.receiver_heads(group)
    share = setting.decoder.shape.group
    return None if heads is None else {(k, la, h if k == "q" else h // share) for k, la, h in heads}


def measure_search(setting: Setting, group: str, n_literal: int, seed: int = 0) -> dict:
    """One row of the table: CPU seconds of the engine and of the literal way, scaled from a few senders.

    The literal method's cost does not depend on the sender: each is two whole-prompt forward passes (one for
    the logits). Scores are compared on the senders that the literal method ran.
    """
    shape, receivers = setting.shape, setting.receivers(group)
    n_senders = shape.layers * shape.heads
    pos = setting.token(group)
    z = corrupted_outputs(setting, group)
    oracle = LiteralPathPatching(setting.model, setting.ids, setting.length, setting.other)
    p_clean = oracle.clean_logits.softmax(-1)[oracle.rows, setting.answer]
    below = n_senders if receivers is None else receivers.last * shape.heads
    senders = np.random.default_rng(seed).choice(below, n_literal, replace=False)
    found = {}

    def fast():
        args = (setting.decoder, setting.ids, setting.length, setting.answer, pos, z, receivers)
        found["p"] = run_search(*args)[0]

    literal_keys = literal_receivers(setting, group)
    literal, gap, rates = [], 0.0, [sgemm_rate(shape.d_model, 2 * shape.d_mlp)]
    with torch.inference_mode():
        engine = cpu_seconds(fast)
        rates.append(sgemm_rate(shape.d_model, 2 * shape.d_mlp))
        for sender in senders.tolist():
            layer, head = divmod(sender, shape.heads)
            kept = {}

            def one(layer=layer, head=head, kept=kept):
                kept["p"] = oracle.probability(layer, head, pos, pos, literal_keys, setting.answer)

            literal.append(cpu_seconds(one))
            change = (found["p"][sender] - kept["p"]) / p_clean
            gap = max(gap, change.abs().mean().item())
    literal_total = float(np.median(literal)) * n_senders
    flops = least_flops.search(shape, receivers, pos.tolist(), N_POS - 1)
    rate = float(np.mean(rates))
    return {
        "what": f"search {group}",
        "engine_s": engine,
        "literal_s": literal_total,
        "ratio": literal_total / engine,
        "least_tflop": flops / 1e12,
        "sgemm_gflops": rate / 1e9,
        "time_over_limit": engine / (flops / rate),
        "limit_ratio": literal_total / (flops / rate),
        "score_gap": gap,
        "literal_senders": n_literal,
    }


def measure_searches(setting: Setting, n_literal: int) -> list[dict]:
    """The four searches and their total."""
    rows = [measure_search(setting, group, n_literal) for group in CHAIN]
    total = {"what": "four searches", "literal_senders": n_literal}
    for key in ("engine_s", "literal_s", "least_tflop"):
        total[key] = sum(row[key] for row in rows)
    limit = sum(row["engine_s"] / row["time_over_limit"] for row in rows)
    total |= {
        "ratio": total["literal_s"] / total["engine_s"],
        "sgemm_gflops": float(np.mean([row["sgemm_gflops"] for row in rows])),
        "time_over_limit": total["engine_s"] / limit,
        "limit_ratio": total["literal_s"] / limit,
        "score_gap": max(row["score_gap"] for row in rows),
    }
    return [*rows, total]
