"""What a model's own circuit is worth: how much it carries, what it lacks, how much rests on the scenes.

Tables: `faithfulness`, `circuits`, `pruning`; where they are there `role_map`, `overlap`, `stability`, `wordings`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from entity_mech.methods.sense import (
    GIVEN_EMPTY,
    NOT_FOUND,
    NOT_NEEDED,
    at_chance,
    broken_pruning,
    coarse_pruning,
    empty_groups,
    hidden_groups,
    low_ceiling,
    missed_heads,
    missing_searches,
    no_better_than_random,
)
from entity_mech.reporting.findings.estimate import Estimate, estimate, percent
from entity_mech.reporting.findings.finding import LEFT_OUT, SAME_CIRCUIT, Finding
from entity_mech.reporting.findings.given import given_circuit_of, given_finding
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.published import published
from entity_mech.reporting.study import Group, Study
from entity_mech.reporting.tables import HALF, Tables, faithfulness_table, first, is_true
from entity_mech.task.roles import own_name

HIDDEN = "hidden groups"


def own_circuit_findings(study: Study, tables: Tables, limits: Limits, model: str) -> list[Finding]:
    """All about one model's circuit, in the order of the stages; numbers and warnings that answer nothing alone."""
    found = [
        given_finding(study, tables, model),
        role_map_finding(study, tables, limits, model),
        pruning_finding(study, tables, model),
        empty_groups_finding(study, tables, model),
        hidden_groups_finding(study, tables, limits, model),
        faithfulness_finding(study, tables, limits, model),
        *worth_findings(study, tables, limits, model),
        stability_finding(study, tables, model),
        *wording_findings(study, tables, model),
    ]
    return [one for one in found if one is not None]


def role_map_finding(study: Study, tables: Tables, limits: Limits, model: str) -> Finding | None:
    """At which tokens a model needs its heads, and what all heads at the chain's tokens reach."""
    table = tables.get("role_map")
    if table is None or model not in set(table["model"]):
        return None
    table, name = table[table["model"] == model], study.label(model)
    chain = list(dict.fromkeys(own_name(group.token) for group in study.groups))
    inside = table[(table["kind"] == "needed") & table["tokens"].isin(chain)]
    changes = [f"{_change(row).points()} at `{row['tokens']}`" for _, row in inside.iterrows()]
    said = [f"Ablating all heads at one token of the chain changes the accuracy of {name} by {', '.join(changes)}."]
    missing = missing_searches(name, table, chain, limits.alpha)
    said.append(missing or f"No token outside the chain is shown to be needed in {name}.")
    return Finding(SAME_CIRCUIT, model, "role map", " ".join(said), source="role_map")


def _change(row: pd.Series) -> Estimate:
    return Estimate(-float(row["drop"]), -float(row["drop_high"]), -float(row["drop_low"]))


def pruning_finding(study: Study, tables: Tables, model: str) -> Finding | None:
    """What pruning did to a circuit: faithfulness before and after, on its prompts, and the heads that came back."""
    table = tables.get("pruning")
    row = None if table is None else first(table, model=model)
    if row is None:
        return None
    name, numbers = study.label(model), {str(column): value for column, value in row.items()}
    before, after = (
        estimate(row, f"faithfulness_{when}", f"faithfulness_{when}_low", f"faithfulness_{when}_high")
        for when in ("before", "after")
    )
    kept = f"Of {heads_in_words(int(row['candidates']))} that the searches found in {name}, pruning leaves "
    kept += f"{int(row['kept'])}"
    if np.isnan(after.value):
        text = f"{kept}: {name} answers no pruning prompt correctly, so no head could be judged."
        return Finding(SAME_CIRCUIT, model, "pruning", text, source="pruning")
    said = [f"{kept}: on the pruning prompts they recover {after} of the model's accuracy, and all of them {before}."]
    said += [broken_pruning(name, numbers), coarse_pruning(name, numbers)]
    return Finding(SAME_CIRCUIT, model, "pruning", " ".join(filter(None, said)), "", after, source="pruning")


def empty_groups_finding(study: Study, tables: Tables, model: str) -> Finding | None:
    """Which groups of a circuit have no heads; None where all have some."""
    names, label = list(_empty(study, tables, model)), study.label(model)
    if not names:
        return None
    if given_circuit_of(tables, model) is not None:
        said = [empty_groups(label, names, GIVEN_EMPTY)]
    else:
        found = set(tables["circuits"].query("model == @model")["letter"])
        searched = {_name(group) for group in study.groups if group.letter in found}
        said = [
            empty_groups(label, [name for name in names if name not in searched], NOT_FOUND),
            empty_groups(label, [name for name in names if name in searched], NOT_NEEDED),
        ]
    return Finding(SAME_CIRCUIT, model, "empty groups", " ".join(filter(None, said)), source="circuits")


