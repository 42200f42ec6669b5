"""What a measured number cannot carry, in words: said in the log of the job that measures it, and on the pages.

Every function gives a sentence, or nothing where all is well. Nothing here changes a result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd

from entity_mech.methods.multiple import holm
from entity_mech.methods.random_test import random_p


def weak_model(name: str, accuracy: float, least: float) -> str:
    """For a model that answers too few prompts correctly."""
    if accuracy >= least:
        return ""
    return f"{name} answers less than {least:.0%} correctly: a circuit says little about how it tracks entities."


def _circuit(circuit: str, model: str) -> str:
    return "its own circuit" if circuit == model else f"the circuit of {circuit}"


def at_chance(circuit: str, model: str, low: float, chance: float) -> str:
    """For a circuit in a model. low: the lower end of its accuracy's interval; chance: accuracy of a guess."""
    if not low <= chance:
        return ""
    return (
        f"In {model}, {_circuit(circuit, model)} is not shown to be more accurate than a guess among the objects "
        f"({chance:.0%}), so nothing that is said about its groups explains the model."
    )


def no_better_than_random(circuit: str, model: str, below: int, draws: int, limits: Mapping[str, float]) -> str:
    """For a circuit in a model. below: of `draws` random circuits of its size. limits: the config's `findings`."""
    share = limits["random_share"]
    p = random_p(below, draws, share)
    if not p >= limits["alpha"]:
        return ""
    return (
        f"In {model}, {_circuit(circuit, model)} is not shown to beat {share:.0%} of random circuits of its size: "
        f"{below} of {draws} are less accurate."
    )


def low_ceiling(circuit: str, model: str, ceiling: float, least: float) -> str:
    """For a chain's tokens in a model. ceiling: accuracy with all heads there over the model's accuracy."""
    if not ceiling < least:
        return ""
    return (
        f"In {model}, all heads at the tokens of {_circuit(circuit, model)} carry {ceiling:.0%} of the accuracy, "
        f"below {least:.0%}: the model also needs heads at other tokens, so the chain lacks a search."
    )


def broken_pruning(model: str, pruning: Mapping[str, object]) -> str:
    """For a circuit that pruning broke. pruning: a row of `put_back.pruning_summary`."""
    count = int(str(pruning["put_back"]))
    if not count:
        return ""
    before, minimal, after = (float(str(pruning[f"faithfulness_{name}"])) for name in ("before", "minimal", "after"))
    return (
        f"Judged one by one, so many heads of {model}'s circuit are superfluous that it breaks without all of them: "
        f"on the pruning prompts it falls from {before:.0%} of the model's accuracy to {minimal:.0%}. "
        f"{count} {'head' if count == 1 else 'heads'} came back, with which it reaches {after:.0%}: "
        f"{pruning['names']}."
    )


def coarse_pruning(model: str, pruning: Mapping[str, object]) -> str:
    """For pruning prompts so few that its threshold decides nothing. pruning: a row of `put_back.pruning_summary`."""
    accuracy, n, threshold, least = (
        float(str(pruning[name])) for name in ("accuracy_before", "n", "threshold", "least_prompts")
    )
    if not accuracy or not 0 < threshold < least / (n * accuracy):
        return ""
    return (
        f"{few_prompts(int(n), int(least), accuracy, threshold)} of the accuracy of {model}'s candidates, so a head "
        f"stays only where it costs as much as that. From {ceil(least / (threshold * accuracy))} prompts on the "
        f"threshold decides."
    )


def few_prompts(n: int, least: int, accuracy: float, threshold: float) -> str:
    """`2 of the 140 pruning prompts are more than pruning.threshold (1%): 2.1%`."""
    which = f"One of the {n} pruning prompts is" if least == 1 else f"{least} of the {n} pruning prompts are"
    return f"{which} more than pruning.threshold ({threshold:.2g}): {least / (n * accuracy):.1%}"


GIVEN_EMPTY = "so it was given"


