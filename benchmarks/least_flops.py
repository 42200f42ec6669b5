"""The least floating-point operations that a search needs: a product and a sum count as two.

Only matrix products are counted, and only those that no exact method can leave out: pass 1 from each sender's
layer up, pass 2 on suffix tokens from each row's first receiver layer up, the vocabulary at the last token; and,
once for all searches, the clean and the corrupted run.
"""

from benchmarks.shapes import Shape
from entity_mech.engine.receivers import Receivers


def _mlp(s: Shape) -> int:
    return 6 * s.d_model * s.d_mlp


def pass_1(s: Shape, receivers: Receivers | None) -> int:
    """Per prompt: every sender below the stop, through the MLPs, and the receivers' inputs."""
    stop = s.layers if receivers is None else receivers.last
    mlps = sum((layer + 1) * s.heads * _mlp(s) for layer in range(stop))
    joins = stop * s.heads * 2 * s.d_head * s.d_model
    reads = 0
    for layer, kinds in {} if receivers is None else receivers.layers.items():
        reads += layer * s.heads * sum(map(len, kinds.values())) * 2 * s.d_model * s.d_head
    return mlps + joins + reads


def _join(s: Shape, kinds: dict[str, list[int]], n_pos: int, start: int, n_query: int) -> int:
    """Per row: new query rows, or the moved values spread over the later tokens."""
    flops = len(kinds.get("q", [])) * (4 * s.d_head * (start + 1) + 2 * s.d_head * s.d_model)
    heads = len(kinds.get("v", [])) * s.heads // s.kv_heads
    return flops + heads * (2 * s.d_head * s.d_model + 2 * n_query * s.d_model)


def _layer(s: Shape, n_pos: int, start: int, n_query: int) -> int:
    """Per row: projections of the suffix, its attention over prefix and suffix, the output projection."""
    projections = n_pos * 4 * s.d_model * s.kv_heads * s.d_head + n_query * 4 * s.d_model * s.heads * s.d_head
    paid = n_query * (start + n_pos) - n_query * (n_query - 1) // 2  # pairs of a query and a key not after it
    return projections + paid * 4 * s.heads * s.d_head


def runs(s: Shape, n_prompts: int, n_pos: int) -> int:
    """The clean and the corrupted run of all prompts, for searches that send from the last token or before it.

    In the last layer all keys and values are needed but only the last token's query: clean up to the vocabulary,
    corrupted up to the head outputs, which are all that is patched.
    """
    below = (s.layers - 1) * (_layer(s, n_pos, 0, n_pos) + n_pos * _mlp(s))
    top = _layer(s, n_pos, 0, 1)
    clean = below + top + _mlp(s) + 2 * s.d_model * s.vocab
    corrupted = below + top - 2 * s.heads * s.d_head * s.d_model
    return n_prompts * (clean + corrupted)


def pass_2(s: Shape, receivers: Receivers, start: int, n_pos: int) -> int:
    """Per prompt whose patched token is `start`, with n_pos tokens from there to the last."""
    flops, joined = 0, 0
    for layer in range(s.layers):
        kinds = receivers.layers.get(layer)
        total = layer * s.heads if kinds else joined
        n_query = 1 if layer == s.layers - 1 else n_pos
        flops += joined * _layer(s, n_pos, start, n_query)
        if kinds:
            flops += (total - joined) * _join(s, kinds, n_pos, start, n_query)
        joined = total
        flops += joined * n_query * _mlp(s)
    return flops + joined * 2 * s.d_model * s.vocab


def search(s: Shape, receivers: Receivers | None, starts: list[int], last: int) -> int:
    """Sum over prompts of both passes; starts: the sender's token in each prompt."""
    first = pass_1(s, receivers) * len(starts)
    if receivers is None:
        return first + len(starts) * s.layers * s.heads * 2 * s.d_model * s.vocab
    return first + sum(pass_2(s, receivers, start, last - start + 1) for start in starts)
