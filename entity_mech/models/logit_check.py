"""A probe of a model: a few token ids and the logits that the model itself gives them.

It is made once with the model's own code (transformers, and PEFT where there is an adapter) and asked of the
engine whenever the weights are loaded, so that no stage can run on a model that the engine computes
differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder

N_TOKENS = 16
N_WORDS = 64
N_TOP = 5
# Largest difference allowed, as a share of the spread (max - min) of the model's own float32 logits. Float
# error is about 1e-6 of it in float32; in 16 bits it is that of rounding every activation.
TOLERANCE = {
    torch.float64: 5e-5,
    torch.float32: 5e-5,
    torch.float16: 0.02,
    torch.bfloat16: 0.1,
}


def spread_out(n: int, below: int) -> list[int]:
    """n whole numbers spread evenly over [0, below): the middles of n equal parts."""
    return [(2 * i + 1) * below // (2 * n) for i in range(n)]


def probe_ids(vocab: int, max_position: int) -> list[int]:
    """Token ids of the probe, from all over the vocabulary, in an order that is not the vocabulary's."""
    n = min(N_TOKENS, max_position)
    ids = spread_out(n, vocab)
    return [ids[(7 * i + 3) % n] for i in range(n)] if n % 7 else ids


def record_logits(vocab: int, max_position: int, own_logits: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Ask a model for its logits.

    own_logits: ids [prompt, pos] -> logits [prompt, pos, vocab]. Returned, ready for JSON: ids; per position
    the logits of `words` (64 ids all over the vocabulary), the largest logits (`top_words`, `top_logits`) and
    the `log_normalizer` (log of the summed exponentials, which depends on every row of the unembedding); and
    the `spread` of the logits. Raises UserError when a logit is not finite, and when all are the same.
    """
    ids = probe_ids(vocab, max_position)
    logits = own_logits(torch.tensor([ids]))[0].detach().float().cpu()
    if not logits.isfinite().all():
        raise UserError("its own logits are not all finite: the weights are broken")
    if not logits.max() > logits.min():
        raise UserError("its own logits are all the same: the weights are zero, or hold nothing that was learned")
    words = spread_out(min(N_WORDS, vocab), vocab)
    top = logits.topk(min(N_TOP, vocab))
    return {
        "ids": ids,
        "words": words,
        "logits": rounded(logits[:, words]),
        "top_words": top.indices.tolist(),
        "top_logits": rounded(top.values),
        "log_normalizer": rounded(logits.logsumexp(-1)),
        "spread": rounded(logits.max() - logits.min()),
    }


def check_logits(decoder: Decoder, info: Mapping[str, Any], run_logits: Callable[[Decoder, Tensor], Tensor]) -> float:
    """Largest difference between a decoder's logits and the stored ones, as a share of their spread.

    info: the contents of model.json. run_logits: the engine's (decoder, ids [prompt, pos]) -> logits
    [prompt, pos, vocab]. Matrix products run in full float32 while it is asked. Raises UserError when the
    difference is above the dtype's TOLERANCE, or when a logit is not finite.
    """
    probe, precision = info["probe"], torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad():
            ids = torch.tensor([probe["ids"]], device=decoder.device)
            logits = run_logits(decoder, ids)[0].double().cpu()
    finally:
        torch.set_float32_matmul_precision(precision)
    top = torch.tensor(probe["top_words"])
    pairs = (
        (logits[:, probe["words"]], probe["logits"]),
        (logits.gather(-1, top), probe["top_logits"]),
        (logits.logsumexp(-1), probe["log_normalizer"]),
    )
    largest = max((ours - torch.tensor(own, dtype=torch.float64)).abs().max().item() for ours, own in pairs)
    difference = largest / max(float(probe["spread"]), 1e-12)
    allowed = TOLERANCE[decoder.dtype]
    if not (logits.isfinite().all().item() and difference <= allowed):
        raise UserError(
            f"model {info['name']}: the logits computed from its weights in {_plain(decoder.dtype)} differ "
            f"from the model's own by {difference:.2g} of their spread (allowed: {allowed:g}). Either "
            "its weights or its model.json changed since it was prepared, or the dtype is too coarse for it, "
            "or its family computes something else (docs/architecture.md)"
        )
    return difference


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def rounded(values: Tensor) -> Any:
    """Nested lists of floats with nine significant digits, which is all that float32 has."""
    if values.ndim == 0:
        return float(f"{values.item():.9g}")
    return [rounded(value) for value in values]
