"""Exact runs of many circuits at once (method, section 5; paper, section 4).

Role tokens are run: there a circuit's heads give what they compute and the others their means. All other tokens
are a background that does not depend on the circuit. Of the role tokens' streams only the states that differ
between circuits are computed (`circuit_plan`).
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from entity_mech.engine.backgrounds import Background
from entity_mech.engine.block import (
    before_attention,
    beyond_window,
    capped,
    chosen_heads,
    close_,
    embed,
    pattern_of,
    turned,
)
from entity_mech.engine.circuit_plan import (
    Attend,
    CircuitPlan,
    HeadJob,
    LayerPlan,
    Projection,
    Read,
    plan_circuits,
)
from entity_mech.models.decoder import Decoder


@torch.inference_mode()
def run_circuits(
    decoder: Decoder,
    background: Background,
    positions: Int[Tensor, "prompt role"],
    masks: Bool[Tensor, "circuit role layer head"],
) -> Float[Tensor, "circuit prompt d_model"]:
    """Final residual stream at the last role token of every circuit on every prompt.

    Args:
        background: what all other tokens are, from `prepare_ablated`.
        positions: role tokens, strictly increasing in every prompt.
        masks: the heads that a circuit keeps at each role token; the others give their mean there.
    """
    plan = plan_circuits(masks.cpu().numpy(), decoder.shape.n_kv_heads)
    final = run_plan(decoder, background, positions, plan)
    return final[:, torch.as_tensor(plan.final, device=final.device)].transpose(0, 1)


@torch.inference_mode()
def run_plan(
    decoder: Decoder, background: Background, positions: Int[Tensor, "prompt role"], plan: CircuitPlan
) -> Float[Tensor, "prompt row d_model"]:
    """Run a plan's rows to the end; `plan.final` says which row of the result belongs to which circuit."""
    x = embed(decoder, background.ids.gather(1, positions), positions)
    for layer, layer_plan in enumerate(plan.layers):
        x = _LayerRun(decoder, background, positions, layer, layer_plan).run(x)
    return x


