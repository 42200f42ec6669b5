"""First-order path patching: pass 1 exact for every sender, pass 2 by one gradient a prompt.

Every sender enters pass 2 through the same few receiver inputs, so one backward pass gives a first-order
score for all of them. An approximation: the refined mode uses it to choose which senders to run exactly.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.block import attention_out, close, project, turned
from entity_mech.engine.direct_paths import ReceiverValues
from entity_mech.engine.join import SuffixGroup
from entity_mech.engine.readout import logits
from entity_mech.engine.receiver_paths import suffix_groups
from entity_mech.engine.receivers import Receivers
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.engine.suffix_attention import suffix_attention
from entity_mech.models.decoder import Decoder

Inputs = dict[tuple[int, str], Tensor]


def clean_inputs(decoder: Decoder, batch: SearchBatch, receivers: Receivers) -> Inputs:
    """Receivers' inputs in the clean run, (layer, input) -> [prompt, heads, d_head], before rotation. Needs `pre`."""
    clean, pos = batch.clean, batch.pos
    index = torch.arange(len(pos), device=pos.device)
    found: Inputs = {}
    for layer, kinds in receivers.layers.items():
        q, k, v = project(decoder, layer, clean.pre[layer][index, pos])
        for kind, heads in kinds.items():
            found[layer, kind] = {"q": q, "k": k, "v": v}[kind][:, heads]
    return found


def _answer_probability(
    decoder: Decoder, batch: SearchBatch, group: SuffixGroup, receivers: Receivers, inputs: Inputs
) -> Float[Tensor, " prompt"]:
    """Pass 2 as a differentiable function of the receivers' inputs, one row a prompt."""
    clean, answer = batch.clean, batch.answer[group.prompts]
    span = slice(group.start, group.last + 1)
    first = min(receivers.layers)
    x = clean.pre[first][group.prompts, span][None]
    for layer in range(first, decoder.shape.n_layers):
        made = dict(zip("qkv", project(decoder, layer, x), strict=True))
        for kind, heads in receivers.layers.get(layer, {}).items():
            tensor = made[kind].clone()
            tensor[:, :, 0, heads] = inputs[layer, kind][None]
            made[kind] = tensor
        q, k = turned(decoder, layer, made["q"], span), turned(decoder, layer, made["k"], span)
        first_query = group.first_query(decoder, layer)
        prefix = (clean.k[layer][group.prompts, :, : group.start], clean.v[layer][group.prompts, :, : group.start])
        z = suffix_attention(decoder, layer, q[:, :, first_query:], k, made["v"], prefix)
        x = close(decoder, layer, x[:, :, first_query:], attention_out(decoder, layer, z))
    scores = logits(decoder, x[0, :, -1]).float() if x.dtype != torch.float64 else logits(decoder, x[0, :, -1])
    chosen = scores.gather(1, answer[:, None])[:, 0]
    return (chosen - scores.logsumexp(-1)).exp()


def receiver_gradients(decoder: Decoder, batch: SearchBatch, receivers: Receivers) -> Inputs:
    """Gradient of the answer's log-probability (dp / p) by each receiver input at the sender's token.

    (layer, input) -> [prompt, heads, d_head]. The clean run needs pre, k, v.
    """
    base = clean_inputs(decoder, batch, receivers)
    gradients = {key: torch.zeros_like(value) for key, value in base.items()}
    for group in suffix_groups(batch.pos, batch.length - 1):
        with torch.enable_grad():
            leaves = {key: v[group.prompts].detach().requires_grad_() for key, v in base.items()}
            p = _answer_probability(decoder, batch, group, receivers, leaves)
            found = torch.autograd.grad(p.log().sum(), list(leaves.values()), allow_unused=True)
        for key, gradient in zip(leaves, found, strict=True):
            if gradient is not None:  # a query before the last token of the last layer reaches nothing
                gradients[key][group.prompts] = gradient
    return gradients


def first_order_effects(
    values: ReceiverValues, base: Inputs, gradients: Inputs, n_senders: int
) -> tuple[Float[Tensor, "sender prompt"], Float[Tensor, "sender prompt"]]:
    """First-order relative change of the answer's probability, and how far the inputs moved (squared norm).

    Senders at or above the last receiver move nothing.
    """
    some = next(iter(base.values()))
    effect = some.new_zeros(n_senders, len(some))
    moved = torch.zeros_like(effect)
    for key, value in values.items():
        change = value - base[key]
        below = len(value)
        effect[:below] += torch.einsum("sphd,phd->sp", change, gradients[key])
        moved[:below] += change.pow(2).sum((-1, -2)) / base[key].pow(2).sum((-1, -2))
    return effect, moved
