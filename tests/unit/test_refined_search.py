"""Refined mode: first-order scores are right in the limit, and the exact heads are found."""

import numpy as np
import torch

from entity_mech.engine import memory
from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.direct_paths import direct_paths
from entity_mech.engine.first_order import clean_inputs, first_order_effects, receiver_gradients
from entity_mech.engine.path_patching import KEPT
from entity_mech.engine.receivers import Receivers
from entity_mech.methods.path_patching import Chain
from entity_mech.methods.refined_search import RefinedEffects, RefinedOptions, _contenders, refined_effects
from entity_mech.methods.searches import PathPatchingOptions
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
    _, values = direct_paths(case.decoder, clean, case.pos, case.corrupted, receivers)
    gradients = receiver_gradients(case.decoder, clean, case.length, case.answer, case.pos, receivers)
    base = clean_inputs(case.decoder, clean, case.pos, receivers)
    first, moved = first_order_effects(values, base, gradients, 16)
    p, p_clean = case.fast(heads), case.fast([])
    exact = (p - p_clean) / p_clean
    assert (first - exact).abs().max() < 1e-3 * exact.abs().max()
    assert (moved[: 3 * 4].sum(1) > 0).all()
    assert (moved[3 * 4 :] == 0).all()


def test_exactly_run_heads_equal_the_exact_mode_and_growing_ends_at_all_of_them():
    study = ChainSetting()
    receivers = Receivers.of_heads([("k", 2, 0), ("v", 2, 1), ("v", 1, 3)], group=2)
    search, rows = CHAIN[2], np.arange(6)
    args = (study.decoder, study.clean, study.outputs)
    chain = Chain(study.decoder, study.scored, PathPatchingOptions(null=False, batch_size=4))
    exact = chain.effects(search, receivers)["corrupted"]
    options = RefinedOptions(first=1.0, moved=1.0, random=1)
    found = refined_effects(*args, search.token, receivers, 2, rows, 4, 10**6, options)
    np.testing.assert_allclose(found.relative[found.exact], exact.relative[found.exact], atol=1e-5)
    assert found.exact[8:].all()
    assert (found.relative[8:] == 0).all(), "no path"
    everything = RefinedOptions(first=99.0, moved=1.0, random=1)
    found = refined_effects(*args, search.token, receivers, 2, rows, 4, 10**6, everything)
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


def test_values_on_disk_and_a_given_clean_run_change_nothing(monkeypatch):
    study = ChainSetting()
    receivers = Receivers.of_heads([("k", 2, 0), ("v", 2, 1), ("v", 1, 3)], group=2)
    args = (study.decoder, study.clean, study.outputs, CHAIN[2].token, receivers, 2, np.arange(6))
    options = RefinedOptions(random=1)
    given = run_clean(study.decoder, to_ids(study.decoder, study.clean.ids[:6]), KEPT)
    want = refined_effects(*args, 6, 10**6, options)
    found = refined_effects(*args, 6, 10**6, options, clean_of=lambda _: given)
    np.testing.assert_array_equal(found.relative, want.relative)
    in_memory = refined_effects(*args, 4, 10**6, options)
    monkeypatch.setattr(memory, "CPU_BYTES", 0)
    on_disk = refined_effects(*args, 4, 10**6, options)
    np.testing.assert_array_equal(on_disk.relative, in_memory.relative)
    np.testing.assert_allclose(on_disk.relative, want.relative, atol=1e-5)
