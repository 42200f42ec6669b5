"""Tidy tables that figures, findings and pages share, made from the stages' tables. Nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from entity_mech.methods.part_names import OUTPUTS
from entity_mech.reporting.published import beside, published, published_circuit_accuracy
from entity_mech.reporting.study import Study

Tables = Mapping[str, pd.DataFrame]
BETWEEN = ["base", "model", "donor", "target", "circuit"]
HEADS = ["search", "letter", "token", "layer", "head", "score", "kept", "put_back"]
HALF = 0.5  # of resampled scenes: heads kept less often are drawn hollow
MODELS = [
    "model", "label", "color", "accuracy", "accuracy_low", "accuracy_high", "heads", "heads_by_group",
    "faithfulness", "faithfulness_low", "faithfulness_high", "recall", "recall_low", "recall_high",
    "agreement", "agreement_low", "agreement_high", "base_circuit", "base_circuit_low", "base_circuit_high",
    "base_circuit_recall", "base_circuit_recall_low", "base_circuit_recall_high",
]  # fmt: skip


def first(table: pd.DataFrame, **wanted: object) -> pd.Series | None:
    """The first row with these values, or None."""
    for name, value in wanted.items():
        table = table[table[name] == value]
    return None if table.empty else table.iloc[0]


def is_true(column: pd.Series) -> pd.Series:
    """Booleans, however the CSV had them."""
    return column.astype(str).str.lower().isin(("true", "1", "1.0"))


def circuit_table(circuit: Mapping[str, Any]) -> pd.DataFrame:
    """Candidates of a circuit file: search, letter, token, layer, head, score, kept (False: pruned away), put_back
    (True: pruned away and taken back, because the circuit broke).

    score: NaN in a given circuit whose scores are not known.
    """
    back = {(one["group"], one["layer"], one["head"]) for one in circuit.get("put_back", [])}
    rows = []
    for group in circuit["groups"]:
        kept = {(head["layer"], head["head"]) for head in group["heads"]}
        listed = {(head["layer"], head["head"]): head for head in (*group.get("candidates", []), *group["heads"])}
        for (layer, head), entry in sorted(listed.items()):
            about = (group["name"], group["letter"], group["token"], layer, head)
            score, again = entry.get("score"), (group["name"], layer, head) in back
            rows.append((*about, np.nan if score is None else score, (layer, head) in kept, again))
    return pd.DataFrame(rows, columns=HEADS)


def scored_heads(study: Study, scores: pd.DataFrame, circuit: pd.DataFrame | None = None) -> pd.DataFrame:
    """A model's scores with `candidate` and `kept`, both False without a circuit, and `receiver`.

    scores: models/{model}/path_patching.csv. circuit: the model's candidates, as `circuit_table` gives them. A head
    is a receiver only where a later search patches into its group; the stage marks the strongest heads of every
    search.
    """
    keys = ["search", "layer", "head"]
    listed = pd.DataFrame(columns=[*keys, "kept"]) if circuit is None else circuit[[*keys, "kept"]]
    kept = set(listed.loc[is_true(listed["kept"]), keys].itertuples(index=False, name=None))
    among = set(listed[keys].itertuples(index=False, name=None))
    own = list(scores[keys].itertuples(index=False, name=None))
    patched_into = {name for group in study.groups for name, _ in group.receivers}
    return scores.assign(
        receiver=is_true(scores["receiver"]) & scores["search"].isin(patched_into),
        candidate=[head in among for head in own],
        kept=[head in kept for head in own],
    )


def faithfulness_table(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """One row a circuit and model: the circuit's numbers, the ceiling's, mean and SD over random circuits.

    random_below: how many of `random_draws` random circuits are less accurate. other_means: `position` or `role`, the
    kind of means that the study did not choose; other_faithfulness and other_ceiling are with these.
    """
    names = ("accuracy", "faithfulness", "recall", "agreement")
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    rows, known = [], published_circuit_accuracy(study)
    for key, part in results.groupby(["circuit", "model"], sort=False):
        circuit, model = map(str, key)
        own = part[part["kind"] == "circuit"]
        if own.empty:
            continue
        ceiling, drawn = part[part["kind"] == "ceiling"], part[part["kind"] == "random"]
        whole = part[part["kind"] == "model"]["accuracy"]
        row = {"circuit": circuit, "model": model, "heads": own["heads"].iloc[0]}
        row |= {name: own[name].iloc[0] for name in columns}
        row |= {f"ceiling_{name}": ceiling[name].iloc[0] if len(ceiling) else np.nan for name in columns[:6]}
        row["model_accuracy"] = whole.iloc[0] if len(whole) else np.nan
        row |= {
            "random_accuracy": drawn["accuracy"].mean(),
            "random_accuracy_sd": drawn["accuracy"].std(ddof=1) if len(drawn) > 1 else np.nan,
            "random_faithfulness": drawn["faithfulness"].mean(),
            "random_draws": len(drawn),
            "random_below": own["random_below"].iloc[0],
            **_with_other_means(part),
            "published_faithfulness": known.get((circuit, model), (np.nan, np.nan))[1],
            "n": own["n"].iloc[0],
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _with_other_means(part: pd.DataFrame) -> dict[str, object]:
    """The circuit's faithfulness, and its ceiling's, with means of the kind that the study did not choose."""
    found: dict[str, object] = {"other_means": ""}
    for what in ("circuit", "ceiling"):
        other = part[part["kind"].str.startswith(f"{what}_by_")]
        name = "other_faithfulness" if what == "circuit" else "other_ceiling"
        for end in ("", "_low", "_high"):
            found[name + end] = other[f"faithfulness{end}"].iloc[0] if len(other) else np.nan
        if len(other):
            found["other_means"] = other["kind"].iloc[0].removeprefix(f"{what}_by_")
    return found


def overlap_table(study: Study, circuits: pd.DataFrame, correlation: pd.DataFrame) -> pd.DataFrame:
    """What every two circuits share, with the rank correlation of their scores and the published Jaccard.

    circuits: tables/overlap.csv. correlation: tables/score_correlation.csv.
    """
    scores = correlation.rename(columns={"model_1": "circuit_1", "model_2": "circuit_2", "search": "group"})
    table = circuits.merge(scores[["circuit_1", "circuit_2", "group", "spearman"]], how="left")
    known = published(study, "overlap")
    known["published"] = known["shared"] / (known["heads_1"] + known["heads_2"] - known["shared"])
    return table.merge(known[["circuit_1", "circuit_2", "letter", "published"]], how="left")


def beside_random(results: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows of the chosen heads, the random control beside them: random_accuracy, random_sd, random_draws.

    keys: the columns that name a part, beside the models and the circuit.
    """
    chosen = results[results["kind"] == "chosen"].drop(columns=["kind", "draw"])
    drawn = results[results["kind"] == "random"].groupby([*BETWEEN, *keys], sort=False)["accuracy"]
    random = drawn.agg(random_accuracy="mean", random_sd="std", random_draws="size").reset_index()
    return chosen.merge(random, on=[*BETWEEN, *keys], how="left")


