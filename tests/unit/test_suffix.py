"""Suffix runs equal whole prompts under hooks: outputs and gradients, any mixture of lengths, sites and copies."""

import numpy as np
import pytest
import torch

from entity_mech.engine.block import turned
from entity_mech.engine.prefix import EditPlan, PrefixBank
from entity_mech.engine.readout import logits
from entity_mech.engine.suffix import LAST, Edit, run_suffix
from entity_mech.errors import UserError
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_patching import literal_patched
from tests.helpers.random_models import decoder_from, random_llama

MODELS = {
    "mha": {"layers": 4},
    "gqa": {"layers": 4, "kv_heads": 2},
    "odd_head": {"layers": 4, "kv_heads": 1, "d_head": 12, "attention_bias": True, "mlp_bias": True},
}
# float64 shows that the sums are the same ones; in float32 each side is off by some 5e-6 of the largest logit.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
# roles of the sites, then edits as (layer, site, heads)
CASES = {
    "last": (("last",), [(1, 0, (0, 3)), (2, 0, (1,)), (3, 0, (2, 0))]),
    "query_label": (("query_label",), [(0, 0, (1, 2)), (2, 0, (0,)), (3, 0, (0, 1))]),
    "label": (("label",), [(1, 0, (3,)), (2, 0, (0, 1, 2, 3))]),
    "top": (("last",), [(3, 0, (1, 2))]),
    "three": (
        ("label", "query_label", "last"),
        [(0, 0, (1,)), (1, 0, (0, 2)), (1, 1, (0, 2)), (2, 1, (3,)), (1, 2, (1,)), (3, 2, (0, 3))],
    ),
}


class Setting:
    def __init__(self, which: str, dtype: torch.dtype, ragged: bool = True, n: int = 6) -> None:
        self.model = random_llama(**MODELS[which]).to(dtype)
        self.decoder = decoder_from(self.model, dtype)
        self.prompts = box_prompts(3, n, ragged=ragged)
        self.dtype, self.n = dtype, n
        self.ids, self.last = torch.as_tensor(self.prompts.ids), torch.as_tensor(self.prompts.length - 1)

    def values(self, n_heads: int, seed: int) -> torch.Tensor:
        seeded = torch.Generator().manual_seed(seed)
        shape = (self.n, n_heads, self.decoder.shape.d_head)
        return torch.randn(shape, generator=seeded, dtype=self.dtype)

    def weights(self, edits, seed: int) -> list[torch.Tensor]:
        seeded = torch.Generator().manual_seed(seed)
        return [torch.rand(len(heads), generator=seeded, dtype=self.dtype) for _, _, heads in edits]

    def start(self, roles, edits, budget: int = 1 << 30, rows=slice(None)):
        plan = EditPlan(roles, min(layer for layer, _, _ in edits))
        return PrefixBank(self.decoder, self.prompts, [plan], budget, 4).start(plan, rows)

    def both(self, roles, edits, weights, start=None) -> tuple[torch.Tensor, torch.Tensor]:
        values = [self.values(len(heads), i) for i, (_, _, heads) in enumerate(edits)]
        made = [Edit(*edit, value, w) for edit, value, w in zip(edits, values, weights, strict=True)]
        final = run_suffix(self.decoder, start or self.start(roles, edits), made)[0]
        slow = [
            (layer, torch.as_tensor(self.prompts.roles[roles[site]]), heads, value, w)
            for (layer, site, heads), value, w in zip(edits, values, weights, strict=True)
        ]
        return logits(self.decoder, final), literal_patched(self.model, self.ids, self.last, slow)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp64", "fp32"])
@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_hooks(which, dtype, ragged, case):
    setting = Setting(which, dtype, ragged)
    roles, edits = CASES[case]
    found = []
    for side in range(2):
        weights = [w.requires_grad_() for w in setting.weights(edits, 5)]
        out = setting.both(roles, edits, weights)[side]
        target = torch.as_tensor(setting.prompts.answer)[:, None]
        out.gather(1, target).mean().backward()
        # In the last layer only the last token is read, so a weight elsewhere has no gradient at all.
        grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        found.append((out.detach(), torch.cat(grads)))
    (fast, fast_grad), (slow, slow_grad) = found
    scale = slow.abs().max()
    assert (fast - slow).abs().max() / scale < TOLERANCE[dtype]
    assert slow_grad.abs().max() > 1e-3
    assert (fast_grad - slow_grad).abs().max() / slow_grad.abs().max() < 10 * TOLERANCE[dtype]


@pytest.mark.parametrize("case", CASES)
def test_no_gradient_mode_gives_the_same(case):
    setting = Setting("gqa", torch.float64)
    roles, edits = CASES[case]
    weights = setting.weights(edits, 1)
    with torch.inference_mode():
        fast, slow = setting.both(roles, edits, weights)
    assert (fast - slow).abs().max() < 1e-10


