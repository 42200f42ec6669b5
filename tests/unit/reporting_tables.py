"""Synthetic tables in the shapes of a run, for the tests of reporting."""

import numpy as np
import pandas as pd

from entity_mech.reporting.study import Study

CHAIN = (
    ("value_fetcher", "A", "last", ()),
    ("position_transmitter", "B", "last", (("value_fetcher", "q"),)),
    ("position_detector", "C", "query_label", (("position_transmitter", "v"),)),
    (
        "structure_reader",
        "D",
        "previous_label",
        (("position_detector", "v"), ("value_fetcher", "k"), ("value_fetcher", "v")),
    ),
)
PAPER = ("llama-7b", "vicuna-7b", "goat-7b", "float-7b")


def make_study(n_models: int = 4, names: tuple[str, ...] | None = None, boxes: int = 7) -> Study:
    """A study of n models: short names, or long ones when there are many."""
    if names is None:
        names = tuple(["base", "chat", "lora", "full"][:n_models])
        names += tuple(f"binding-lora-rank{i}-seed{i}" for i in range(n_models - len(names)))
    groups = [{"name": n, "letter": a, "token": t, "receivers": r} for n, a, t, r in CHAIN]
    labels = {"chat": "chat (control)", "lora": "LoRA fine-tune", "full": "full fine-tune"}
    shown = {name: labels.get(name, name) for name in names}
    return Study.from_dict(
        {"models": names, "base": names[0], "groups": groups, "task": {"boxes": boxes}, "labels": shown}
    )


def interval(value: float, half: float = 0.04) -> dict[str, float]:
    """low and high around a share."""
    return {"low": max(0.0, value - half), "high": min(1.0, value + half)}


def behaviour(study: Study, accuracy: dict[str, float] | None = None) -> pd.DataFrame:
    """tables/behaviour.csv."""
    rng = np.random.default_rng(1)
    rows = []
    for i, model in enumerate(study.models):
        value = (accuracy or {}).get(model, 0.66 + 0.18 * i / len(study.models))
        named = min(1, value + 0.05)
        rows.append((model, "accuracy", value, *interval(value).values(), 490))
        rows.append((model, "probability", value - 0.1, *interval(value - 0.1).values(), 490))
        rows.append((model, "named_accuracy", named, *interval(named).values(), 490))
        for index in range(study.boxes):
            at = float(np.clip(value + rng.normal(0, 0.08), 0, 1))
            rows.append((model, f"accuracy_at_index_{index}", at, *interval(at, 0.09).values(), 70))
    return pd.DataFrame(rows, columns=["model", "metric", "value", "low", "high", "n"])


