"""Path patching the slow way: two whole-prompt forward passes a sender, with hooks. The oracle for the engine."""

import contextlib

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.helpers.anatomy import edited_attention, output_projections


@contextlib.contextmanager
def hooks(handles):
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class LiteralPathPatching:
    """All arguments are as the method words them: positions per row, heads by index, whole prompts."""

    def __init__(self, model: PreTrainedModel, ids: Tensor, length: Tensor, corrupted_ids: Tensor) -> None:
        self.model, self.ids, self.last = model, ids, length - 1
        self.outs = output_projections(model)
        self.n_heads = model.config.num_attention_heads
        self.rows = torch.arange(len(ids))
        self.clean_z, clean_logits = self.record(ids)
        self.d_head = self.clean_z[0].shape[-1] // self.n_heads
        self.clean_logits = clean_logits[self.rows, self.last]
        self.corrupted_z, _ = self.record(corrupted_ids)

    def record(self, ids: Tensor) -> tuple[list[Tensor], Tensor]:
        kept: list[Tensor] = []
        handles = [out.register_forward_pre_hook(lambda _, args: kept.append(args[0].clone())) for out in self.outs]
        with hooks(handles):
            logits = self.model(ids).logits
        return kept, logits

    def part(self, head: int) -> slice:
        return slice(head * self.d_head, (head + 1) * self.d_head)

    def pass1(self, layer: int, head: int, pos: Tensor, corrupted_pos: Tensor, receivers):
        """Freeze every head to its clean output, but the sender at its token; read the receivers' inputs."""
        read = {}

        def freeze(index):
            def hook(_, args):
                z = self.clean_z[index].clone()
                if index == layer:
                    new = self.corrupted_z[index][self.rows, corrupted_pos, self.part(head)]
                    z[self.rows, pos, self.part(head)] = new
                return (z,)

            return hook

        handles = [out.register_forward_pre_hook(freeze(i)) for i, out in enumerate(self.outs)]
        with hooks(handles), self.reading(receivers, pos, read):
            logits = self.model(self.ids).logits
        return logits[self.rows, self.last], read

    def projection(self, kind: str, layer: int):
        return getattr(self.model.model.layers[layer].self_attn, f"{kind}_proj")

    def reading(self, receivers, pos: Tensor, read: dict):
        """Put the receivers' inputs into `read` in the next run."""

        def reader(key):
            def hook(_, __, out):
                read[key] = out[self.rows, pos, self.part(key[2])].clone()

            return hook

        return hooks([self.projection(*key[:2]).register_forward_hook(reader(key)) for key in receivers])

    def pass2(self, pos: Tensor, inputs) -> Tensor:
        """The clean prompt with only the receivers' inputs at the sender's token replaced."""
        with self.writing(inputs, pos):
            return self.model(self.ids).logits[self.rows, self.last]

    def writing(self, inputs, pos: Tensor):
        """Give the receivers these inputs in the next run."""

        def writer(key, value):
            def hook(_, __, out):
                out = out.clone()
                out[self.rows, pos, self.part(key[2])] = value
                return out

            return hook

        return hooks(
            [self.projection(*key[:2]).register_forward_hook(writer(key, value)) for key, value in inputs.items()]
        )

    def probability(self, layer, head, pos, corrupted_pos, receivers, answer) -> Tensor:
        """Probability of the answer; receivers None for the logits, else keys (input, layer, own head index)."""
        logits, inputs = self.pass1(layer, head, pos, corrupted_pos, receivers or [])
        if receivers is not None:
            logits = self.pass2(pos, inputs)
        return logits.softmax(-1)[self.rows, answer]


class AnyFamilyPathPatching(LiteralPathPatching):
    """For models whose q, k and v are more than a projection: fused, or with norms. Needs eager attention."""

    def reading(self, receivers, pos: Tensor, read: dict):
        def edit(layer: int, kind: str, x: Tensor) -> Tensor:
            for key in receivers:
                if key[:2] == (kind, layer):
                    read[key] = x[self.rows, key[2], pos].clone()
            return x

        return edited_attention(self.model, edit)

    def writing(self, inputs, pos: Tensor):
        def edit(layer: int, kind: str, x: Tensor) -> Tensor:
            for key, value in inputs.items():
                if key[:2] == (kind, layer):
                    x = x.clone()
                    x[self.rows, key[2], pos] = value
            return x

        return edited_attention(self.model, edit)
