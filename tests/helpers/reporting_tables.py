"""Synthetic tables of the main stages, in the shapes of a run, for the tests of reporting."""

import numpy as np
import pandas as pd

from entity_mech.methods.circuits import Circuit, HeadGroup, circuit_to_json
from entity_mech.methods.part_names import DIRECT, OUTPUTS
from entity_mech.reporting.study import Study
from entity_mech.reporting.tables import circuit_table
from tests.helpers.reporting_columns import as_written

SMALL = {"A": 5, "B": 4, "C": 1, "D": 6}  # candidates by group


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
    return as_written("behaviour", pd.DataFrame(rows, columns=["model", "metric", "value", "low", "high", "n"]))


def path_patching(
    study: Study, n_layers: int, n_heads: int, kept: dict[str, int], seed: int = 0, n: int = 193
) -> pd.DataFrame:
    """Rows of the base in tables/path_patching.csv. kept: candidates of each letter, half of them receivers."""
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
                    "model": study.base, "search": group.name,
                    "letter": group.letter, "token": group.token, "layer": layer, "head": head,
                    "score": score, "median": score * 0.9, "share_down": 0.5, "logit_change": score * 3,
                    "null_score": rng.normal(0, 0.01, len(layer)), "exact": True, "n": n,
                    "receiver": rank < max(1, kept[group.letter] // 2),
                }
            )
        )  # fmt: skip
    return as_written("path_patching", pd.concat(parts, ignore_index=True))


def circuit(study: Study, scores: pd.DataFrame, model: str, kept: dict[str, int] = SMALL) -> dict[str, object]:
    """circuits/{model}.json: four of five candidates are kept, the strongest of each group being candidates."""
    groups = []
    for group in study.groups:
        own = scores[scores["search"] == group.name].sort_values("score").head(kept[group.letter])
        heads = [(int(row.layer), int(row.head), float(row.score)) for row in own.itertuples()]
        chosen = [head for i, head in enumerate(heads) if i % 5 != 4]
        groups.append(
            HeadGroup(
                group.name,
                group.letter,
                group.token,
                heads=tuple((layer, head) for layer, head, _ in chosen),
                scores=tuple(score for *_, score in chosen),
                candidates=tuple(heads),
            )
        )
    return {**circuit_to_json(Circuit(model, tuple(groups))), "threshold": 0.01}


def circuits(study: Study) -> pd.DataFrame:
    """tables/circuits.csv."""
    found = []
    for seed, model in enumerate(study.models):
        table = circuit_table(circuit(study, path_patching(study, 4, 4, SMALL, seed), model))
        table.insert(0, "model", model)
        found.append(table)
    return pd.concat(found, ignore_index=True)


def pruning(study: Study) -> pd.DataFrame:
    """All models/{model}/pruning.csv: no head came back."""
    found = circuits(study)
    rows: list[dict[str, object]] = []
    for model in study.models:
        own = found[found["model"] == model]
        kept = int(own["kept"].sum())
        row = {"model": model, "candidates": len(own), "minimal": kept, "put_back": 0, "kept": kept, "names": ""}
        for name, share in (("before", 0.99), ("minimal", 0.96), ("after", 0.96)):
            row |= {f"faithfulness_{name}": share}
            row |= {f"faithfulness_{name}_{end}": value for end, value in interval(share).items()}
        more = {"accuracy_before": 0.7, "n": 300, "threshold": 0.01, "least_prompts": 2, "restore_below": 0.9}
        rows.append(row | more)
    return as_written("pruning", pd.DataFrame(rows))


def stability(study: Study, kept_frequency: float = 0.9) -> pd.DataFrame:
    """All models/{model}/stability.csv, for the heads of the circuits."""
    table = circuits(study)[["model", "search", "letter", "layer", "head", "kept"]]
    given = {"candidate": True, "candidate_frequency": 1.0, "kept_frequency": kept_frequency, "n_resamples": 200}
    return as_written("stability", table.assign(**given))


def wordings(model: str, **numbers: object) -> pd.DataFrame:
    """tables/wordings.csv of one model and one wording."""
    share = {"accuracy": 0.9, "faithfulness": 0.8, "recall": 0.75}
    given = {name + end: value + by for name, value in share.items() for end, by in ENDS.items()}
    given |= {"template": "a {object} by {label}", "query": "{label} has", "wording": "by", "model": model}
    given |= {"ceiling": 0.95, "candidates": 18, "again": 12, "chance_again": 2.25, "p_chance": 1e-6}
    return as_written("wordings", pd.DataFrame([given | {"scored": 70, "n": 490} | numbers]))


ENDS = {"": 0.0, "_low": -0.04, "_high": 0.04}
BEATS_RANDOM = {"random_below": 100}