def path_patching(study: Study, n_layers: int, n_heads: int, kept: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """models/{model}/path_patching.csv. kept: candidates of each letter."""
    rng = np.random.default_rng(seed)
    parts = []
    layer, head = (x.ravel() for x in np.mgrid[:n_layers, :n_heads])
    for group in study.groups:
        deep = {"A": 0.7, "B": 0.5, "C": 0.3, "D": 0.25}[group.letter] * n_layers
        near = np.exp(-((layer - deep) ** 2) / (0.02 * n_layers**2 + 1))
        score = rng.normal(0, 0.01, len(layer)) - near * rng.exponential(0.08, len(layer))
        order = np.argsort(score)
        rank = np.empty(len(order), int)
        rank[order] = np.arange(len(order))
        parts.append(
            pd.DataFrame(
                {
                    "search": group.name, "letter": group.letter, "token": group.token, "layer": layer, "head": head,
                    "score": score, "median": score * 0.9, "share_down": 0.5, "logit_change": score * 3,
                    "null_score": rng.normal(0, 0.01, len(layer)),
                    "receiver": rank < max(1, kept[group.letter] // 2), "candidate": rank < kept[group.letter],
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def circuit(study: Study, scores: pd.DataFrame, model: str) -> dict[str, object]:
    """circuits/{model}.json: four of five candidates are kept."""
    groups = []
    for group in study.groups:
        own = scores[(scores["search"] == group.name) & scores["candidate"]].sort_values("score")
        heads = [
            {"layer": int(row.layer), "head": int(row.head), "score": float(row.score), "rank": i + 1}
            for i, row in enumerate(own.itertuples())
        ]
        kept = [head for i, head in enumerate(heads) if i % 5 != 4]
        groups.append(
            {"name": group.name, "letter": group.letter, "token": group.token, "heads": kept, "candidates": heads}
        )
    return {"model": model, "groups": groups, "threshold": 0.01}


def faithfulness(study: Study, circuits: tuple[str, ...] | None = None) -> pd.DataFrame:
    """All faithfulness/{model}/{circuit}.csv."""
    rng = np.random.default_rng(2)
    rows = []
    for i, model in enumerate(study.models):
        whole = 0.66 + 0.18 * i / len(study.models)
        for name in circuits or study.models:
            share = 0.98 if name == model else float(rng.uniform(0.7, 1.02))
            kinds = [("model", None, 1024, 1.0), ("circuit", None, 72, share), ("ceiling", None, 512, 1.01)]
            kinds += [("random", draw, 72, float(rng.uniform(0, 0.02))) for draw in range(10)]
            for kind, draw, heads, f in kinds:
                a = f * whole
                rows.append((model, name, kind, draw, heads, a, a - 0.04, a + 0.04, f, f - 0.05, f + 0.05, 490))
    columns = ["model", "circuit", "kind", "draw", "heads", "accuracy", "accuracy_low", "accuracy_high"]
    return pd.DataFrame(rows, columns=[*columns, "faithfulness", "faithfulness_low", "faithfulness_high", "n"])


CARRIES = {"A": "object", "B": "position", "C": "position", "D": "label"}


def dcm(study: Study, empty: str = "") -> pd.DataFrame:
    """All dcm/{model}.csv. empty: letter of a group without heads."""
    rows = []
    for i, model in enumerate(study.models):
        for group in study.groups:
            for desideratum in ("object", "label", "position"):
                value = 0.5 + 0.02 * i if CARRIES[group.letter] == desideratum else 0.06
                size, chosen = 10, 7
                if group.letter == empty:
                    value, size, chosen = np.nan, 0, 0
                rows.append(
                    (model, model, group.name, group.letter, desideratum, "1.2 3.0", chosen, size, value,
                     value - 0.05, value + 0.05, 0.05, value - 0.02, 300)
                )  # fmt: skip
    columns = ["model", "circuit", "group", "letter", "desideratum", "heads", "n_heads", "group_size", "accuracy"]
    return pd.DataFrame(rows, columns=[*columns, "low", "high", "none_accuracy", "all_accuracy", "n"])


def dcm_curves(study: Study) -> pd.DataFrame:
    """All dcm/{model}_curves.csv with their model."""
    rows = []
    for i, model in enumerate(study.models):
        for group in study.groups:
            for desideratum in ("object", "label", "position"):
                for step in range(0, 64, 2):  # over two epochs
                    at = 0.5 * (1 - np.exp(-step / (9 + i))) if CARRIES[group.letter] == desideratum else 0.06
                    seen = at if step % 4 == 0 else np.nan
                    rows.append((model, group.name, desideratum, step // 32, step % 32, -8 * at - i, seen, 5))
    columns = ["model", "group", "desideratum", "epoch", "step", "loss", "validation_accuracy", "heads"]
    return pd.DataFrame(rows, columns=columns)


def cmap(study: Study, gain: dict[str, float] | None = None, base: float = 0.66) -> pd.DataFrame:
    """All cmap/{base}__{model}.csv. gain: of each part into the base, as a share of the model's gain (0.16)."""
    shares = {"A": 0.7, "B": 0.4, "C": 0.0, "D": 0.05, "full": 1.0, "whole_circuit": 1.05, **(gain or {})}
    rng = np.random.default_rng(3)
    rows = []
    for model in study.finetuned:
        pairs = [(model, study.base, 1), (study.base, model, -1)]
        for donor, target, sign in pairs:
            start = base if sign > 0 else base + 0.16
            for circuit_of in (model, study.base):
                for part, share in shares.items():
                    a = start + sign * 0.16 * share * (1 if circuit_of == model else 0.8)
                    common = (study.base, model, donor, target, circuit_of, part)
                    rows.append((*common, "chosen", None, 12, part == "D", a, a - 0.04, a + 0.04, 490))
                    for draw in range(10):
                        r = start + rng.normal(0, 0.01)
                        rows.append((*common, "random", draw, 12, False, r, r - 0.04, r + 0.04, 490))
        for name, own in ((study.base, base), (model, base + 0.16)):
            shown = (own, own - 0.04, own + 0.04, 490)
            rows.append((study.base, model, name, name, "", "", "own", None, 0, False, *shown))
    columns = ["base", "model", "donor", "target", "circuit", "part", "kind", "draw", "n_heads", "fallback"]
    return pd.DataFrame(rows, columns=[*columns, "accuracy", "low", "high", "n"])
