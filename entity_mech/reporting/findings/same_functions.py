"""Do the groups of heads do the same in a fine-tuned model as in its base?

Tables: `dcm` and `dcm_answers` (all of dcm/; the second pair by pair), and `patched_heads` and `patched_answers` (all
of patched_heads/) where that stage was run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from entity_mech.methods.intervals import difference_interval, difference_p
from entity_mech.reporting.findings.answers import side_by_side
from entity_mech.reporting.findings.estimate import Estimate, estimate, minus, percent
from entity_mech.reporting.findings.finding import (
    CANNOT_TELL,
    CARRIES_NONE,
    EMPTY,
    LEFT_OUT,
    NO,
    NOT_SHOWN,
    SAME_FUNCTIONS,
    YES,
    Corrected,
    Finding,
    corrected,
)
from entity_mech.reporting.findings.limits import Limits
from entity_mech.reporting.published import published
from entity_mech.reporting.study import Group, Study
from entity_mech.reporting.tables import Tables, first
from entity_mech.task.pair_kinds import in_words

PAIR = ("scene", "pair")
FRESH_PAIR = ("resample", "scene", "pair")


@dataclass(frozen=True)
class Effect:
    """A desideratum whose chosen heads are patched: accuracy on test pairs, what that is over no patching, and the p
    value of this gain against the smallest effect."""

    desideratum: str
    accuracy: Estimate
    none: float
    gain: Estimate
    p: float


@dataclass(frozen=True)
class Carried:
    """What one model's group carries. effects: of every desideratum; none for a group without heads."""

    effects: tuple[Effect, ...]
    smallest: float

    @property
    def shown(self) -> tuple[Effect, ...]:
        """Desiderata that the group carries: the whole interval of the gain lies above the smallest effect."""
        return tuple(one for one in self.effects if one.gain.known and one.gain.low > self.smallest)

    @property
    def absent(self) -> tuple[Effect, ...]:
        """Desiderata that the group does not carry: the whole interval lies below."""
        return tuple(one for one in self.effects if one.gain.known and one.gain.high < self.smallest)

    @property
    def words(self) -> str:
        """`the object`, `more than one: the label and the position`, `none of what was tested`; empty: unknown."""
        names = [f"the {in_words(one.desideratum)}" for one in self.shown]
        if not names:
            return "none of what was tested" if len(self.absent) == len(self.effects) else ""
        return names[0] if len(names) == 1 else f"more than one: {', '.join(names[:-1])} and {names[-1]}"

    def effect(self, desideratum: str) -> Effect:
        """The effect of that desideratum."""
        return next(one for one in self.effects if one.desideratum == desideratum)


def carried(tables: Tables, model: str, letter: str, smallest: float) -> Carried:
    """What a group carries in its own model, each desideratum by itself, on test pairs that chose nothing.

    Null: with the heads patched that its mask chose, the answer moves `smallest` more often than with none patched.
    Alternatives: more often (it carries it), less often (it does not). Statistic: the difference over the same pairs.
    """
    table, answers = tables["dcm"], tables["dcm_answers"]
    own = table[(table["model"] == model) & (table["circuit"] == model) & (table["letter"] == letter)]
    pairs = answers[(answers["model"] == model) & (answers["letter"] == letter)]
    found = []
    for _, row in own[own["group_size"] > 0].iterrows():
        given = pairs[pairs["desideratum"] == row["desideratum"]]
        right = given["correct"].to_numpy(), given["none_correct"].to_numpy(), given["scene"].to_numpy()
        gain, p = Estimate(*difference_interval(*right)), difference_p(*right, smallest)
        found.append(Effect(str(row["desideratum"]), estimate(row, "accuracy"), float(row["none_accuracy"]), gain, p))
    return Carried(tuple(found), smallest)


@dataclass(frozen=True)
class FunctionTest:
    """One group in the base and in a fine-tuned model. answer: what the intervals say; p: its p value."""

    there: Carried
    here: Carried
    answer: str
    p: float