def cmap_table(study: Study, results: pd.DataFrame) -> pd.DataFrame:
    """Rows of the chosen heads, with random controls, both models' own accuracies and published values.

    A row a part and way of patching it; the paper patched the donor's outputs.
    """
    own = results[results["kind"] == "own"].drop_duplicates("target").set_index("target")["accuracy"]
    table = _across_models(study, beside_random(results, ["part", "way"]), own, "cmap", ["part"])
    table.loc[table["way"] != OUTPUTS, "published"] = np.nan
    return table


def cmap_inputs_table(study: Study, results: pd.DataFrame, behaviour: pd.DataFrame) -> pd.DataFrame:
    """As `cmap_table`, a row a group and input. behaviour: for the models' own accuracies."""
    own = behaviour[behaviour["metric"] == "accuracy"].set_index("model")["value"]
    return _across_models(study, beside_random(results, ["part", "input"]), own, "cmap_inputs", ["part", "input"])


def _across_models(study: Study, table: pd.DataFrame, own: pd.Series, name: str, keys: list[str]) -> pd.DataFrame:
    table["donor_accuracy"], table["target_accuracy"] = table["donor"].map(own), table["target"].map(own)
    table = beside(study, table, name, ["donor", "target", *keys])
    table.loc[table["circuit"] != table["donor"], "published"] = np.nan  # the paper patched the donor's own circuit
    return table


def models_table(study: Study, tables: Tables, answers: pd.DataFrame) -> pd.DataFrame:
    """One row a model: accuracy, size of its circuit, what its own circuit and the base's carry, answers.

    tables: behaviour, circuits (tables/circuits.csv), faithfulness. answers: the short answers, a row a fine-tuned
    model (findings.page.summary_table); they are empty for other models.
    """
    faith, circuits = faithfulness_table(study, tables["faithfulness"]), tables["circuits"]
    kept = circuits[is_true(circuits["kept"])]
    rows = []
    for model in study.models:
        row: dict[str, object] = {"model": model, "label": study.label(model), "color": study.model_color(model)}
        own = first(tables["behaviour"], model=model, metric="accuracy")
        if own is not None:
            row |= {"accuracy": own["value"], "accuracy_low": own["low"], "accuracy_high": own["high"]}
        heads = kept[kept["model"] == model]
        counts = [f"{letter} {int((heads['letter'] == letter).sum())}" for letter in study.letters]
        row |= {"heads": len(heads), "heads_by_group": ", ".join(counts)}
        own_circuit, theirs = (first(faith, model=model, circuit=circuit) for circuit in (model, study.base))
        for name, found, measure in (
            *((measure, own_circuit, measure) for measure in ("faithfulness", "recall", "agreement")),
            ("base_circuit", theirs, "faithfulness"),
            ("base_circuit_recall", theirs, "recall"),
        ):
            if found is not None:
                row |= {f"{name}{end}": found[f"{measure}{end}"] for end in ("", "_low", "_high")}
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=MODELS).merge(answers, on="model", how="left")
