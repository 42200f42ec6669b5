"""From a final residual stream to logits, predictions and probabilities."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from entity_mech.engine.block import capped, row_block
from entity_mech.engine.operations import normed, projected
from entity_mech.engine.packed import linear_blocks
from entity_mech.models.decoder import Decoder

VOCAB_BLOCK = 4096


def logits(decoder: Decoder, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows vocab"]:
    """Logits over the whole vocabulary of a final residual stream."""
    return capped(projected(normed(x, decoder.norm_final), decoder.unembedding), decoder.block.logit_cap)


def predictions(decoder: Decoder, x: Float[Tensor, "*rows d_model"]) -> Int[Tensor, "*rows"]:
    """Most likely next token of a final residual stream, a block of rows at a time."""
    flat = x.reshape(-1, x.shape[-1])
    best = [logits(decoder, block).argmax(-1) for block in flat.split(row_block(decoder))]
    return torch.cat(best).view(x.shape[:-1])


def token_logits(
    decoder: Decoder, x: Float[Tensor, "rows d_model"], tokens: Int[Tensor, "rows ..."]
) -> Float[Tensor, "rows ..."]:
    """Logits of given tokens only: nothing else is unembedded."""
    read = normed(x, decoder.norm_final)
    directions = decoder.unembedding[tokens]
    made = (directions * read.view(read.shape[0], *[1] * (tokens.ndim - 1), -1)).sum(-1)
    return capped(made, decoder.block.logit_cap)


def answer_probability(
    decoder: Decoder, x: Float[Tensor, "rows d_model"], answer: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Softmax probability and logit of one token a row, over the whole vocabulary.

    p = 1 / sum over words of exp(logit - the token's logit): a sum that overflows belongs to a p below what
    the type can hold, and no maximum is needed. It is accumulated over blocks of the vocabulary, so no
    [rows, vocab] table is kept. Returned in float32, or float64 for a float64 model.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    probability, answer_logit = [], []
    step = row_block(decoder) // 2
    cap = decoder.block.logit_cap
    for rows, target in zip(x.split(step), answer.split(step), strict=True):
        read = normed(rows, decoder.norm_final)
        chosen = capped((read * decoder.unembedding[target]).sum(-1, dtype=wide), cap)
        total = torch.zeros_like(chosen)
        for words in linear_blocks(read, decoder.unembedding, VOCAB_BLOCK):
            total += capped(words.to(wide), cap).sub_(chosen[:, None]).exp_().sum(-1)
        probability.append(total.reciprocal())
        answer_logit.append(chosen)
    return torch.cat(probability), torch.cat(answer_logit)