def function_test(there: Carried, here: Carried) -> FunctionTest:
    """Whether two groups carry the same.

    yes: both carry the same desiderata, one or more. no: one carries what the other does not carry. carries none:
    neither carries any. Anything else is open. The p value is the largest of the effects that the answer needs.
    """
    if not there.effects or not here.effects:
        return FunctionTest(there, here, EMPTY, np.nan)
    shown = [{one.desideratum for one in side.shown} for side in (there, here)]
    absent = [{one.desideratum for one in side.absent} for side in (there, here)]
    every = {one.desideratum for one in there.effects}
    apart = (shown[0] & absent[1]) | (absent[0] & shown[1])
    if shown[0] == shown[1] and shown[0]:
        return FunctionTest(there, here, YES, _largest(there, here, shown[0]))
    if apart:
        return FunctionTest(there, here, NO, min(_largest(there, here, {one}) for one in apart))
    if absent[0] == absent[1] == every:
        return FunctionTest(there, here, CARRIES_NONE, _largest(there, here, every))
    return FunctionTest(there, here, CANNOT_TELL, 1.0)


def _largest(there: Carried, here: Carried, names: set[str]) -> float:
    return max(side.effect(name).p for side in (there, here) for name in names)


def function_findings(study: Study, tables: Tables, limits: Limits) -> dict[str, list[Finding]]:
    """For each fine-tuned model and group, whether it does the same as in the base, and whether better."""
    if "dcm" not in tables:
        text = "Masking was left out of this run."
        return {model: [Finding(SAME_FUNCTIONS, model, "groups", text, LEFT_OUT)] for model in study.fine_tuned}
    base = {one.letter: carried(tables, study.base, one.letter, limits.smallest_effect) for one in study.by_letter}
    tests = {
        (model, letter): function_test(there, carried(tables, model, letter, limits.smallest_effect))
        for model in study.fine_tuned
        for letter, there in base.items()
    }
    p_values = corrected({key: test.p for key, test in tests.items()})
    found: dict[str, list[Finding]] = {model: [] for model in study.fine_tuned}
    for (model, letter), test in tests.items():
        p, group = p_values[model, letter], study.group(letter)
        found[model].append(same_function_finding(study, tables, (model, group), test, p, limits))
    for model, those in found.items():
        those += patched_heads_findings(study, tables, model, base)
    return found


def same_function_finding(
    study: Study, tables: Tables, what: tuple[str, Group], test: FunctionTest, p: Corrected, limits: Limits
) -> Finding:
    """Whether one group carries the same in the base and in a fine-tuned model (`carried`, `function_test`).

    what: the model and the group. The p value is corrected for all groups of all models.
    """
    (model, group), there, here = what, test.there, test.here
    name, base = study.label(model), study.label(study.base)
    head = f"Group {group.letter} ({group.words})"
    if test.answer == EMPTY:
        none = " and ".join(label for label, one in ((base, there), (name, here)) if not one.effects)
        sentence = f"{head} is empty in {none}: it has no heads there, so there is nothing to compare."
        return Finding(SAME_FUNCTIONS, model, group.letter, sentence, EMPTY, source="dcm")
    idle = {one.desideratum for one in there.absent} & {one.desideratum for one in here.absent}
    open_ = [one for one in here.effects if one.desideratum not in idle]
    best = max(here.effects, key=lambda one: one.accuracy.value)
    answer = test.answer if p.holds(limits.alpha) else CANNOT_TELL
    corrected_away = test.answer != CANNOT_TELL and answer == CANNOT_TELL
    least = Estimate(limits.smallest_effect).size()
    if test.answer == YES:
        said = f"{head} carries {here.words} in both. {_moves(tables, study, what, here.shown, there)}"
        best = max(here.shown, key=lambda one: one.accuracy.value)
    elif test.answer == NO:
        said = f"{head} {_differ((base, there), (name, here))}. "
        said += _moves(tables, study, what, open_, there)
    elif test.answer == CARRIES_NONE:
        said = f"{head} carries none of what was tested in either: patched, it moves the answer by less than {least}."
    else:
        said = f"{head}: {_unclear((base, there), (name, here))}, so whether they do the same cannot be told. "
        said += _moves(tables, study, what, open_, there)
    if corrected_away:
        said += f" (No answer: {p.words}.)"
    known = first(published(study, "dcm"), model=model, letter=group.letter, desideratum=best.desideratum)
    value = np.nan if known is None else float(known["accuracy"])
    return Finding(SAME_FUNCTIONS, model, group.letter, said, answer, best.accuracy, value, "dcm", p.p)


def _differ(*sides: tuple[str, Carried]) -> str:
    """What two groups carry of which one carries what the other does not."""
    (base, there), (name, here) = sides
    if there.words and here.words:
        return f"carries {there.words} in {base} but {here.words} in {name}"
    for (one, side), (other, opposite) in (sides, sides[::-1]):
        absent = {effect.desideratum for effect in opposite.absent}
        for effect in side.shown:
            if effect.desideratum in absent:
                return f"carries the {in_words(effect.desideratum)} in {one} but not in {other}"
    raise ValueError("the two groups do not differ")


