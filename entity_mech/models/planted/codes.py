"""Vectors that stand for the objects."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from entity_mech.models.planted.stream import OBJECT_CODE

_STEPS = 600
_SHARPNESS = 40.0  # of the soft maximum over cosines that is lowered


@cache
def object_codes(number: int, seed: int) -> Tensor:
    """Unit vectors [object, code] that sum to about nothing and point as far apart as they easily can."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(number, OBJECT_CODE, generator=generator, dtype=torch.float64).requires_grad_()
    adam = torch.optim.Adam([codes], lr=0.02)
    itself = 2 * torch.eye(number, dtype=torch.float64)
    for _ in range(_STEPS):
        unit = torch.nn.functional.normalize(codes - codes.mean(0), dim=1)
        closeness = torch.logsumexp(_SHARPNESS * (unit @ unit.T - itself), dim=1).mean()
        adam.zero_grad()
        torch.autograd.backward(closeness + 10 * unit.mean(0).square().sum())
        adam.step()
    return torch.nn.functional.normalize(codes - codes.mean(0), dim=1).detach().float()
