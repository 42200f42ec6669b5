"""The rules by which the pages answer, with the config's numbers in them (method, section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from entity_mech.reporting.findings.estimate import Estimate, percent
from entity_mech.reporting.findings.finding import GAIN, IMPROVED, SAME_CIRCUIT, SAME_FUNCTIONS, Finding
from entity_mech.reporting.findings.limits import Limits

NAMES = {GAIN: "gain", SAME_CIRCUIT: "same circuit", SAME_FUNCTIONS: "same functions", IMPROVED: "improved"}


def tests_of(findings: Sequence[Finding]) -> dict[str, int]:
    """How many headline answers of each question were tested."""
    return {question: sum(one.question == question and not np.isnan(one.p) for one in findings) for question in NAMES}


def rules(limits: Limits, tests: Mapping[str, int], chance: float) -> list[str]:
    """One text a rule. tests: `tests_of` the findings; chance: accuracy of a guess."""
    margin, effect = percent(limits.margin), Estimate(limits.smallest_effect).size()
    share, counts = percent(limits.random_share), ", ".join(f"{NAMES[name]} {count}" for name, count in tests.items())
    return [
        "Brackets hold 95% intervals over scenes. Where two numbers come from the same prompts, their difference is "
        "taken prompt by prompt; elsewhere its interval is put together from the two (MOVER), which makes it too "
        "wide rather than too narrow. A difference is shown when its interval leaves out 0.",
        f"Intervals are not corrected for their number; headline answers are. {sum(tests.values())} were tested "
        f"({counts}). Within each question, Holm's correction keeps the chance of one or more wrong answers at "
        f"{percent(limits.alpha)}.",
        f"Same circuit. The base's circuit is compared with the model's own on the same prompts: how far it is "
        f"behind, as a share of the model's accuracy. Yes: by less than {margin}, with the whole interval; and it "
        f"beats {share} of random circuits of its size (binomial test), is more accurate than a guess "
        f"({percent(chance)}), and carries at least {percent(limits.ceiling_share)} of what all heads at its tokens "
        f"carry. In part: it beats random ones, but is behind by more than {margin}, with the whole interval. No: it "
        f"is not shown to beat random ones. Cannot tell: anything else.",
        f"Same functions. A group carries what was tested (an object, a label, ...) when patching its chosen heads "
        f"moves the answer there more often than patching nothing, by {effect} or more with the whole interval, on "
        f"test pairs on which nothing was chosen; it does not carry it when the whole interval lies below. It may "
        f"carry more than one. Two groups do the same when both carry the same; they differ when one carries what "
        f"the other does not. Cannot tell: anything else.",
        "Improved. Each group is patched into the base in two ways. Directly: its heads, with the fine-tuned model's "
        "weights, run on the base's own inputs, so that whether the group itself was improved rests on this. And its "
        "outputs in the fine-tuned model, as the paper patches them, which also hold all that was improved before "
        "the group. Either way it is yes when the base becomes more accurate than by itself, over the same prompts, "
        "and more than with every draw of as many random heads outside both circuits. It cannot be told where too "
        "few such heads are left to draw from. The share is that rise over the model's whole gain, with the "
        "uncertainty of both; the shares of all groups need not add up to 100%.",
        f"Warnings stand beside models that answer less than {percent(limits.low_accuracy)} correctly, circuits that "
        f"are no better than a guess or than random ones, chains whose tokens carry less than "
        f"{percent(limits.low_ceiling)} of the model's accuracy, and empty groups. A circuit with more than "
        f"{percent(limits.above_model)} of its model's accuracy is said to rise above it. A model needs a token when "
        f"its accuracy falls without the heads there (Holm over tokens).",
    ]