@pytest.mark.parametrize("case", CASES)
def test_a_bank_that_does_not_fit_gives_the_same(case):
    setting = Setting("gqa", torch.float64)
    roles, edits = CASES[case]
    rows = np.array([4, 1, 2])
    kept, anew = (setting.start(roles, edits, budget, rows) for budget in (1 << 30, 0))
    made = [Edit(*edit, setting.values(len(edit[2]), 0)[rows]) for edit in edits]
    fast, slow = run_suffix(setting.decoder, kept, made), run_suffix(setting.decoder, anew, made)
    whole = [Edit(*edit, setting.values(len(edit[2]), 0)) for edit in edits]
    every = run_suffix(setting.decoder, setting.start(roles, edits), whole)
    assert (fast - slow).abs().max() < 1e-12
    assert (fast - every[:, rows]).abs().max() < 1e-12


def test_copies_are_separate_runs():
    setting = Setting("gqa", torch.float64)
    roles, edits = CASES["three"]
    start = setting.start(roles, edits)
    values = [setting.values(len(heads), i) for i, (_, _, heads) in enumerate(edits)]
    weights = [torch.tensor([[0.0] * len(h), [1.0] * len(h), [0.5] * len(h)])[:, None] for _, _, h in edits]
    together = run_suffix(
        setting.decoder, start, [Edit(*e, v, w) for e, v, w in zip(edits, values, weights, strict=True)], copies=3
    )
    for copy in range(3):
        alone = [Edit(*e, v, w[copy, 0]) for e, v, w in zip(edits, values, weights, strict=True)]
        assert (together[copy] - run_suffix(setting.decoder, start, alone)[0]).abs().max() < 1e-12


@pytest.mark.parametrize("case", CASES)
def test_patching_with_itself_changes_nothing(case):
    setting = Setting("odd_head", torch.float64)
    roles, edits = CASES[case]
    none = run_suffix(
        setting.decoder,
        setting.start(roles, edits),
        [Edit(*e, setting.values(len(e[2]), 0), torch.ones(len(e[2]))) for e in edits],
    )
    clean = literal_patched(setting.model, setting.ids, setting.last, [])
    assert (logits(setting.decoder, none[0]) - clean).abs().max() < 1e-10


def test_query_edits_equal_hooks_on_the_projection():
    setting = Setting("gqa", torch.float64)
    s, layer, head = setting.decoder.shape, 2, 1
    position = torch.as_tensor(setting.prompts.roles["query_label"])
    raw = setting.values(1, 3)[:, 0]
    rows = torch.arange(setting.n)

    def hook(_, __, out):
        out = out.clone()
        out[rows, position, head * s.d_head : (head + 1) * s.d_head] = raw
        return out

    handle = setting.model.model.layers[layer].self_attn.q_proj.register_forward_hook(hook)
    slow = literal_patched(setting.model, setting.ids, setting.last, [])
    handle.remove()
    edit = Edit(layer, 0, (head,), turned(setting.decoder, layer, raw[:, None], position), kind="q")
    start = setting.start(("query_label",), [(1, 0, (0,))])
    fast = logits(setting.decoder, run_suffix(setting.decoder, start, [edit])[0])
    clean = literal_patched(setting.model, setting.ids, setting.last, [])
    assert (fast - slow).abs().max() < 1e-10
    assert (slow - clean).abs().max() > 1e-3


def test_the_last_token_is_one_site_under_all_its_names():
    setting = Setting("mha", torch.float64)
    start = setting.start(("label", "last"), [(1, 0, (0,))])
    value = setting.values(1, 0)
    named, last = (run_suffix(setting.decoder, start, [Edit(2, site, (0,), value)]) for site in (1, LAST))
    assert torch.equal(named, last)


def test_edits_that_touch_nothing_are_errors():
    setting = Setting("mha", torch.float32)
    start = setting.start(("last",), [(2, 0, (0,))])
    value = setting.values(1, 0)
    with pytest.raises(ValueError, match="no edits"):
        run_suffix(setting.decoder, start, [])
    with pytest.raises(ValueError, match="names no head"):
        run_suffix(setting.decoder, start, [Edit(2, 0, (), value)])
    with pytest.raises(ValueError, match="layer 1 touches nothing"):
        run_suffix(setting.decoder, start, [Edit(1, 0, (0,), value)])
    with pytest.raises(ValueError, match="site 3 touches nothing"):
        run_suffix(setting.decoder, start, [Edit(2, 3, (0,), value)])
    with pytest.raises(UserError, match="no token 'bos'"):
        setting.start(("bos",), [(2, 0, (0,))])
