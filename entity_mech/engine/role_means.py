"""Mean head outputs by position and by role: what ablated heads give (method, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from jaxtyping import Float

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.store import CHECKED, batches, read_means, store_means
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
    s, same = decoder.shape, SameRole.of(prompts.plain)
    n_roles = len(same.codes)
    total = torch.zeros(s.n_layers, n_roles, s.n_heads, s.d_head, dtype=torch.float64)
    count = np.zeros(n_roles, np.int64)
    for varied in prompts.varied:
        roles = same.tokens(varied)
        for rows in batches(decoder, varied, batch, f"{decoder.name}: mean head outputs by role"):
            at = np.nonzero(roles[rows] >= 0)
            which = torch.as_tensor(roles[rows][at])
            count += np.bincount(which.numpy(), minlength=n_roles)
            with torch.inference_mode():
                z = run_clean(decoder, to_ids(decoder, varied.ids[rows]), {"z"}, last_layer=s.n_layers - 1).z
                for layer, outputs in enumerate(z):
                    total[layer].index_add_(0, which, outputs[at].to("cpu", torch.float64))
    means = (total / torch.as_tensor(np.maximum(count, 1))[:, None, None]).transpose(0, 1).float().numpy()
    known = (same.position >= 0) & (count[same.position] > 0)
    by_role = np.where(known[:, None, None, None], means[same.position], read_means(group))
    group.create_dataset("role_mean", data=by_role, chunks=(1, *by_role.shape[1:]), **CHECKED)
    group.create_dataset("role_count", data=np.where(known, count[same.position], 0), track_times=False)


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
