"""Which rows a batch of circuits needs, layer by layer, so that nothing is computed twice.

A *row* is the residual stream of one role token in one state. Two circuits share a row for as long as nothing
they differ in can have reached it: the state of a stream after a layer is fixed by its state before the
layer, by the heads kept there and, when any is kept, by the states of the role tokens before it. A stream
ends with the last kept head that reads it. Everything here is index arithmetic on masks; no model is run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DENSE = 0.5  # from this share of the rows on, a head is computed for all of them


@dataclass(frozen=True)
class Projection:
    """Some q, k and v heads of one layer, made from some rows of one role."""

    role: int
    rows: np.ndarray  # rows of the layer's input
    packed: tuple[int, ...]  # index into the packed projection: queries, then keys, then values


@dataclass(frozen=True)
class Read:
    """Where to find one head's q, k or v: a projection, the head's slot there, and a row for every reader."""

    projection: int
    slot: int
    rows: np.ndarray


@dataclass(frozen=True)
class HeadJob:
    """One kept head: its queries and, for every role token that it sees, that token's keys and values."""

    head: int
    kv_head: int
    query: Read
    seen: tuple[tuple[Read, Read], ...]


@dataclass(frozen=True)
class Attend:
    """Heads of one role that are computed for the same rows of the layer's output."""

    role: int
    rows: np.ndarray
    heads: tuple[HeadJob, ...]
    keep: np.ndarray | None  # [row, head] which of them the row's circuits keep; None: all


@dataclass(frozen=True)
class Column:
    """A role token that has one state in the whole batch: its key and value are the same for every reader."""

    role: int
    kv_head: int
    key: Read
    value: Read


@dataclass(frozen=True)
class LayerPlan:
    """One layer: rows of its output by role, the row each comes from, and the attention to be computed."""

    parent: np.ndarray  # [row] row of the layer's input
    slices: tuple[tuple[int, int, int], ...]  # (role, first row, end), roles that have rows
    projections: tuple[Projection, ...]
    columns: tuple[Column, ...]
    varying: tuple[int, ...]  # roles with several states in the layer's input
    attends: tuple[Attend, ...]


@dataclass(frozen=True)
class CircuitPlan:
    """All layers. `final[circuit]`: the last layer's row that holds the circuit's last token."""

    layers: tuple[LayerPlan, ...]
    final: np.ndarray
    peak_rows: int
    total_rows: int


def last_updates(masks: np.ndarray) -> np.ndarray:
    """Last layer in which a stream must still be computed, [circuit, role]; -1 or less: never.

    masks [circuit, role, layer, head], roles in the order of their positions, the last one being read out.
    """
    any_kept = np.asarray(masks.any(-1))
    n_circuits, n_roles, n_layers = any_kept.shape
    layer = np.arange(n_layers)
    end = np.full((n_circuits, n_roles), n_layers - 1)
    reads: np.ndarray = np.zeros((n_circuits, n_layers), dtype=bool)
    for role in range(n_roles - 2, -1, -1):
        reads |= any_kept[:, role + 1] & (layer <= end[:, role + 1, None])
        end[:, role] = np.where(reads, layer, -1).max(-1) - 1
    return end


def plan_circuits(masks: np.ndarray, n_kv_heads: int) -> CircuitPlan:
    """Plan a batch of circuits.

    Args:
        masks: bool [circuit, role, layer, head], roles in the order of their positions, the last role being
            the token that is read out.
        n_kv_heads: key/value heads of the model; query heads share them in equal groups.
    """
    n_circuits, n_roles, n_layers, _ = masks.shape
    end = last_updates(masks)
    state = np.tile(np.arange(n_roles), (n_circuits, 1))
    slices = tuple((role, role, role + 1) for role in range(n_roles))
    layers, peak, total = [], n_roles, 0
    for layer in range(n_layers):
        builder = _LayerBuilder(masks[:, :, layer], state, end >= layer, slices, n_kv_heads)
        plan, state = builder.build()
        slices = plan.slices
        layers.append(plan)
        peak = max(peak, len(plan.parent))
        total += len(plan.parent)
    return CircuitPlan(tuple(layers), state[:, -1], peak, total)


@dataclass(frozen=True)
class _Rows:
    """Rows of one role in a layer's output."""

    role: int
    first: int
    parent: np.ndarray  # [row]
    keep: np.ndarray  # bool [row, head]
    context: np.ndarray  # [row, role <= own] rows of the layer's input that the row's heads see


_Picked = tuple[_Rows, np.ndarray, list[int]]  # rows of a role, which of them, heads computed for these
_Find = Callable[[int, int, np.ndarray], Read]  # (role, packed head, rows of the layer's input)


