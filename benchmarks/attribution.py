"""Refined mode and plain attribution patching against the exact searches, on the models of a finished run.

`python benchmarks/attribution.py results/tiny`: every model and every search, with the exact mode's receivers.
Attribution patching is the gradient through both passes times the change of the sender's output.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.timing import cpu_seconds  # noqa: E402
from entity_mech.engine.block import attention_out, close, project  # noqa: E402
from entity_mech.engine.clean import EVERYTHING, run_clean, to_ids  # noqa: E402
from entity_mech.engine.first_order import receiver_gradients  # noqa: E402
from entity_mech.engine.load import load_checked  # noqa: E402
from entity_mech.engine.readout import logits  # noqa: E402
from entity_mech.engine.receivers import Receivers  # noqa: E402
from entity_mech.engine.search_batch import SearchBatch  # noqa: E402
from entity_mech.engine.store import read_head_outputs  # noqa: E402
from entity_mech.methods.behaviour import behaviour  # noqa: E402
from entity_mech.methods.head_scores import ranking, score_table  # noqa: E402
from entity_mech.methods.path_patching import receivers_of, search_effects  # noqa: E402
from entity_mech.methods.refined_search import RefinedOptions, refined_effects  # noqa: E402
from entity_mech.methods.scored_prompts import ScoredPrompts  # noqa: E402
from entity_mech.methods.searches import PathSearch  # noqa: E402
from entity_mech.models.decoder import Decoder  # noqa: E402
from entity_mech.task.tokens import read_prompts  # noqa: E402


def attribution_effects(
    decoder: Decoder, batch: SearchBatch, corrupted: Tensor, receivers: Receivers | None
) -> Tensor:
    """First-order relative change of the answer's probability in both passes, [sender, prompt]. Needs EVERYTHING."""
    clean, pos, answer, s = batch.clean, batch.pos, batch.answer, decoder.shape
    index = torch.arange(len(pos))
    z = torch.stack([layer[index, pos] for layer in clean.z], 1).clone().requires_grad_()
    x, stop = clean.pre[0][index, pos], s.n_layers if receivers is None else receivers.last
    gradients = {} if receivers is None else receiver_gradients(decoder, batch, receivers)
    read: list[Tensor] = []
    with torch.enable_grad():
        for layer in range(stop + 1):
            kinds = {} if receivers is None else receivers.layers.get(layer, {})
            if kinds and layer:
                made = dict(zip("qkv", project(decoder, layer, x), strict=True))
                read += [(made[kind][:, heads] * gradients[layer, kind]).sum() for kind, heads in kinds.items()]
            if layer < stop:
                x = close(decoder, layer, x, attention_out(decoder, layer, z[:, layer]))
        if receivers is None:
            read = [logits(decoder, x).log_softmax(-1).gather(1, answer[:, None]).sum()]
        (slope,) = torch.autograd.grad(torch.stack(read).sum(), z)
    return ((slope * (corrupted - z)).sum(-1).flatten(1).T).detach()


def compare_ways(
    scored: ScoredPrompts, search: PathSearch, receivers: Receivers | None
) -> tuple[dict[str, object], pd.DataFrame]:
    """The three ways on one search; the table of the exact scores, from which later searches go on."""
    decoder, n_heads = scored.decoder, scored.decoder.shape.n_heads
    found: dict[str, np.ndarray] = {}
    tables: dict[str, pd.DataFrame] = {}
    k = max(search.receiver_heads, int(search.keep))
    seconds: dict[str, float] = {}

    def fresh() -> ScoredPrompts:
        """Without the clean run, which every way makes for itself."""
        return ScoredPrompts(decoder, scored.prompts, scored.outputs, scored.rows)

    def exact() -> None:
        effects = search_effects(fresh(), search, receivers)
        tables["exact"] = score_table(search, effects, n_heads)
        found["exact"] = effects["corrupted"].relative.mean(1)

    def refined() -> None:
        if receivers is None:
            found["refined"] = found["exact"]
            return
        made = refined_effects(fresh(), search.token, receivers, k, RefinedOptions())
        found["refined"] = made.relative.mean(1)
        found["first_order"] = made.first_order.mean(1)
        found["run"] = made.exact[: receivers.last * n_heads]

    def attribution() -> None:
        part = scored.prompts.rows(scored.rows)
        clean = run_clean(decoder, to_ids(decoder, part.ids), EVERYTHING)
        facts = (to_ids(decoder, x) for x in (part.length, part.answer, part.roles[search.token]))
        z = scored.sources("corrupted", search.token, slice(None))
        found["attribution"] = attribution_effects(decoder, SearchBatch(clean, *facts), z, receivers).mean(1).numpy()

    for _ in range(2):
        for work in (exact, refined, attribution):
            seconds[work.__name__] = cpu_seconds(work)
    if receivers is None:  # no pass 2, so nothing to refine
        seconds["refined"] = seconds["exact"]
    below = len(found["exact"]) if receivers is None else receivers.last * n_heads
    row: dict[str, object] = {"search": search.name, "senders": below, "k": k}
    best = set(ranking(tables["exact"])[:k])
    for way in ("first_order", "refined", "attribution"):
        if way in found:
            table = tables["exact"].assign(score=found[way])
            row[f"{way}_rank_correlation"] = rank_correlation(found["exact"][:below], found[way][:below])
            row[f"{way}_missed"] = len(best - set(ranking(table)[:k]))
    row["run_exactly"] = float(found["run"].mean()) if "run" in found else 1.0
    return row | {f"{name}_s": value for name, value in seconds.items()}, tables["exact"]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's."""
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))


def measure_run(run: Path) -> pd.DataFrame:
    """Every model and search of a finished run."""
    config = yaml.safe_load((run / "config.resolved.yaml").read_text())
    rows = []
    for model in config["models"]:
        folder = run / "models" / model["name"]
        decoder = load_checked(folder / "model.json", "cpu", torch.float32)
        tokens = next((run / "dataset" / "tokens").glob("*/discovery.h5"))
        prompts = read_prompts(tokens, "clean")
        with h5py.File(folder / "activations" / "discovery.h5") as file:
            right = np.flatnonzero(behaviour(decoder, prompts, 64)["correct"])
            stored = read_head_outputs(file["corrupted"])
            scored = ScoredPrompts(decoder, prompts, lambda _, role, rows, z=stored: z.every(role, rows), right)
            done: dict[str, pd.DataFrame] = {}
            for one in config["searches"]:
                sources = tuple((r["search"], r["input"]) for r in one["receivers"] if r != "logits")
                keep = one["keep"] if isinstance(one["keep"], int) else one["receiver_heads"]
                search = PathSearch(one["name"], one["letter"], one["token"], sources, one["receiver_heads"], keep)
                receivers = receivers_of(search, done, decoder.shape.group)
                row, done[search.name] = compare_ways(scored, search, receivers)
                rows.append({"model": model["name"], **row})
                print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=Path("results/tiny"))
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "attribution.csv")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    measure_run(given.run).to_csv(given.out, index=False, float_format="%.4g", lineterminator="\n")
