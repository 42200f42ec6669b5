"""Where a row enters pass 2: how patched q, k, v at one token change what attention adds in that layer.

At its first receiver layer a row's residual stream is still the clean one, so only the patched heads change,
and only through the sender's token p: a new query changes p's own row of the attention pattern, a new key or
value changes column p of the later rows.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from entity_mech.engine.block import beyond_window, capped, pattern_of, turned
from entity_mech.engine.clean import CleanRun
from entity_mech.models.decoder import Decoder


@dataclass(frozen=True)
class SuffixGroup:
    """Prompts whose suffix starts at the same token and is equally long."""

    prompts: Tensor  # index of the prompts in the batch
    start: int  # the sender's token p
    last: int

    @property
    def n_pos(self) -> int:
        return self.last - self.start + 1

    def first_query(self, decoder: Decoder, layer: int) -> int:
        """First suffix token whose output a layer must give: in the last layer only the last token matters."""
        return self.n_pos - 1 if layer == decoder.shape.n_layers - 1 else 0


class JoinLayer:
    """The clean attention of one receiver layer for a group of prompts, seen from the patched token."""

    def __init__(
        self, decoder: Decoder, clean: CleanRun, group: SuffixGroup, layer: int, wanted: dict[str, list[int]]
    ) -> None:
        s = decoder.shape
        self.decoder, self.layer, self.group, self.wanted = decoder, layer, group, wanted
        self.first_query = group.first_query(decoder, layer)
        self.query_heads = [] if self.first_query else wanted.get("q", [])
        shared = sorted(set(wanted.get("k", [])) | set(wanted.get("v", [])))
        self.column_heads = [h for kv in shared for h in range(kv * s.group, (kv + 1) * s.group)]
        self.heads = sorted(set(self.column_heads) | set(self.query_heads))
        kv = [h // s.group for h in self.heads]
        at = group.prompts
        self.k = clean.k[layer][at][:, kv, : group.last + 1]  # prompt head n_key d_head
        self.v = clean.v[layer][at][:, kv, : group.last + 1]
        suffix = slice(group.start + self.first_query, group.last + 1)
        self.q = clean.q[layer][at][:, self.heads, suffix]  # prompt head n_query d_head
        self.z = clean.z[layer][at][:, suffix][:, :, self.heads]  # prompt n_query head d_head
        if self.column_heads:
            self._clean_pattern()

    def _clean_pattern(self) -> None:
        """Attention paid to the patched token and the output of all other tokens, for the column heads."""
        g = self.group
        scores = self._scores(self.q @ self.k.transpose(-1, -2))
        query = torch.arange(g.start + self.first_query, g.last + 1, device=scores.device)
        key = torch.arange(g.last + 1, device=scores.device)
        distance = query[:, None] - key
        far = beyond_window(self.decoder, self.layer, distance)
        hidden = distance < 0 if far is None else (distance < 0) | far
        scores = scores.masked_fill(hidden, -torch.inf)
        self.blind = hidden[:, g.start]  # queries that do not see the patched token
        self.paid = pattern_of(scores)[..., g.start]  # prompt head n_query
        if "k" in self.wanted:
            rest = scores.clone()
            rest[..., g.start] = -torch.inf
            self.rest_mass = torch.logsumexp(rest, -1)
            # At position 0 nothing else can be attended to: no output, and no mass.
            self.rest_z = torch.nan_to_num(rest.softmax(-1)) @ self.v

    def _scores(self, products: Tensor) -> Tensor:
        """Attention scores from products of queries and keys."""
        return capped(products * self.decoder.block.scale, self.decoder.block.score_cap)

    def change(self, patched: dict[str, Tensor]) -> Float[Tensor, "sender prompt n_query d_model"]:
        """What the patched inputs add to the output projection's result at the suffix tokens.

        patched: input -> values before rotation, [sender, prompt, heads of that input, d_head].
        """
        kinds = set(self.wanted)
        if kinds == {"v"}:
            return self._values_only(patched["v"])
        if kinds == {"q"} and not self.query_heads:
            n_sender, n_prompt = patched["q"].shape[:2]
            return patched["q"].new_zeros(n_sender, n_prompt, 1, self.decoder.shape.d_model)
        if kinds == {"q"}:
            dz = self._new_rows(patched) - self.z[:, 0]
            out = torch.zeros(*dz.shape[:2], self.q.shape[2], self.decoder.shape.d_model).to(dz)
            out[:, :, 0] = self._project(dz)
            return out
        dz = self._new_columns(patched)
        if self.query_heads:
            where = [self.heads.index(h) for h in self.query_heads]
            dz[:, :, 0, where] = (self._new_rows(patched) - self.z[:, 0])[:, :, where]
        return self._project(dz)

    def _project(self, dz: Float[Tensor, "*rows heads d_head"]) -> Float[Tensor, "*rows d_model"]:
        s = self.decoder.shape
        out = self.decoder.layers[self.layer].out.view(s.d_model, s.n_heads, s.d_head)[:, self.heads].flatten(1)
        return F.linear(dz.flatten(-2), out)

    def _values_only(self, new: Float[Tensor, "sender prompt kv_heads d_head"]) -> Tensor:
        """Pattern unchanged: project the change of value once a head, then spread it by the attention paid."""
        n_sender, n_prompt = new.shape[:2]
        old = self.v[:, :: self.decoder.shape.group, self.group.start]
        dv = (new - old).repeat_interleave(self.decoder.shape.group, 2)
        by_head = self.decoder.layers[self.layer].out_by_head[self.heads]
        moved = torch.matmul(dv.permute(2, 0, 1, 3).flatten(1, 2), by_head)  # head (sender prompt) d_model
        moved = moved.view(len(self.heads), n_sender, n_prompt, -1).permute(1, 2, 0, 3)
        return self.paid.transpose(1, 2) @ moved

    def _column_inputs(self, kind: str, patched: dict[str, Tensor]) -> Tensor:
        """k (rotated) or v at the patched token, [sender|1, prompt, head, d_head]: patched where asked."""
        group, start = self.decoder.shape.group, self.group.start
        clean = (self.k if kind == "k" else self.v)[:, :, start]
        if kind not in patched:
            return clean[None]
        new = patched[kind]
        if kind == "k":
            new = turned(self.decoder, self.layer, new, start)
        out = clean.expand(new.shape[0], *clean.shape).clone()
        for i, kv in enumerate(self.wanted[kind]):
            for j, head in enumerate(self.heads):
                if head // group == kv:
                    out[:, :, j] = new[:, :, i]
        return out

    def _new_columns(self, patched: dict[str, Tensor]) -> Tensor:
        """Change of head outputs [sender, prompt, n_query, head, d_head] with a new key, maybe value, in column p."""
        v = self._column_inputs("v", patched)
        if "k" in patched:
            k = self._column_inputs("k", patched)
            score = self._scores(torch.einsum("bhid,sbhd->sbhi", self.q, k)).masked_fill(self.blind, -torch.inf)
            paid = torch.sigmoid(score - self.rest_mass)[..., None]
            z = (1 - paid) * self.rest_z + paid * v[:, :, :, None]
            return z.transpose(2, 3) - self.z
        # A query receiver shares the layer with value receivers: pattern unchanged in the columns.
        old = self.v[:, :, self.group.start]
        return (self.paid[..., None] * (v - old)[:, :, :, None]).transpose(2, 3)

    def _new_rows(self, patched: dict[str, Tensor]) -> Tensor:
        """Head outputs at token p itself with new queries, [sender, prompt, head, d_head]."""
        start = self.group.start
        where = [self.heads.index(h) for h in self.query_heads]
        index = [self.wanted["q"].index(h) for h in self.query_heads]
        old = self.q[:, :, 0]
        q = old.expand(patched["q"].shape[0], *old.shape).clone()
        q[:, :, where] = turned(self.decoder, self.layer, patched["q"][:, :, index], start)
        q = q.permute(1, 2, 0, 3)  # prompt head sender d_head
        scores = self._scores(q @ self.k[:, :, : start + 1].transpose(-1, -2))
        if "k" in patched:
            k = self._column_inputs("k", patched).permute(1, 2, 0, 3)
            scores[..., start] = self._scores((q * k).sum(-1))
        far = beyond_window(self.decoder, self.layer, start - torch.arange(start + 1, device=q.device))
        pattern = pattern_of(scores if far is None else scores.masked_fill(far, -torch.inf))
        v = self._column_inputs("v", patched).permute(1, 2, 0, 3)
        z = pattern[..., :start] @ self.v[:, :, :start] + pattern[..., start:] * v
        return z.permute(2, 0, 1, 3)
