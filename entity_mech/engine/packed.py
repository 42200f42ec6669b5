"""Matrix products with weights that are laid out once for the CPU.

On a CPU torch's float32 products go to MKL, which is slow on some processors; oneDNN with a weight packed once is
as exact (float32 throughout) and up to a quarter faster there. A packed weight is a second copy of it, kept as
long as the weight itself lives; weights beyond `MOST_BYTES` in all are not packed.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

MOST_BYTES = 2 << 30
LEAST_ROWS = 32  # below this nothing is won
HINT_ROWS = 1024  # rows that the packed layout is chosen for; any number of rows may use it

_Blocks = dict[tuple[int, int, bool], Tensor]


class PackedWeights:
    """Packed copies of weights, by weight and range of its output rows."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.enabled = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        self._kept = WeakTensorKeyDictionary()

    @property
    def bytes(self) -> int:
        """Memory that the packed copies take."""
        return sum(4 * packed.numel() for blocks in self._kept.values() for packed in blocks.values())

    def clear(self) -> None:
        """Forget all packed copies."""
        self._kept = WeakTensorKeyDictionary()

    def usable(self, x: Tensor) -> bool:
        """Whether products with x can use packed weights: float32 on a CPU, many rows, no gradient."""
        wanted = self.enabled and x.dtype == torch.float32 and x.device.type == "cpu"
        return wanted and x.numel() >= LEAST_ROWS * x.shape[-1] and not (torch.is_grad_enabled() and x.requires_grad)

    def get(self, weight: Tensor, first: int, stop: int, transposed: bool = False) -> Tensor | None:
        """Packed rows first..stop of a weight, or of its transpose's columns; None where the memory is spent."""
        blocks: _Blocks | None = self._kept.get(weight)
        if blocks is None:
            blocks = self._kept[weight] = {}
        key = (first, stop, transposed)
        if key not in blocks:
            if self.bytes + 4 * (stop - first) * weight.shape[1] > self.most_bytes:
                return None
            part = weight.detach()[first:stop]
            part = (part.T if transposed else part).contiguous()
            blocks[key] = torch.ops.mkldnn._reorder_linear_weight(part, HINT_ROWS)
        return blocks[key]


PACKED = PackedWeights()


def linear(
    x: Float[Tensor, "*rows d_in"],
    weight: Float[Tensor, "d_out d_in"],
    bias: Float[Tensor, " d_out"] | None = None,
    rows: slice = slice(None),
) -> Float[Tensor, "*rows d_part"]:
    """x @ weight.T + bias for a weight that lives long; `rows` of the weight (its outputs) only."""
    first, stop, _ = rows.indices(weight.shape[0])
    if bias is not None:
        bias = bias[first:stop]
    if PACKED.usable(x):
        packed = PACKED.get(weight, first, stop)
        if packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")  # type: ignore[no-any-return]
    return F.linear(x, weight[first:stop], bias)


def linear_back(
    grad: Float[Tensor, "*rows d_part"], weight: Float[Tensor, "d_out d_in"], rows: slice = slice(None)
) -> Float[Tensor, "*rows d_in"]:
    """grad @ weight[rows]: a gradient by the input of `linear`, from one by its output."""
    first, stop, _ = rows.indices(weight.shape[0])
    if PACKED.usable(grad):
        packed = PACKED.get(weight, first, stop, transposed=True)
        if packed is not None:
            return torch.ops.mkldnn._linear_pointwise(grad, packed, None, "none", [], "")  # type: ignore[no-any-return]
    return grad @ weight[first:stop]


def linear_blocks(x: Float[Tensor, "rows d_in"], weight: Float[Tensor, "d_out d_in"], size: int) -> Iterator[Tensor]:
    """The product in blocks of output columns, [rows, <= size] each; a block may be overwritten."""
    for first in range(0, weight.shape[0], size):
        yield linear(x, weight, None, slice(first, min(first + size, weight.shape[0])))
