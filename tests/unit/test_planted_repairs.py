"""Which group was repaired: patching across models names it, and no other, on models whose repair is known."""

import pandas as pd
import pytest

from entity_mech.methods.cmap import CmapOptions, cmap_parts, heads_of_both, run_cmap
from entity_mech.models.planted.variants import VARIANTS
from tests.helpers.planted_sides import circuit, prompts, side
from tests.helpers.reporting_answers import found_in
from tests.helpers.reporting_study import make_study
from tests.helpers.reporting_tables import run_tables

TWO = make_study(2)
NO_MASKS = pd.DataFrame(columns=["group", "desideratum", "layer", "head", "selected"])
PROMPTS = prompts("evaluation", 175)
# Whose outputs bring the gain: the repaired group's, and those of groups that get their input from it.
OUTPUTS = {"repaired_q": {"A"}, "repaired_v": {"A", "B"}, "repaired_o": {"A", "B"}}


def patched(name: str) -> pd.DataFrame:
    base, tuned = side("weak", "base", PROMPTS), side(name, "chat", PROMPTS)
    planted = circuit(name, "chat")
    # D, far from the end, takes long.
    parts = [part for part in cmap_parts(planted, NO_MASKS, {}) if part.name in "ABC"]
    return run_cmap(base, tuned, {"chat": parts}, heads_of_both(planted), CmapOptions(directions=("into_base",)))


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_repaired_group_is_named_and_no_other(name):
    table = patched(name)
    own = table[table["kind"] == "own"].set_index("target")["accuracy"]
    findings = found_in(TWO, {**run_tables(TWO, own.to_dict()), "cmap": table})
    improved = {one.about for one in findings if one.question == "improved" and one.answer == "yes"}
    letter, _ = VARIANTS[name].repaired
    assert improved == {letter, *(f"{one} outputs" for one in OUTPUTS[name])}
    chosen = table[(table["kind"] == "chosen") & (table["way"] == "direct")].set_index("part")
    assert chosen.loc[letter, "accuracy"] == own["chat"], "the repair is the whole gain"
    assert (chosen.drop(index=letter)["gain"] == 0).all(), "equal weights on equal inputs"
