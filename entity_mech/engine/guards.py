"""What a loaded model must show before any stage may use it: that the engine patches what it says it patches.

Compared with what the model's own code did when it was prepared (`entity_mech/models/wiring.py`): head outputs, each
layer's wiring, whether heads add up, and two interventions. The logits themselves: `logit_check.py` there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entity_mech.engine.block import attention_add, attention_out
from entity_mech.engine.clean import EVERYTHING, CleanRun, run_clean
from entity_mech.engine.direct_paths import direct_paths
from entity_mech.engine.prefix import start_at
from entity_mech.engine.readout import logits
from entity_mech.engine.search_batch import SearchBatch
from entity_mech.engine.suffix import Edit, Span, run_suffix
from entity_mech.errors import UserError
from entity_mech.models.decoder import Decoder
from entity_mech.models.logit_check import TOLERANCE
from entity_mech.models.wiring import edited_pair, signature, silence, silenced, wiring_prompts


def check_guards(decoder: Decoder, info: Mapping[str, Any]) -> None:
    """Raise UserError naming the first guard that fails. info: the contents of model.json."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad():
            _Guards(decoder, info).check()
    finally:
        torch.set_float32_matmul_precision(precision)


class _Guards:
    """Two prompts, run once, and the guards on them."""

    def __init__(self, decoder: Decoder, info: Mapping[str, Any]) -> None:
        self.decoder, self.own, self.name = decoder, info["wiring"], info["name"]
        self.layer, self.heads = edited_pair(info)
        ids = wiring_prompts(info["vocab"], info["max_position"]).to(decoder.device)
        self.n_pos = ids.shape[1]
        self.clean: CleanRun = run_clean(decoder, ids, EVERYTHING)

    def check(self) -> None:
        guards: dict[str, Callable[[], float]] = {
            "head outputs are not what its output projection reads": self.head_outputs,
            "layers are not wired as its own": self.wiring,
            "heads do not add up as its family says": self.additivity,
            "one path's effect is not its own": self.direct_path,
            "patched heads do not have the effect that they have in it": self.patched_heads,
            "patching nothing changes something": self.nothing,
            "patching everything at a token is not the other prompt's run": self.everything,
        }
        for what, guard in guards.items():
            difference = guard()
            if not difference <= TOLERANCE[self.decoder.dtype]:
                raise UserError(
                    f"model {self.name}: {what} (off by {difference:.2g}): the engine does not compute this model: "
                    "its family's file is wrong for it (docs/architecture.md)"
                )

    def head_outputs(self) -> float:
        return _off(torch.stack([z[0, -1] for z in self.clean.z]), self.own["z"])

    def wiring(self) -> float:
        """The streams before each layer and after the last."""
        assert self.clean.final is not None
        streams = torch.stack([x[0, -1] for x in (*self.clean.pre, self.clean.final)])
        return _off(streams, self.own["streams"])

    def additivity(self) -> float:
        """The stream after attention with all heads, either half of them and none; that they add up is a fact."""
        if self.own["additive"] not in (None, self.decoder.additive):  # a single head cannot tell
            return float("inf")
        z = self.clean.z[self.layer][0, -1]
        out = attention_out(
            self.decoder, self.layer, torch.stack([silence(z, heads) for heads in silenced(z.shape[0])])
        )
        added = attention_add(self.decoder, self.layer, out)
        return _off(self.clean.pre[self.layer][0, -1] + added, self.own["middles"])

    def logits_off(self, final: Tensor, own: Sequence[float]) -> float:
        """How far logits of a final residual stream [d_model] are from given ones, as a share of their spread."""
        made = logits(self.decoder, final)[self.own["words"]].double().cpu()
        largest = (made - torch.tensor(own, dtype=torch.float64)).abs().max().item()
        return float(largest / max(self.own["spread"], 1e-12))

    def direct_path(self) -> float:
        """One head replaced at the last token with all other attention frozen."""
        pos = torch.tensor([self.n_pos - 1], device=self.decoder.device)
        corrupted = torch.stack([z[1:, -1] for z in self.clean.z], 1)
        batch = SearchBatch(self.first_prompt(), pos + 1, self.clean.ids[:1, -1], pos)
        rows, _ = direct_paths(self.decoder, batch, corrupted, None, [self.layer])
        return self.logits_off(rows[self.heads[0], 0], self.own["direct"])

    def first_prompt(self) -> CleanRun:
        """The first prompt's part of the clean run."""
        kept: dict[str, Any] = {name: [x[:1] for x in getattr(self.clean, name)] for name in EVERYTHING}
        return CleanRun(self.clean.ids[:1], **kept)

    def run(self, edits: Sequence[Edit], pos: int) -> Tensor:
        """Final residual stream of the first prompt, run again from token `pos` on."""
        span = Span(np.array([[pos]]), np.array([self.n_pos - 1]), self.decoder.device)
        start = start_at(self.first_prompt(), span, min(edit.layer for edit in edits))
        return run_suffix(self.decoder, start, edits)[0, 0]

    def patched_heads(self) -> float:
        pos = self.n_pos // 2
        heads = tuple(dict.fromkeys(self.heads))
        edit = Edit(self.layer, 0, heads, self.clean.z[self.layer][1:, pos, list(heads)])
        return self.logits_off(self.run([edit], pos), self.own["patched"])

    def all_heads(self, prompt: int) -> list[Edit]:
        """Every head of every layer gives at the last token what it gives in one of the prompts."""
        every = tuple(range(self.decoder.shape.n_heads))
        return [Edit(layer, 0, every, z[prompt : prompt + 1, -1]) for layer, z in enumerate(self.clean.z)]

    def _patched_into(self, prompt: int) -> float:
        assert self.clean.final is not None
        wanted = logits(self.decoder, self.clean.final[prompt, -1])[self.own["words"]]
        return self.logits_off(self.run(self.all_heads(prompt), self.n_pos - 1), wanted.tolist())

    def nothing(self) -> float:
        return self._patched_into(0)

    def everything(self) -> float:
        return self._patched_into(1)


def _off(made: Tensor, own: Sequence[Any]) -> float:
    """Largest difference of vectors' signatures from given ones, as a share of the longest; NaN is infinite."""
    gap = (signature(made).cpu() - torch.tensor(own, dtype=torch.float64)).abs().max()
    off = (gap / made.double().norm(dim=-1).max().clamp(min=1e-12).cpu()).item()
    return float("inf") if np.isnan(off) else off
