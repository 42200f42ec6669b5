"""Mean-ablated circuit runs: equal to hooked whole-prompt runs, and to themselves however they are batched."""

import numpy as np
import pytest
import torch

from entity_mech.engine.backgrounds import prepare_ablated
from entity_mech.engine.circuit_batches import Batching, circuit_correct, circuit_gives, gives_at
from entity_mech.engine.circuit_plan import plan_circuits
from entity_mech.engine.circuit_run import run_circuits
from entity_mech.engine.readout import logits
from entity_mech.errors import UserError
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, last_logits, literal_circuit
from tests.helpers.random_models import decoder_from, exact_norms, random_llama

ROLES = ("label", "separator", "query_label", "last")
SHAPES = {
    "plain": {},
    "grouped": {"kv_heads": 2},
    "wide heads": {"kv_heads": 2, "d_head": 12, "layers": 4},
    "biases": {"kv_heads": 1, "attention_bias": True, "mlp_bias": True},
}


def random_masks(rng, n, n_roles, shape):
    """Circuits of all sizes, among them the empty one, the full one and one without heads at some roles."""
    size = (n_roles, shape.n_layers, shape.n_heads)
    masks = rng.random((n, *size)) < rng.random((n, 1, 1, 1))
    masks[0] = False
    masks[1] = True
    masks[2, :-1] = False
    masks[3, -1] = False
    masks[5] = masks[4]
    masks[5, 1, 1, 0] ^= True
    return masks


def setup(dtype=torch.float32, n=5, **options):
    model = random_llama(**options).to(dtype)
    decoder = decoder_from(model, dtype)
    prompts = box_prompts(3, n, ragged=True)
    means = head_outputs(model, box_prompts(4, 6).ids).mean(0)
    extra = prompts.ids.shape[1] - len(means)
    means = torch.cat([means, means[:extra] * 0.5])
    return model, decoder, prompts, means


def positions_of(prompts):
    return np.stack([prompts.roles[role] for role in ROLES], 1)


def run(decoder, prompts, positions, means, masks):
    ids, length = torch.as_tensor(prompts.ids), torch.as_tensor(prompts.length)
    background = prepare_ablated(decoder, ids, length, means)
    return run_circuits(decoder, background, torch.as_tensor(positions), torch.as_tensor(masks))


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 5e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES.keys())
def test_equals_hooked_runs_of_whole_prompts(options, dtype, limit):
    with exact_norms():
        model, decoder, prompts, means = setup(dtype, **options)
        positions = positions_of(prompts)
        masks = random_masks(np.random.default_rng(0), 9, len(ROLES), decoder.shape)
        fast = logits(decoder, run(decoder, prompts, positions, means, masks))
        for mask, ours in zip(masks, fast, strict=True):
            literal = literal_circuit(model, prompts.ids, prompts.length, positions, mask, means)
            assert (ours - literal).abs().max() <= limit * literal.abs().max()


def test_all_heads_at_all_tokens_is_the_intact_model():
    model, decoder, prompts, means = setup(kv_heads=2)
    prompts = box_prompts(5, 4)
    positions = np.tile(np.arange(prompts.ids.shape[1]), (4, 1))
    mask = np.ones((1, positions.shape[1], decoder.shape.n_layers, decoder.shape.n_heads), dtype=bool)
    ours = logits(decoder, run(decoder, prompts, positions, means, mask))[0]
    literal = last_logits(model, prompts.ids, prompts.length)
    assert (ours - literal).abs().max() <= 5e-6 * literal.abs().max()


def test_a_batch_equals_its_circuits_and_its_prompts():
    _, decoder, prompts, means = setup(torch.float64, kv_heads=2)
    positions = positions_of(prompts)
    masks = random_masks(np.random.default_rng(1), 8, len(ROLES), decoder.shape)
    together = run(decoder, prompts, positions, means, masks)
    for i in range(len(masks)):
        alone = run(decoder, prompts, positions, means, masks[[i]])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-10, atol=1e-12)
    for i in range(len(prompts)):
        alone = run(decoder, prompts.rows([i]), positions[[i]], means, masks)
        torch.testing.assert_close(alone[:, 0], together[:, i], rtol=1e-10, atol=1e-12)


def test_circuits_share_what_they_have_in_common():
    masks = np.zeros((4, 2, 5, 3), dtype=bool)
    masks[:, :, :, 0] = True
    masks[1, 1, 3, 0] = masks[2, 1, 3, 0] = False  # at the last role, from layer 3
    masks[2, 1, 4, 1] = True
    plan = plan_circuits(masks, 3)
    assert [len(layer.parent) for layer in plan.layers] == [2, 2, 2, 3, 3]  # the first role ends after layer 3
    assert plan.final[0] == plan.final[3]
    assert len({plan.final[0], plan.final[1], plan.final[2]}) == 3


