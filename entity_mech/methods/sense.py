"""What a measured number cannot carry, in words: said in the log of the job that measures it, and on the pages.

Every function gives a sentence, or nothing where all is well. Nothing here changes a result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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


GIVEN_EMPTY = "so it was given"


def empty_groups(model: str, names: Sequence[str], why: str = "no candidate there was needed") -> str:
    """For a circuit with groups in which no head was kept, or given (why: `GIVEN_EMPTY`)."""
    if not names:
        return ""
    one = len(names) == 1
    return (
        f"The circuit of {model} has no heads in {' and '.join(names)}: {why}. What later "
        f"stages say about {'this group' if one else 'these groups'} is about nothing."
    )


def no_gain(model: str, base: str, low: float) -> str:
    """For a fine-tuned model. low: the lower end of the interval of its accuracy minus the base's."""
    if low > 0:
        return ""
    return f"{model} is not shown to be better than {base}, so there is no gain to share out."


def roles_outside(role_map: pd.DataFrame, tokens: Collection[str], alpha: float) -> pd.DataFrame:
    """Rows of a model's role map: roles outside the chain without whose heads accuracy falls, the largest fall first.

    tokens: the chain's roles. Null: accuracy is the same without a role's heads. Alternative: it falls. Statistic:
    the paired difference, its p values corrected for the number of roles (Holm).
    """
    needed = role_map[role_map["kind"] == "needed"]
    p = np.array(holm(needed["drop_p"].tolist()))
    found = needed[(p < alpha) & (needed["drop"].to_numpy() > 0) & ~needed["tokens"].isin(list(tokens)).to_numpy()]
    return found.sort_values("drop", ascending=False, kind="stable")


def missing_searches(model: str, role_map: pd.DataFrame, tokens: Collection[str], alpha: float) -> str:
    """For a chain that looks at fewer tokens than the model needs, as `roles_outside` finds them."""
    found = roles_outside(role_map, tokens, alpha)
    if found.empty:
        return ""
    numbers = 100 * found[["drop", "drop_low", "drop_high"]].to_numpy(dtype=float)
    falls = [
        f"by {drop:.0f} points [{low:.0f}, {high:.0f}] without those at `{tokens}`"
        for tokens, (drop, low, high) in zip(found["tokens"], numbers, strict=True)
    ]
    return (
        f"{model} also needs heads at tokens where the chain has no search: accuracy falls {', '.join(falls)}. Add "
        f"{'a search' if len(falls) == 1 else 'searches'} there."
    )