def hidden_groups_finding(study: Study, tables: Tables, limits: Limits, model: str) -> Finding | None:
    """Which groups have no heads although the role map shows that the model needs heads at their token."""
    table, empty = tables.get("role_map"), _empty(study, tables, model)
    if table is None or not empty:
        return None
    full = {own_name(group.token) for group in study.groups if _name(group) not in empty}
    text = hidden_groups(study.label(model), table[table["model"] == model], empty, full, limits.alpha)
    return Finding(SAME_CIRCUIT, model, HIDDEN, text, source="role_map") if text else None


def _empty(study: Study, tables: Tables, model: str) -> dict[str, str]:
    """The token of each group without heads, by the group's name in words."""
    table = tables.get("circuits")
    if table is None:
        return {}
    kept = set(table[(table["model"] == model) & is_true(table["kept"])]["letter"])
    return {_name(group): own_name(group.token) for group in study.by_letter if group.letter not in kept}


def _name(group: Group) -> str:
    return f"group {group.letter} ({group.words})"


def faithfulness_finding(study: Study, tables: Tables, limits: Limits, model: str) -> Finding | None:
    """How much of its own model's accuracy a circuit recovers; None where that was not measured.

    Beside it recall (the share of the model's right answers that it keeps), agreement (the share of prompts where
    both give the same token), the ceiling (all heads at the circuit's tokens) and random circuits of its size.
    """
    row = first(faithfulness_table(study, tables["faithfulness"]), circuit=model, model=model)
    if row is None:
        return None
    name = study.label(model)
    share, recall, agreement = (
        estimate(row, what, f"{what}_low", f"{what}_high") for what in ("faithfulness", "recall", "agreement")
    )
    circuit = f"the circuit of {name} ({heads_in_words(int(row['heads']))})"
    if np.isnan(share.value):
        sentence = f"{name} answers no query correctly, so {circuit} has no accuracy to recover."
    else:
        sentence = (
            f"On its own, {circuit} recovers {share} of the model's accuracy. It keeps {recall} of the model's "
        )
        sentence += f"right answers and gives the model's own answer, right or wrong, to {agreement} of the prompts."
        if share.value > limits.above_model:
            sentence += f" It rises above its model: of the model's right answers it keeps {percent(recall.value)}, "
            sentence += "and the others are its own, so its accuracy says little about how the model works."
        beside = []
        if pd.notna(row["ceiling_faithfulness"]):
            beside.append(f"All heads at the same tokens recover {percent(row['ceiling_faithfulness'])}")
        if row["random_draws"]:
            below, draws = int(row["random_below"]), int(row["random_draws"])
            random = percent(row["random_faithfulness"])
            beside.append(f"random circuits of its size {random} on average ({below} of {draws} recover less)")
        sentence += f" {'; '.join(beside)}." if beside else ""
        if row["other_means"]:
            other = estimate(row, "other_faithfulness", "other_faithfulness_low", "other_faithfulness_high")
            sentence += f" With means by {row['other_means']} in place of the study's it recovers {other}"
            sentence += f", and all heads at its tokens {percent(row['other_ceiling'])}."
    known = float(row["published_faithfulness"])
    return Finding(SAME_CIRCUIT, model, "own circuit", sentence, "", share, known, "faithfulness")


def worth_findings(study: Study, tables: Tables, limits: Limits, model: str) -> list[Finding]:
    """Warnings about a model's own circuit: no better than a guess or random ones, tokens that carry too little."""
    text = worth_of(study, tables, limits, model)
    return [Finding(SAME_CIRCUIT, model, "own circuit's worth", text, source="faithfulness")] if text else []


def worth_of(study: Study, tables: Tables, limits: Limits, model: str) -> str:
    """These warnings in one text; empty where all is well or nothing was measured."""
    row = first(faithfulness_table(study, tables["faithfulness"]), circuit=model, model=model)
    if row is None:
        return ""
    said = [carries_nothing(study, row, limits, model)]
    if not np.isnan(row["ceiling_faithfulness"]):
        text = low_ceiling(study.label(model), study.label(model), row["ceiling_faithfulness"], limits.low_ceiling)
        if text and "role_map" not in tables:
            text += " The role map, which this run left out, says where."
        said.append(text)
        pruning = first(tables["pruning"], model=model) if "pruning" in tables else None
        if pruning is not None:
            before, share = float(pruning["faithfulness_before"]), limits.ceiling_share
            said.append(missed_heads(study.label(model), before, row["ceiling_faithfulness"], share))
    return " ".join(filter(None, said))


def carries_nothing(study: Study, row: pd.Series, limits: Limits, model: str) -> str:
    """Why a model's circuit carries nothing; empty where it carries something. row: of `faithfulness_table`."""
    name = study.label(model)
    found = at_chance(name, name, row["accuracy_low"], study.task.chance)
    if row["random_draws"]:
        below, draws = int(row["random_below"]), int(row["random_draws"])
        found = " ".join(filter(None, [found, no_better_than_random(name, name, below, draws, limits.values())]))
    return found