def test_a_stream_that_nobody_reads_is_not_computed():
    masks = np.zeros((1, 2, 4, 2), dtype=bool)
    masks[0, 0] = True
    masks[0, 1, 1, 0] = True  # the last token looks at the first role in layer 1 only
    plan = plan_circuits(masks, 2)
    assert [len(layer.parent) for layer in plan.layers] == [2, 1, 1, 1]


def test_bfloat16_stays_near_float32():
    _, decoder, prompts, means = setup(spread=0.15)
    half = decoder_from(random_llama(spread=0.15), torch.bfloat16)
    positions = positions_of(prompts)
    masks = random_masks(np.random.default_rng(2), 6, len(ROLES), decoder.shape)
    full, low = (run(d, prompts, positions, means, masks) for d in (decoder, half))
    assert low.dtype == torch.bfloat16
    assert (low.float() - full).norm() <= 0.02 * full.norm()


def test_correct_is_the_argmax_and_blocks_do_not_matter():
    model, decoder, prompts, means = setup(kv_heads=2, n=7)
    masks = random_masks(np.random.default_rng(3), 12, len(ROLES), decoder.shape)
    positions = positions_of(prompts)
    best = [literal_circuit(model, prompts.ids, prompts.length, positions, mask, means).argmax(-1) for mask in masks]
    # Random weights never give the right object, so the answers are what one of the circuits predicts.
    answer = torch.stack(best)[torch.arange(7) % 12, torch.arange(7)].numpy()
    prompts = prompts.rows(slice(None))
    object.__setattr__(prompts, "answer", answer)
    expected = np.stack([row.numpy() == answer for row in best])
    assert 0 < expected.mean() < 1
    whole = circuit_correct(decoder, prompts, means, ROLES, masks)
    small = circuit_correct(decoder, prompts, means, ROLES, masks, budget=1 << 17)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(small, expected)
    swapped = [2, 3, 0, 1]
    again = circuit_correct(decoder, prompts, means, [ROLES[i] for i in swapped], masks[:, swapped])
    np.testing.assert_array_equal(again, expected)
    # other tokens count as well: what another circuit gives, and what none gives
    other = best[1].numpy()
    nowhere = np.zeros(7, dtype=int)
    assert not (torch.stack(best) == 0).any()
    targets = np.stack([other, answer, nowhere])
    given = circuit_gives(decoder, prompts, means, ROLES, masks, targets, Batching(budget=1 << 17))
    np.testing.assert_array_equal(
        given, [[row.numpy() == target for row in best] for target in (other, answer, nowhere)]
    )
    assert given[0, 1].all()
    assert (given[0] != given[1]).any()


def test_last_is_read_out_even_when_no_group_sits_there():
    _, decoder, prompts, means = setup(n=12)
    masks = random_masks(np.random.default_rng(3), 8, len(ROLES), decoder.shape)
    masks[:, -1] = False
    best = logits(decoder, run(decoder, prompts, positions_of(prompts), means, masks)).argmax(-1).numpy()
    target = best[0].copy()
    target[:2] = 0  # no circuit gives it
    whole = circuit_gives(decoder, prompts, means, ROLES, masks, target[None])[0]
    assert 0 < whole.mean() < 1
    np.testing.assert_array_equal(whole, best == target)
    without = circuit_gives(decoder, prompts, means, ROLES[:-1], masks[:, :-1], target[None])[0]
    np.testing.assert_array_equal(without, whole)


def test_roles_must_be_there_and_in_one_order():
    _, decoder, prompts, means = setup()
    masks = np.ones((1, 2, decoder.shape.n_layers, decoder.shape.n_heads), dtype=bool)
    with pytest.raises(UserError, match="no token role 'lable'"):
        circuit_correct(decoder, prompts, means, ("lable", "last"), masks)
    with pytest.raises(UserError, match="have no token 'bos'"):
        circuit_correct(decoder, prompts, means, ("bos", "last"), masks)
    with pytest.raises(UserError, match="not distinct"):
        circuit_correct(decoder, prompts, means, ("label", "previous_label"), masks)


def test_means_must_cover_the_prompts():
    _, decoder, prompts, means = setup()
    masks = np.ones((1, 1, decoder.shape.n_layers, decoder.shape.n_heads), dtype=bool)
    with pytest.raises(ValueError, match="for 5 positions only"):
        gives_at(decoder, prompts, means[:5], prompts.roles["last"][:, None], masks, prompts.answer[None])