NOT_FOUND = "the search found none there"
NOT_NEEDED = "no candidate there was needed"


def empty_groups(model: str, names: Sequence[str], why: str) -> str:
    """For a circuit with groups without heads. why: `NOT_FOUND`, `NOT_NEEDED` (pruned away) or `GIVEN_EMPTY`."""
    if not names:
        return ""
    return (
        f"The circuit of {model} has no heads in {listed(names)}: {why}. What later "
        f"stages say about {'this group' if len(names) == 1 else 'these groups'} is about nothing."
    )


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def no_gain(model: str, base: str, low: float) -> str:
    """For a fine-tuned model. low: the lower end of the interval of its accuracy minus the base's."""
    if low > 0:
        return ""
    return f"{model} is not shown to be better than {base}, so there is no gain to share out."


def needed_roles(role_map: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Rows of a model's role map: roles without whose heads accuracy falls, the largest fall first.

    Null: accuracy is the same without a role's heads. Alternative: it falls. Statistic: the paired difference, its p
    values corrected for the number of roles (Holm).
    """
    needed = role_map[role_map["kind"] == "needed"]
    p = np.array(holm(needed["drop_p"].tolist()))
    return needed[(p < alpha) & (needed["drop"].to_numpy() > 0)].sort_values("drop", ascending=False, kind="stable")


def _falls(rows: pd.DataFrame) -> str:
    """How much accuracy falls without the heads at some roles."""
    numbers = 100 * rows[["drop", "drop_low", "drop_high"]].to_numpy(dtype=float)
    return ", ".join(
        f"by {drop:.0f} points [{low:.0f}, {high:.0f}] without those at `{tokens}`"
        for tokens, (drop, low, high) in zip(rows["tokens"], numbers, strict=True)
    )


def roles_outside(role_map: pd.DataFrame, tokens: Collection[str], alpha: float) -> pd.DataFrame:
    """Those of `needed_roles` that are outside the chain. tokens: the chain's roles."""
    needed = needed_roles(role_map, alpha)
    return needed[~needed["tokens"].isin(list(tokens)).to_numpy()]


def hidden_groups(
    model: str, role_map: pd.DataFrame, empty: Mapping[str, str], full: Collection[str], alpha: float
) -> str:
    """For searches that found nothing at tokens whose heads the model needs.

    empty: the token of each group in which no head was kept, by the group's name in words. full: tokens at which
    another group has heads, of which the role map cannot say whose are needed.
    """
    needed = needed_roles(role_map, alpha)
    needed = needed[needed["tokens"].isin(set(empty.values()) - set(full)).to_numpy()]
    names = [name for name, token in empty.items() if token in set(needed["tokens"])]
    if not names:
        return ""
    return (
        f"No heads of {listed(names)} were found in {model} although it needs heads there: accuracy falls "
        f"{_falls(needed)}. {_HIDING}"
    )


_HIDING = (
    "Heads that do the same work, each strongly enough, hide one another and what feeds them: where one is patched, "
    "the others still give the answer."
)


def missed_heads(model: str, found: float, ceiling: float, share: float) -> str:
    """For candidates that carry much less than all heads at their tokens. found, ceiling: shares of the model's
    accuracy; share: of the ceiling, under which this is said."""
    if not found < share * ceiling:
        return ""
    return (
        f"All heads at the tokens of {model}'s circuit carry {ceiling:.0%} of the accuracy, and those that the "
        f"searches found there {found:.0%}, before any was pruned: the searches miss heads that it needs. {_HIDING}"
    )


def missing_searches(model: str, role_map: pd.DataFrame, tokens: Collection[str], alpha: float) -> str:
    """For a chain that looks at fewer tokens than the model needs, as `roles_outside` finds them."""
    found = roles_outside(role_map, tokens, alpha)
    if found.empty:
        return ""
    return (
        f"{model} also needs heads at tokens where the chain has no search: accuracy falls {_falls(found)}. Add "
        f"{'a search' if len(found) == 1 else 'searches'} there."
    )