def caution(study: Study, tables: Tables, limits: Limits, models: Sequence[str]) -> str:
    """What to bear in mind where groups of these models' circuits are spoken of; empty where all carry something."""
    faith, weak = faithfulness_table(study, tables["faithfulness"]), []
    for model in models:
        row = first(faith, circuit=model, model=model)
        if row is not None and carries_nothing(study, row, limits, model):
            weak.append(study.label(model))
    if not weak:
        return ""
    who = f"circuit of {weak[0]} carries" if len(weak) == 1 else f"circuits of {' and '.join(weak)} carry"
    return (
        f"The {who} nothing that is shown (see above), so what groups do when they are patched is not shown to have "
        f"a part in how the model answers."
    )


def overlap_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """How many of the base circuit's heads are in a fine-tuned model's circuit, group by group; counts alone."""
    table = tables.get("overlap")
    if table is None:
        text = "Overlap of the circuits was left out of this run."
        return [Finding(SAME_CIRCUIT, model, "overlap", text, LEFT_OUT)]
    known, parts = published(study, "overlap"), []
    for group in study.by_letter:
        row = first(table, circuit_1=study.base, circuit_2=model, letter=group.letter)
        if row is None:
            continue
        there = first(known, circuit_1=study.base, circuit_2=model, letter=group.letter)
        beside = [f"published {int(there['shared'])} of {int(there['heads_1'])}"] if there is not None else []
        known_chance = not np.isnan(float(row["chance_shared"]))
        chance = [f"by chance {float(row['chance_shared']):.1f}"] if known_chance else []
        said = f" ({', '.join([*chance, *beside])})" if chance or beside else ""
        parts.append(f"{group.letter} {int(row['shared'])} of {int(row['heads_1'])}{said}")
    if not parts:
        return []
    both = f"Heads of {study.label(study.base)}'s circuit that are also in {study.label(model)}'s"
    return [Finding(SAME_CIRCUIT, model, "overlap", f"{both}: {'; '.join(parts)}.", source="overlap")]


def stability_finding(study: Study, tables: Tables, model: str) -> Finding | None:
    """How many heads of a circuit would be kept on other scenes too; None where that was not measured."""
    table = tables.get("stability")
    if table is None:
        return None
    kept = table[(table["model"] == model) & is_true(table["kept"])]
    pruning = first(tables["pruning"], model=model) if "pruning" in tables else None
    if kept.empty or (pruning is not None and np.isnan(pruning["faithfulness_after"])):  # nothing was judged
        return None
    weak = kept[kept["kept_frequency"] < HALF].sort_values(["letter", "layer", "head"])
    total = heads_in_words(len(kept))
    if weak.empty:
        text = f"Each of the {total} of {study.label(model)}'s circuit is kept in at least half of the resamples of "
        text += "scenes."
    else:
        named = ", ".join(f"{row['letter']} {row['layer']}.{row['head']}" for _, row in weak.iterrows())
        text = f"Of the {total} of {study.label(model)}'s circuit, {len(weak)} {'is' if len(weak) == 1 else 'are'} "
        text += f"kept in fewer than half of the resamples of scenes (hollow in the diagram): {named}."
    return Finding(SAME_CIRCUIT, model, "stability", text, source="stability")


def wording_findings(study: Study, tables: Tables, model: str) -> list[Finding]:
    """Whether a circuit's heads are the task's: what they carry in other words, how many are found there again."""
    table = tables.get("wordings")
    if table is None:
        return []
    return [
        Finding(SAME_CIRCUIT, model, f"wording {row['wording']}", _in_other_words(study, row), source="wordings")
        for _, row in table[table["model"] == model].iterrows()
    ]


def _in_other_words(study: Study, row: pd.Series) -> str:
    accuracy, share, recall = (
        estimate(row, what, f"{what}_low", f"{what}_high") for what in ("accuracy", "faithfulness", "recall")
    )
    words = f'{row["wording"]}: "{row["template"]}", "{row["query"]}"'
    said = f"Asked in other words ({words}), {study.label(row['model'])} answers {accuracy} correctly"
    if not float(row["accuracy_low"]) > study.task.chance:
        return (
            f"{said}, which is not shown to be better than a guess ({percent(study.task.chance)}): this wording "
            f"cannot tell whether the heads are the task's."
        )
    said += (
        f". There its circuit recovers {share} of the model's accuracy and keeps {recall} of its right answers; all "
        f"heads at the same tokens recover {percent(float(row['ceiling']))}."
    )
    if pd.isna(row["again"]):
        return said
    return (
        f"{said} Of its {heads_in_words(int(row['candidates']))} before pruning, {int(row['again'])} are found again "
        f"at the same tokens in these words (by chance {float(row['chance_again']):.1f})."
    )


def heads_in_words(count: int) -> str:
    """`1 head`, `2 heads`."""
    return f"{count} head{'' if count == 1 else 's'}"
