"""Refined mode: first-order scores are right in the limit, and the exact heads are found."""

import numpy as np
import torch

from entity_mech.engine import memory
from entity_mech.engine.clean import run_clean
from entity_mech.engine.direct_paths import direct_paths
from entity_mech.engine.first_order import clean_inputs, first_order_effects, receiver_gradients
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.methods.path_patching import search_effects
from entity_mech.methods.refined_search import RefinedEffects, RefinedOptions, _contenders, refined_effects
from entity_mech.methods.scored_prompts import ScoredPrompts
from tests.helpers.path_patching_case import RECEIVERS, Case, N
from tests.helpers.path_patching_chain import CHAIN, ChainSetting


def test_first_order_is_the_limit_of_small_patches():
    case = Case({"kv_heads": 2}, torch.float64, "middle")
    heads = RECEIVERS["q, k and v"]
    receivers = case.receivers(heads)
    clean = run_clean(case.decoder, case.ids)
    rows, small = torch.arange(N), 1e-5
    z = torch.stack([layer[rows, case.pos] for layer in clean.z], 1)
    case.corrupted = z + small * (case.corrupted - z)
    batch = SearchBatch(clean, case.length, case.answer, case.pos)
    _, values = direct_paths(case.decoder, batch, case.corrupted, receivers)
    gradients = receiver_gradients(case.decoder, batch, receivers)
    base = clean_inputs(case.decoder, batch, receivers)
    first, moved = first_order_effects(values, base, gradients, 16)
    p, p_clean = case.fast(heads), case.fast([])
    exact = (p - p_clean) / p_clean
    assert (first - exact).abs().max() < 1e-3 * exact.abs().max()
    assert (moved[: 3 * 4].sum(1) > 0).all()
    assert (moved[3 * 4 :] == 0).all()


def test_exactly_run_heads_equal_the_exact_mode_and_growing_ends_at_all_of_them():
    study = ChainSetting()
    receivers = Receivers.of_heads([("k", 2, 0), ("v", 2, 1), ("v", 1, 3)], group=2)
    search, scored = CHAIN[2], ScoredPrompts(study.decoder, study.clean, study.outputs, batch_size=4)
    exact = search_effects(scored, search, receivers)["corrupted"]
    options = RefinedOptions(first=1.0, moved=1.0, random=1)
    found = refined_effects(scored, search.token, receivers, 2, options)
    np.testing.assert_allclose(found.relative[found.exact], exact.relative[found.exact], atol=1e-5)
    assert found.exact[8:].all()
    assert (found.relative[8:] == 0).all(), "no path"
    everything = RefinedOptions(first=99.0, moved=1.0, random=1)
    found = refined_effects(scored, search.token, receivers, 2, everything)
    assert found.exact.all()
    assert found.rounds == [8]
    np.testing.assert_allclose(found.relative, exact.relative, atol=1e-5)


def test_contenders_are_those_that_the_worst_error_seen_could_lift_into_the_top():
    first_order = np.array([-5.0, -3.0, -2.9, -1.0, 0.5, 0.0])[:, None]
    moved = np.array([2.0, 1.0, 1.0, 6.0, 2.0, 0.0])
    relative = first_order.copy()
    ran = np.array([True, True, False, False, False, True])
    relative[:2, 0] = -4.0, -2.5  # off by 1 and 0.5: half a unit per unit of movement
    found = RefinedEffects(relative, relative, first_order, ran, np.array([1]))
    # The second best exact score is -2.5. Within the error are -2.9 +- 0.5 and -1 +- 3, but not 0.5 +- 1.
    assert _contenders(found, moved, 2, 5) == [2, 3]
    assert _contenders(found, moved, 1, 5) == [], "nothing reaches below -4"


def test_values_on_disk_and_the_size_of_batches_change_nothing(monkeypatch):
    study = ChainSetting()
    receivers = Receivers.of_heads([("k", 2, 0), ("v", 2, 1), ("v", 1, 3)], group=2)

    def effects(batch_size):
        scored = ScoredPrompts(study.decoder, study.clean, study.outputs, batch_size=batch_size)
        return refined_effects(scored, CHAIN[2].token, receivers, 2, RefinedOptions(random=1))

    want, in_memory = effects(6), effects(4)
    monkeypatch.setattr(memory, "CPU_BYTES", 0)
    on_disk = effects(4)
    np.testing.assert_array_equal(on_disk.relative, in_memory.relative)
    np.testing.assert_allclose(on_disk.relative, want.relative, atol=1e-5)
    assert (np.abs(want.relative) > 1e-3).any()


def test_only_a_batch_that_is_the_only_one_keeps_its_clean_run():
    study = ChainSetting()
    for batch_size, kept in ((6, True), (None, True), (4, False)):
        scored = ScoredPrompts(study.decoder, study.clean, study.outputs, batch_size=batch_size)
        first = scored.parts()[0]
        one, other = scored.batch(first, "last"), scored.batch(first, "label")
        assert (one.clean is other.clean) == kept
        assert not torch.equal(one.pos, other.pos)
