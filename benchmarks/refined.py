"""Refined mode against the exact engine and the literal method, on random weights.

One process, CPU time. Search A has no pass 2 and is the exact one in both modes. The literal way's time is that of
senders run now, scaled, as in the main table.
"""

import numpy as np
import torch

from benchmarks.attribution import rank_correlation
from benchmarks.path_patching import corrupted_outputs, engine_answers, literal_receivers
from benchmarks.shapes import CHAIN, Setting
from benchmarks.timing import cpu_seconds
from entity_mech.engine.clean import run_clean
from entity_mech.engine.path_patching import clean_answer
from entity_mech.engine.search_batch import KEPT, SearchBatch
from entity_mech.methods.refined_search import RefinedEffects, RefinedOptions, refined_effects
from entity_mech.methods.scored_prompts import ScoredPrompts
from entity_mech.task.tokens import TokenizedPrompts
from tests.helpers.literal_path_patching import LiteralPathPatching

FOUND = {"A": 20, "B": 5, "C": 10, "D": 5}  # heads that a search must find, as receivers or to keep


class Chain:
    """A setting with its oracle, the sources of every search, and the refined mode's view of its prompts."""

    def __init__(self, setting: Setting, oracle: LiteralPathPatching) -> None:
        self.setting, self.oracle, s = setting, oracle, setting
        self.outputs = {group: corrupted_outputs(s, group) for group in CHAIN}
        unused = np.zeros((len(s.ids), 1), int)
        prompts = TokenizedPrompts(
            s.ids.numpy(),
            s.length.numpy(),
            {group: s.token(group).numpy() for group in CHAIN},
            {},
            np.zeros_like(s.ids.numpy()),
            s.answer.numpy(),
            unused,
            unused[:, 0],
            np.arange(len(s.ids)),
        )
        self.scored = ScoredPrompts(s.decoder, prompts, lambda kind, role, rows: self.outputs[role].numpy())
        self.clean = self.scored.batch(self.scored.parts()[0], "A").clean  # run once, before anything is timed

    def refined(self, group: str) -> RefinedEffects:
        receivers = self.setting.receivers(group)
        assert receivers is not None
        return refined_effects(self.scored, group, receivers, FOUND[group], RefinedOptions())

    def literal_seconds(self, group: str, n: int) -> float:
        """One whole search the literal way, from `n` senders."""
        s, keys, pos = self.setting, literal_receivers(self.setting, group), self.setting.token(group)
        times = [cpu_seconds(lambda i=i: self.oracle.probability(0, i, pos, pos, keys, s.answer)) for i in range(n)]
        return s.shape.layers * s.shape.heads * float(np.median(times))


def best(scores: np.ndarray, k: int) -> set[int]:
    """The k most negative heads; a head not below 0 is never chosen."""
    return {int(i) for i in np.argsort(scores, kind="stable")[:k] if scores[i] < 0}


def measure_refined_search(chain: Chain, group: str, n_literal: int) -> dict[str, object]:
    """One search in both modes, and the heads that each chooses."""
    s, k = chain.setting, FOUND[group]
    receivers, outputs = s.receivers(group), chain.outputs[group]
    made: dict[str, object] = {
        "what": f"search {group}",
        "k": k,
        "literal_s": chain.literal_seconds(group, n_literal),
    }
    p: dict[str, torch.Tensor] = {}
    found: dict[str, RefinedEffects] = {}

    def exact() -> None:
        p["all"] = engine_answers(s, group, chain.clean, outputs)

    def refined() -> None:
        found["all"] = chain.refined(group)

    made["exact_s"] = float(np.median([cpu_seconds(exact) for _ in range(2)]))
    n_senders = s.shape.layers * s.shape.heads
    if receivers is None:
        return made | {
            "refined_s": made["exact_s"],
            "senders": n_senders,
            "run_exactly": n_senders,
            "same_heads": True,
        }
    made["refined_s"] = float(np.median([cpu_seconds(refined) for _ in range(3)]))
    p_clean = clean_answer(s.decoder, SearchBatch(chain.clean, s.length, s.answer, s.token(group)))[0]
    below = receivers.last * s.shape.heads
    scores = ((p["all"] - p_clean) / p_clean).mean(1).double().numpy()
    effects = found["all"]
    first = effects.first_order.mean(1)[:below]
    error = np.abs(first - scores[:below])
    return made | {
        "senders": below,
        "run_exactly": int(effects.exact[:below].sum()),
        "steps": len(effects.rounds),
        "same_heads": best(scores, k) == best(effects.relative.mean(1), k),
        "spearman": rank_correlation(scores[:below], first),
        "error_mean": error.mean(),
        "error_max": error.max(),
        "first_order_missed": len(best(scores, k) - best(effects.first_order.mean(1), k)),
        "kth_score": np.sort(scores)[k - 1],
    }


def measure_refined(setting: Setting, n_literal: int) -> list[dict[str, object]]:
    """Clean and corrupted runs, the four searches, and all of it together."""
    made: dict[str, object] = {}

    def literal_runs() -> None:
        made["oracle"] = LiteralPathPatching(setting.model, setting.ids, setting.length, setting.other)

    def engine_runs() -> None:
        run_clean(setting.decoder, setting.ids, KEPT)
        run_clean(setting.decoder, setting.other, {"z"}, setting.shape.layers - 1)

    with torch.no_grad():  # tensors made in inference mode could not enter the gradient
        engine_runs()
        literal_s, engine_s = np.median([(cpu_seconds(literal_runs), cpu_seconds(engine_runs)) for _ in range(3)], 0)
        chain = Chain(setting, made["oracle"])  # type: ignore[arg-type]
        runs = {
            "what": "clean and corrupted runs",
            "literal_s": literal_s,
            "exact_s": engine_s,
            "refined_s": engine_s,
        }
        rows = [runs, *(measure_refined_search(chain, group, n_literal) for group in CHAIN)]
    total: dict[str, object] = {"what": "four searches"}
    for side in ("literal_s", "exact_s", "refined_s"):
        total[side] = sum(float(row[side]) for row in rows)  # type: ignore[arg-type]
    total["same_heads"] = all(row.get("same_heads", True) for row in rows)
    for row in (all_rows := [*rows, total]):
        row["against_exact"] = row["exact_s"] / row["refined_s"]  # type: ignore[operator]
        row["against_literal"] = row["literal_s"] / row["refined_s"]  # type: ignore[operator]
    return all_rows