class _LayerRun:
    """One layer for all rows of a plan."""

    def __init__(
        self,
        decoder: Decoder,
        background: Background,
        positions: Int[Tensor, "prompt role"],
        layer: int,
        plan: LayerPlan,
    ) -> None:
        self.decoder, self.background, self.positions = decoder, background, positions
        self.layer, self.plan = layer, plan
        self.weights = decoder.layers[layer]
        self.made: list[Tensor] = []  # one a projection, [prompt, row, packed head, d_head]
        self.static: dict[int, tuple[Tensor, Tensor]] = {}

    def run(self, x: Float[Tensor, "prompt row d_model"]) -> Float[Tensor, "prompt new_row d_model"]:
        """Residual streams after the layer."""
        after = x.index_select(1, torch.as_tensor(self.plan.parent, device=x.device))
        out = torch.empty_like(after)
        for role, first, end in self.plan.slices:
            out[:, first:end] = self.background.mean_out[self.layer][self.positions[:, role], None]
        if self.plan.attends:
            read = before_attention(self.weights, x)
            self.made = [self.project(read, p) for p in self.plan.projections]
            del read
            self.set_columns()
            for attend in self.plan.attends:
                self.add_heads_(out, attend)
        close_(self.decoder, self.layer, after, (slice(None), out))
        return after

    def project(self, read: Tensor, projection: Projection) -> Tensor:
        """q, k and v of chosen heads at one role's rows; q and k rotated."""
        s = self.decoder.shape
        made = chosen_heads(self.decoder, self.layer, projection.packed)(_take(read, projection.rows))
        n_turned = sum(head < s.n_heads + s.n_kv_heads for head in projection.packed)  # in order: q, k, then v
        if n_turned:
            at = self.positions[:, projection.role, None]
            made[:, :, :n_turned] = turned(self.decoder, self.layer, made[:, :, :n_turned], at)
        return made

    def read(self, read: Read) -> Float[Tensor, "prompt row d_head"]:
        """One head's vectors for every reader."""
        return _take(self.made[read.projection][:, :, read.slot], read.rows)

    def keys_and_values(self, kv_head: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the whole prompts that do not depend on the circuit, [prompt, pos, d_head]."""
        if kv_head not in self.static:
            stream = self.background.stream
            key, value = self.background.keys[self.layer], self.background.values[self.layer]
            self.static[kv_head] = key[:, kv_head][stream], value[:, kv_head][stream]
        return self.static[kv_head]

    def set_columns(self) -> None:
        """Put the role tokens that have one state in the batch among the circuit-independent keys."""
        prompt = torch.arange(len(self.positions), device=self.positions.device)
        for column in self.plan.columns:
            keys, values = self.keys_and_values(column.kv_head)
            at = self.positions[:, column.role]
            keys[prompt, at] = self.read(column.key)[:, 0]
            values[prompt, at] = self.read(column.value)[:, 0]

    def hidden(self, role: int) -> Bool[Tensor, "prompt 1 pos"]:
        """Tokens that a role must not see among the circuit-independent ones, or lies too far from to see."""
        own = self.positions[:, role]
        pos = torch.arange(int(own.max()) + 1, device=own.device)
        distance = own[:, None] - pos
        far = beyond_window(self.decoder, self.layer, distance)
        hidden = distance < 0 if far is None else (distance < 0) | far
        for varying in self.plan.varying:
            hidden |= pos == self.positions[:, varying, None]
        return hidden[:, None]

    def add_heads_(self, out: Float[Tensor, "prompt new_row d_model"], attend: Attend) -> None:
        """Add, at the rows of one group of heads, what they give beyond their means."""
        s = self.decoder.shape
        heads = [job.head for job in attend.heads]
        at = self.positions[:, attend.role]
        hidden = self.hidden(attend.role)
        beyond = out.new_empty(len(at), len(attend.rows), len(heads), s.d_head)
        for i, job in enumerate(attend.heads):
            beyond[:, :, i] = self.head_output(job, attend.role, hidden)
        beyond -= self.background.means[at, self.layer][:, None, heads]
        if attend.keep is not None:
            beyond *= torch.as_tensor(attend.keep, device=out.device, dtype=out.dtype)[..., None]
        added = beyond.flatten(2) @ self.weights.out_by_head[heads].flatten(0, 1)
        rows = _index(attend.rows, out.device)
        out[:, rows] += added

    def head_output(self, job: HeadJob, role: int, hidden: Tensor) -> Float[Tensor, "prompt row d_head"]:
        """One head's output, over tokens that all circuits share and role tokens that vary between them."""
        keys, values = self.keys_and_values(job.kv_head)
        width = hidden.shape[-1]
        cap = self.decoder.block.score_cap
        query = self.read(job.query) * self.decoder.block.scale
        scores = capped(query @ keys[:, :width].transpose(1, 2), cap).masked_fill_(hidden, -torch.inf)
        own = [capped((query * self.read(key)).sum(-1, keepdim=True), cap) for key, _ in job.seen]
        own = [self.near(one, role, at) for one, at in zip(own, self.plan.varying, strict=False)]
        pattern = pattern_of(torch.cat([scores, *own], -1) if own else scores)
        z = pattern[..., :width] @ values[:, :width]
        for i, (_, value) in enumerate(job.seen):
            z += pattern[..., width + i, None] * self.read(value)
        return z

    def near(self, scores: Float[Tensor, "prompt row 1"], role: int, seen: int) -> Float[Tensor, "prompt row 1"]:
        """Scores of one role's token as another sees it, hidden where it lies beyond the layer's window."""
        far = beyond_window(self.decoder, self.layer, self.positions[:, role] - self.positions[:, seen])
        return scores if far is None else scores.masked_fill(far[:, None, None], -torch.inf)


def _index(rows: np.ndarray, device: torch.device) -> slice | Tensor:
    """Rows as a slice where they are a plain range, else as a tensor."""
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows) and bool((rows[1:] > rows[:-1]).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return torch.as_tensor(rows, device=device)


def _take(x: Tensor, rows: np.ndarray) -> Tensor:
    """x[:, rows], a view where rows are a plain range."""
    index = _index(rows, x.device)
    return x[:, index] if isinstance(index, slice) else x.index_select(1, index)
