"""Packed products give what torch gives, and step back where they cannot be used."""

import gc

import pytest
import torch
import torch.nn.functional as F

from entity_mech.engine import packed
from entity_mech.engine.packed import PackedWeights, linear, linear_blocks


@pytest.fixture
def weights(monkeypatch) -> PackedWeights:
    fresh = PackedWeights()
    monkeypatch.setattr(packed, "PACKED", fresh)
    return fresh


@pytest.mark.parametrize("shape", [(64, 24), (4, 16, 24), (3, 24)])
def test_equals_torch(weights, shape):
    x, w, b = torch.randn(shape), torch.randn(40, 24), torch.randn(40)
    for bias in (None, b):
        torch.testing.assert_close(linear(x, w, bias), F.linear(x, w, bias), atol=1e-5, rtol=1e-5)
    part = linear(x, w, b, slice(8, 24))
    torch.testing.assert_close(part, F.linear(x, w[8:24], b[8:24]), atol=1e-5, rtol=1e-5)


def test_blocks_join_to_the_whole(weights):
    x, w = torch.randn(64, 24), torch.randn(50, 24)
    blocks = list(linear_blocks(x, w, 16))
    assert [b.shape[1] for b in blocks] == [16, 16, 16, 2]
    torch.testing.assert_close(torch.cat(blocks, 1), x @ w.T, atol=1e-5, rtol=1e-5)


def test_other_types_and_gradients_go_the_usual_way(weights):
    w = torch.randn(40, 24)
    x = torch.randn(64, 24, requires_grad=True)
    linear(x, w).sum().backward()
    torch.testing.assert_close(x.grad, w.sum(0).expand(64, -1))
    linear(torch.randn(64, 24).double(), w.double())
    assert weights.bytes == 0


def test_copies_are_made_once_within_the_limit_and_go_with_their_weight(weights):
    x, w = torch.randn(64, 24), torch.randn(40, 24)
    torch.testing.assert_close(linear(x, w), x @ w.T, atol=1e-5, rtol=1e-5)
    if not weights.enabled:  # a torch without oneDNN keeps no copies
        assert weights.bytes == 0
        return
    size = weights.bytes
    linear(x, w)
    assert weights.bytes == size >= 4 * w.numel()
    weights.most_bytes = size
    other = torch.randn(40, 24)
    torch.testing.assert_close(linear(x, other), x @ other.T, atol=1e-5, rtol=1e-5)
    assert weights.bytes == size
    del w
    gc.collect()
    assert weights.bytes == 0
