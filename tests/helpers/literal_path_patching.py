"""Path patching the slow way: two whole-prompt forward passes a sender, with hooks. The oracle for the engine."""

import contextlib

import torch
from torch import Tensor
from transformers import LlamaForCausalLM


@contextlib.contextmanager
def hooks(handles):
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class LiteralPathPatching:
    """All arguments are as the method words them: positions per row, heads by index, whole prompts."""

    def __init__(self, model: LlamaForCausalLM, ids: Tensor, length: Tensor, corrupted_ids: Tensor) -> None:
        self.model, self.ids, self.last = model, ids, length - 1
        attention = model.model.layers[0].self_attn
        self.d_head = attention.head_dim
        self.rows = torch.arange(len(ids))
        self.clean_z, clean_logits = self.record(ids)
        self.clean_logits = clean_logits[self.rows, self.last]
        self.corrupted_z, _ = self.record(corrupted_ids)

    def layers(self):
        return [layer.self_attn for layer in self.model.model.layers]

    def record(self, ids: Tensor) -> tuple[list[Tensor], Tensor]:
        kept: list[Tensor] = []
        handles = [
            a.o_proj.register_forward_pre_hook(lambda _, args: kept.append(args[0].clone())) for a in self.layers()
        ]
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

        def reader(key):
            def hook(_, __, out):
                read[key] = out[self.rows, pos, self.part(key[2])].clone()

            return hook

        handles = [a.o_proj.register_forward_pre_hook(freeze(i)) for i, a in enumerate(self.layers())]
        for key in receivers:
            kind, at, _ = key
            handles.append(getattr(self.layers()[at], f"{kind}_proj").register_forward_hook(reader(key)))
        with hooks(handles):
            logits = self.model(self.ids).logits
        return logits[self.rows, self.last], read

    def pass2(self, pos: Tensor, inputs) -> Tensor:
        """The clean prompt with only the receivers' inputs at the sender's token replaced."""

        def writer(key, value):
            def hook(_, __, out):
                out = out.clone()
                out[self.rows, pos, self.part(key[2])] = value
                return out

            return hook

        handles = [
            getattr(self.layers()[key[1]], f"{key[0]}_proj").register_forward_hook(writer(key, value))
            for key, value in inputs.items()
        ]
        with hooks(handles):
            return self.model(self.ids).logits[self.rows, self.last]

    def probability(self, layer, head, pos, corrupted_pos, receivers, answer) -> Tensor:
        """Probability of the answer; receivers None for the logits, else keys (input, layer, own head index)."""
        logits, inputs = self.pass1(layer, head, pos, corrupted_pos, receivers or [])
        if receivers is not None:
            logits = self.pass2(pos, inputs)
        return logits.softmax(-1)[self.rows, answer]
