"""Mean head outputs by position and by role: what ablated heads give (method, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int64

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.store import batches, read_means, store_means
from entity_mech.models.decoder import Decoder
from entity_mech.task.layouts import SameRole
from entity_mech.task.tokens import TokenizedPrompts


@dataclass(frozen=True)
class AblationPrompts:
    """plain: prompts that are all laid out alike, as those that are studied. varied: some of each other layout."""

    plain: TokenizedPrompts
    varied: Sequence[TokenizedPrompts]


def store_ablation(decoder: Decoder, prompts: AblationPrompts, group: h5py.Group, batch: int | None = None) -> None:
    """Write both means: `mean` and `count` by position (`store_means`), `role_mean` and `role_count` by role.

    The latter are laid out as the former: at each position stands the mean over all tokens of the varied prompts that
    play its role, and how many those are. A position whose role none of them plays keeps its own mean.
    """
    store_means(decoder, prompts.plain, group, batch)
    means, counts = read_means(group), np.zeros(prompts.plain.ids.shape[1], np.int64)
    if prompts.varied:
        same = SameRole.of(prompts.plain)
        by_role, count = _means_of_roles(decoder, prompts.varied, same, batch)
        known = np.flatnonzero((same.position >= 0) & (count[same.position] > 0))
        means[known], counts[known] = by_role[same.position[known]], count[same.position[known]]
    group.create_dataset("role_mean", data=means, track_times=False)
    group.create_dataset("role_count", data=counts, track_times=False)


def _means_of_roles(
    decoder: Decoder, varied: Sequence[TokenizedPrompts], same: SameRole, batch: int | None
) -> tuple[Float[np.ndarray, "role layer head d_head"], Int64[np.ndarray, " role"]]:
    """Mean over all tokens of each role, summed in float64, and how many there are."""
    s, n_roles = decoder.shape, len(same.codes)
    total = torch.zeros(n_roles, s.n_layers, s.n_heads, s.d_head, dtype=torch.float64)
    count = np.zeros(n_roles, np.int64)
    for prompts in varied:
        roles = same.tokens(prompts)
        for rows in batches(decoder, prompts, batch, f"{decoder.name}: mean head outputs by role"):
            at = np.nonzero(roles[rows] >= 0)
            which = torch.as_tensor(roles[rows][at])
            count += np.bincount(which.numpy(), minlength=n_roles)
            with torch.inference_mode():
                z = run_clean(decoder, to_ids(decoder, prompts.ids[rows]), {"z"}, last_layer=s.n_layers - 1).z
                for layer, outputs in enumerate(z):
                    total[:, layer].index_add_(0, which, outputs[at].to("cpu", torch.float64))
    return (total / torch.as_tensor(np.maximum(count, 1))[:, None, None, None]).numpy(), count


def read_ablation(
    group: h5py.Group, plain: TokenizedPrompts, by_role: Sequence[str] = ()
) -> Float[np.ndarray, "pos layer head d_head"]:
    """Means that `store_ablation` wrote: by role at tokens that play one of these roles, elsewhere by position.

    Raises UserError for a role that no prompt has.
    """
    means = read_means(group)
    if by_role:
        at = SameRole.of(plain).at(list(by_role))
        means[at] = group["role_mean"][at]
    return means