def faithfulness(study: Study, circuits: tuple[str, ...] | None = None) -> pd.DataFrame:
    """All faithfulness/{model}/{circuit}.csv."""
    rng = np.random.default_rng(2)
    rows = []
    for i, model in enumerate(study.models):
        whole = 0.66 + 0.18 * i / len(study.models)
        for name in circuits or study.models:
            share = 0.98 if name == model else float(rng.uniform(0.7, 1.02))
            kinds = [("model", None, 1024, 1.0), ("circuit", None, 72, share), ("ceiling", None, 512, 1.01)]
            kinds += [("random", draw, 72, float(rng.uniform(0, 0.02))) for draw in range(100)]
            kinds += [("circuit_by_role", None, 72, share - 0.1), ("ceiling_by_role", None, 512, 0.95)]
            for kind, draw, heads, f in kinds:
                numbers = {"accuracy": f * whole, "faithfulness": f, "recall": 0.9 * min(f, 1), "agreement": f * 0.8}
                row = {"model": model, "circuit": name, "kind": kind, "draw": draw, "heads": heads, "n": 490}
                for measure, number in numbers.items():
                    row |= {measure: number, f"{measure}_low": number - 0.04, f"{measure}_high": number + 0.04}
                rows.append(row | (BEATS_RANDOM if kind == "circuit" else {}))
    return as_written("faithfulness", pd.DataFrame(rows))


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
                    value, size, chosen = 0.05, 0, 0  # nothing is patched
                rows.append(
                    (model, model, group.name, group.letter, desideratum, "1.2 3.0", chosen, size, value,
                     value - 0.05, value + 0.05, 0.05, value - 0.05, value - 0.1, value, value - 0.02, 300)
                )  # fmt: skip
    columns = ["model", "circuit", "group", "letter", "desideratum", "heads", "n_heads", "group_size", "accuracy"]
    columns += ["low", "high", "none_accuracy", "gain", "gain_low", "gain_high", "all_accuracy", "n"]
    return as_written("dcm", pd.DataFrame(rows, columns=columns))


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
    return as_written("dcm_curves", pd.DataFrame(rows, columns=columns))


def cmap(study: Study, direct: dict[str, float] | None = None, base: float = 0.66) -> pd.DataFrame:
    """All cmap/{base}__{model}.csv. direct: of each group's weights into the base, as a share of the gain (0.16)."""
    shares = {"A": 0.7, "B": 0.4, "C": 0.0, "D": 0.05, "full": 1.0, "whole_circuit": 1.05}
    direct_shares = {"A": 0.7, "B": 0.4, "C": 0.0, "D": 0.05, **(direct or {})}
    rng = np.random.default_rng(3)
    rows = []
    for model in study.fine_tuned:
        pair = {"base": study.base, "model": model}
        own = {study.base: base, model: base + 0.16}
        for name, value in own.items():
            rows.append({**pair, **_patched(name, name, "", "", "own", 0), **_accuracy(value), **_gain(np.nan)})
        for donor, target, sign in ((model, study.base, 1), (study.base, model, -1)):
            for circuit_of in (model, study.base):
                for part, way in [*((part, OUTPUTS) for part in shares), *((part, DIRECT) for part in "ABCD")]:
                    share = (shares if way == OUTPUTS else direct_shares)[part]
                    value = own[target] + sign * 0.16 * share * (1 if circuit_of == model else 0.8)
                    chosen = _patched(donor, target, circuit_of, part, "chosen", 12, fallback=part == "D", way=way)
                    rows.append({**pair, **chosen, **_accuracy(value), **_gain(value - own[target])})
                    for draw in range(20):
                        drawn = _patched(donor, target, circuit_of, part, "random", 12, draw, way=way)
                        more = rng.normal(0, 0.01)
                        rows.append({**pair, **drawn, **_accuracy(own[target] + more), **_gain(more)})
    return as_written("cmap", pd.DataFrame(rows))


def _patched(
    donor: str,
    target: str,
    circuit: str,
    part: str,
    kind: str,
    n_heads: int,
    draw: int | None = None,
    fallback: bool = False,
    way: str | None = None,
) -> dict[str, object]:
    about = {"donor": donor, "target": target, "circuit": circuit, "part": part, "way": way}
    return {**about, "kind": kind, "draw": draw, "n_heads": n_heads, "fallback": fallback}


def _accuracy(value: float) -> dict[str, float]:
    return {"accuracy": value, "low": value - 0.04, "high": value + 0.04, "n": 490}


def _gain(gain: float, whole: float = 0.16) -> dict[str, float]:
    """Gain over the target by itself, and its share of the way to the donor."""
    share = abs(gain) / whole
    p = 1e-6 if abs(gain) > 0.03 else 0.5
    gains = {"gain": gain, "gain_low": gain - 0.03, "gain_high": gain + 0.03, "gain_p": p}
    return {**gains, "share": share, "share_low": share - 0.2, "share_high": share + 0.2}


def run_tables(study: Study, accuracy: dict[str, float] | None = None) -> dict[str, pd.DataFrame]:
    """The tables of stages that every run has, as the findings and the page take them."""
    return {
        "behaviour": behaviour(study, accuracy),
        "circuits": circuits(study),
        "pruning": pruning(study),
        "faithfulness": faithfulness(study),
        "dcm": dcm(study),
        "cmap": cmap(study),
    }