def _unclear(*sides: tuple[str, Carried]) -> str:
    """What is known of two groups that cannot be compared."""
    known = [f"in {name} it carries {side.words}" for name, side in sides if side.words]
    unknown = [name for name, side in sides if not side.words]
    unknown = [f"what it carries in {' and '.join(unknown)} is not shown"] if unknown else []
    return ", ".join([*known, *unknown])


def _moves(tables: Tables, study: Study, what: tuple[str, Group], effects: Sequence[Effect], there: Carried) -> str:
    """How often the answer moves in both models, and the difference between them, over the same pairs if they are."""
    (model, group), parts = what, []
    name, base = study.label(model), study.label(study.base)
    answers = tables["dcm_answers"]
    for one in effects:
        other = there.effect(one.desideratum)
        rows = answers[(answers["letter"] == group.letter) & (answers["desideratum"] == one.desideratum)]
        apart = difference_of(rows, model, study.base, PAIR) or minus(one.accuracy, other.accuracy)
        parts.append(
            f"to the {in_words(one.desideratum)} on {one.accuracy} of the test pairs in {name} ({percent(one.none)} "
            f"with nothing patched), {other.accuracy} in {base} ({percent(other.none)}), a difference of "
            f"{apart.points()}"
        )
    return f"Patched, it moves the answer {'; '.join(parts)}."


def difference_of(answers: pd.DataFrame, model: str, other: str, keys: Sequence[str]) -> Estimate | None:
    """Share of pairs that come right in one model minus the other, paired; None where they are not the same pairs."""
    both = {name: (answers[answers["model"] == name], "correct") for name in (model, other)}
    right = side_by_side(both, keys)
    return None if right is None else Estimate(*difference_interval(right[model], right[other], right["scene"]))


def patched_heads_findings(study: Study, tables: Tables, model: str, base: dict[str, Carried]) -> list[Finding]:
    """For each group of the base and what it carries, whether its own heads do that better in a fine-tuned model."""
    if "patched_heads" not in tables:
        text = "Patching the base's heads in this model was left out of this run."
        return [Finding(SAME_FUNCTIONS, model, "patched heads", text, LEFT_OUT)]
    wanted = [(study.group(letter), one.desideratum) for letter, side in base.items() for one in side.shown]
    found = [patched_heads_finding(study, tables, model, group, what) for group, what in wanted]
    return [one for one in found if one is not None]


def patched_heads_finding(study: Study, tables: Tables, model: str, group: Group, what: str) -> Finding | None:
    """Whether the base's heads for one thing that a group carries do it better in a fine-tuned model.

    Null: patching them moves the answer as often in both models. Alternative: it does not. Statistic: difference of
    the two accuracies over the same fresh pairs, shown where its 95% interval leaves out 0. None without heads.
    """
    table, answers = tables["patched_heads"], tables["patched_answers"]
    key = {"circuit": study.base, "letter": group.letter, "desideratum": what, "pairs": what}
    row, base_row = first(table, model=model, **key), first(table, model=study.base, **key)
    if row is None or base_row is None:
        return None
    here, there = estimate(row, "accuracy"), estimate(base_row, "accuracy")
    for column, wanted in key.items():
        answers = answers[answers[column] == wanted]
    more = difference_of(answers, model, study.base, FRESH_PAIR) or minus(here, there)
    if more.above_zero:
        answer, end = YES, f"{more.size()} better"
    elif more.below_zero:
        answer, end = NO, f"{more.size()} worse"
    else:
        answer, end = NOT_SHOWN, f"a difference is not shown ({more.points()})"
    label, base = study.label(model), study.label(study.base)
    sentence = (
        f"The heads that carry the {in_words(what)} in group {group.letter} of {base} move the answer on {here} of "
        f"the fresh pairs in {label}, {there} in {base}: {end}."
    )
    known = first(
        published(study, "patched_heads"), model=model, circuit=study.base, letter=group.letter, desideratum=what
    )
    value = np.nan if known is None else float(known["accuracy"])
    about = f"{group.letter} heads of the base ({in_words(what)})"
    return Finding(SAME_FUNCTIONS, model, about, sentence, answer, here, value, "patched_heads")