class _LayerBuilder:
    """Plans one layer from the masks [circuit, role, head] and the states [circuit, role] that enter it."""

    def __init__(
        self,
        masks: np.ndarray,
        state: np.ndarray,
        live: np.ndarray,
        slices: tuple[tuple[int, int, int], ...],
        n_kv_heads: int,
    ) -> None:
        self.masks, self.state, self.live = masks, state, live
        self.span = {role: (first, end) for role, first, end in slices}
        self.n_heads = masks.shape[-1]
        self.n_kv_heads = n_kv_heads
        self.group = self.n_heads // n_kv_heads
        self.varying = tuple(role for role, (first, end) in self.span.items() if end - first > 1)

    def build(self) -> tuple[LayerPlan, np.ndarray]:
        rows, state = self.new_rows()
        picked = [pick for role_rows in rows for pick in self.pick_heads(role_rows)]
        projections, find = self.projections(picked)
        attends = tuple(self.attend(r, chosen, heads, find) for r, chosen, heads in picked)
        columns = self.columns(picked, find)
        parent = np.concatenate([r.parent for r in rows])
        slices = tuple((r.role, r.first, r.first + len(r.parent)) for r in rows)
        return LayerPlan(parent, slices, projections, columns, self.varying, attends), state

    def new_rows(self) -> tuple[list[_Rows], np.ndarray]:
        """Distinct states after the layer, and the row of each [circuit, role] (-1: the stream has ended)."""
        state = np.full_like(self.state, -1)
        rows: list[_Rows] = []
        first = 0
        for role in range(state.shape[1]):
            circuits = np.flatnonzero(self.live[:, role])
            if not len(circuits):
                continue
            keep = self.masks[circuits, role]
            context = self.state[circuits, : role + 1].copy()
            parent = context[:, -1].copy()
            context[~keep.any(-1)] = -1
            key = np.column_stack([parent, context, np.packbits(keep, axis=-1)])
            _, index, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
            rows.append(_Rows(role, first, parent[index], keep[index], context[index]))
            state[circuits, role] = first + inverse.reshape(-1)
            first += len(index)
        return rows, state

    def pick_heads(self, rows: _Rows) -> list[_Picked]:
        """Heads to compute, grouped by the rows (indices into `rows`) they are computed for."""
        reading = np.flatnonzero(rows.keep.any(-1))
        groups: dict[bytes, tuple[np.ndarray, list[int]]] = {}
        for head in np.flatnonzero(rows.keep.any(0)).tolist():
            kept = np.flatnonzero(rows.keep[:, head])
            chosen = reading if len(kept) >= DENSE * len(reading) else kept
            groups.setdefault(chosen.tobytes(), (chosen, []))[1].append(head)
        return [(rows, chosen, heads) for chosen, heads in groups.values()]

    def key_and_value(self, head: int) -> tuple[int, int]:
        """Packed index of the key head and the value head that a query head uses."""
        kv_head = head // self.group
        return self.n_heads + kv_head, self.n_heads + self.n_kv_heads + kv_head

    def projections(self, picked: list[_Picked]) -> tuple[tuple[Projection, ...], _Find]:
        """The projections that the picked heads need, and a function that finds a head's rows in them."""
        needed: dict[tuple[int, int], np.ndarray] = {}

        def need(role: int, packed: int, rows: np.ndarray) -> None:
            first, end = self.span[role]
            mask = needed.setdefault((role, packed), np.zeros(end - first, dtype=bool))
            mask[rows - first] = True

        for rows, chosen, heads in picked:
            for head in heads:
                need(rows.role, head, rows.parent[chosen])
                for role in range(rows.role + 1):
                    for packed in self.key_and_value(head):
                        need(role, packed, rows.context[chosen, role])
        groups: dict[tuple[int, bytes], tuple[np.ndarray, list[int]]] = {}
        for (role, packed), mask in sorted(needed.items(), key=lambda item: item[0]):
            wanted = np.ones_like(mask) if mask.mean() >= DENSE else mask
            absolute = self.span[role][0] + np.flatnonzero(wanted)
            groups.setdefault((role, absolute.tobytes()), (absolute, []))[1].append(packed)
        projections = tuple(Projection(role, r, tuple(packed)) for (role, _), (r, packed) in groups.items())
        place = {(p.role, head): (i, s) for i, p in enumerate(projections) for s, head in enumerate(p.packed)}

        def find(role: int, packed: int, rows: np.ndarray) -> Read:
            projection, slot = place[role, packed]
            return Read(projection, slot, np.searchsorted(projections[projection].rows, rows))

        return projections, find

    def attend(self, rows: _Rows, chosen: np.ndarray, heads: list[int], find: _Find) -> Attend:
        """The attention of one group of heads; role tokens of one state are not repeated in `seen`."""
        jobs = []
        seen = [role for role in self.varying if role <= rows.role]
        for head in heads:
            key, value = self.key_and_value(head)
            found = [(role, rows.context[chosen, role]) for role in seen]
            jobs.append(
                HeadJob(
                    head=head,
                    kv_head=head // self.group,
                    query=find(rows.role, head, rows.parent[chosen]),
                    seen=tuple((find(role, key, r), find(role, value, r)) for role, r in found),
                )
            )
        keep = rows.keep[chosen][:, heads]
        return Attend(rows.role, rows.first + chosen, tuple(jobs), None if keep.all() else keep)

    def columns(self, picked: list[_Picked], find: _Find) -> tuple[Column, ...]:
        """Role tokens of a single state that some picked head sees."""
        wanted = {
            (role, head // self.group)
            for rows, _, heads in picked
            for head in heads
            for role in range(rows.role + 1)
            if role not in self.varying
        }
        columns = []
        for role, kv_head in sorted(wanted):
            row = np.array([self.span[role][0]])
            key, value = self.key_and_value(kv_head * self.group)
            columns.append(Column(role, kv_head, find(role, key, row), find(role, value, row)))
        return tuple(columns)
