"""How many prompts fit at once: batches are chosen from memory, never from results."""

import torch

from entity_mech.models.decoder import Decoder

# On a CPU a batch's activations stay well under this, whatever the machine has.
CPU_BYTES = 1 << 30
GPU_SHARE = 0.4  # of the free memory: the rest is for rows in flight and the allocator


def activation_budget(decoder: Decoder) -> int:
    """Bytes that the kept activations of one prompt batch may take on this device."""
    if decoder.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(decoder.device)
        return int(free * GPU_SHARE)
    return CPU_BYTES


def path_patching_batch(decoder: Decoder, n_pos: int, budget: int | None = None) -> int:
    """Prompts a batch: one clean run with its caches, and pass 1's rows for every sender."""
    s = decoder.shape
    size = decoder.embedding.element_size()
    cache = n_pos * s.n_layers * (2 * s.d_model + 2 * s.n_heads * s.d_head + 2 * s.n_kv_heads * s.d_head)
    rows = s.n_layers * s.n_heads * s.d_model * 2
    return max(1, (budget or activation_budget(decoder)) // ((cache + rows) * size))


def bytes_per_prompt(decoder: Decoder, n_pos: int) -> int:
    """Memory that a prompt's clean run takes while starts of suffix runs are made from it."""
    s = decoder.shape
    values = s.d_model + s.n_heads * s.d_head + 2 * s.n_kv_heads * s.d_head
    return n_pos * s.n_layers * values * decoder.embedding.element_size()


def slices(n: int, size: int) -> list[slice]:
    """0..n cut into neighbouring parts of at most `size`."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]
