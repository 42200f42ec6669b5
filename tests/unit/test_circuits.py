"""Circuits, their files, and how candidates are chosen."""

import json

import numpy as np
import pandas as pd
import pytest

from entity_mech.errors import UserError
from entity_mech.files import write_checked_json
from entity_mech.methods.candidates import choose_circuit, knee, resolve_knee
from entity_mech.methods.circuits import Circuit, HeadGroup, read_circuit, write_circuit

CIRCUIT = Circuit(
    "tiny",
    (
        HeadGroup("fetch", "A", "last", ((2, 1), (1, 0)), (-0.5, -0.25), ((2, 1, -0.5), (1, 3, -0.3), (1, 0, -0.25))),
        HeadGroup("move", "B", "last", ()),
        HeadGroup("read", "D", "previous_label", ((0, 3),), (-0.125,)),
    ),
)


def scores(**heads):
    """A table of path-patching scores: fetch=("A", "last", {(layer, head): score})."""
    rows = [
        (name, letter, token, layer, head, score)
        for name, (letter, token, found) in heads.items()
        for (layer, head), score in found.items()
    ]
    return pd.DataFrame(rows, columns=["search", "letter", "token", "layer", "head", "score"])


def test_mask_has_each_head_at_its_groups_token():
    assert CIRCUIT.roles == ("last", "label")
    assert CIRCUIT.size == 3
    mask = CIRCUIT.to_mask(("label", "last"), 3, 4)
    assert {tuple(int(i) for i in index) for index in np.argwhere(mask)} == {(1, 2, 1), (1, 1, 0), (0, 0, 3)}


def test_a_head_or_role_that_is_not_there_is_refused_by_name():
    with pytest.raises(UserError, match=r"read .* head 0\.3; the model has 3 layers of 3 heads"):
        CIRCUIT.to_mask(("label", "last"), 3, 3)
    with pytest.raises(UserError, match="'previous_label'"):
        CIRCUIT.to_mask(("last",), 3, 4)
    with pytest.raises(UserError, match="twice"):
        HeadGroup("fetch", "A", "last", ((2, 1), (2, 1)))


def test_file_keeps_everything(tmp_path):
    path = tmp_path / "circuits" / "tiny.json"
    write_circuit(path, CIRCUIT, threshold=0.01, provenance={"code": "abc"})
    data = json.loads(path.read_text())
    assert data["threshold"] == 0.01
    assert [head["rank"] for head in data["groups"][0]["heads"]] == [1, 3]
    read = read_circuit(path)
    assert read.groups[0] == CIRCUIT.groups[0]
    assert read.groups[2].scored() == CIRCUIT.groups[2].scored()
    write_checked_json(path, {"model": "tiny"})
    with pytest.raises(UserError, match="not a circuit file"):
        read_circuit(path)


def test_candidates_are_the_most_negative_heads_only():
    table = scores(fetch=("A", "last", {(0, 0): 0.5, (0, 1): -0.1, (1, 0): -0.3, (1, 1): 0.0, (2, 0): -0.2}))
    assert choose_circuit("m", table, {"fetch": 2}).groups[0].heads == ((1, 0), (2, 0))
    group = choose_circuit("m", table, {"fetch": 5}).groups[0]
    assert group.heads == ((1, 0), (2, 0), (0, 1))
    assert group.scores == (-0.3, -0.2, -0.1)
    assert group.candidates == group.scored()
    assert choose_circuit("m", table, {"fetch": 0}).groups[0].heads == ()


def test_a_head_found_twice_at_one_role_belongs_to_the_later_search():
    table = scores(
        fetch=("A", "last", {(2, 0): -0.9, (1, 0): -0.5, (1, 1): -0.4}),
        move=("B", "last", {(1, 0): -0.2, (0, 0): 0.1}),
        read=("D", "label", {(2, 0): -0.1}),
    )
    circuit = choose_circuit("m", table, {"fetch": 2, "move": 5, "read": 1})
    assert circuit.group("fetch").heads == ((2, 0),)  # not filled up with 1.1
    assert circuit.group("fetch").scores == (-0.9,)
    assert circuit.group("move").heads == ((1, 0),)
    assert circuit.group("read").heads == ((2, 0),)  # another role


def test_knee_is_the_smallest_number_that_is_nearly_as_good():
    assert knee(np.array([0.1, 0.5, 0.76, 0.9, 0.8])) == 2
    assert knee(np.array([0.0, 0.0])) == 0
    found = {(0, i): -1.0 / (i + 1) for i in range(5)}
    table = scores(fetch=("A", "last", found), read=("D", "label", {(1, i): -0.1 for i in range(3)}))
    sizes = []

    def accuracy(circuits):
        sizes.extend([len(group.heads) for group in circuit.groups] for circuit in circuits)
        return np.array([min(1.0, 0.3 * len(c.group("fetch").heads)) for c in circuits])

    keep = resolve_knee("m", table, {"fetch": "knee", "read": 2}, accuracy)
    assert keep == {"fetch": 4, "read": 2}
    assert sizes == [[1, 2], [2, 2], [3, 2], [4, 2], [5, 2]]
    assert resolve_knee("m", table, {"fetch": 3, "read": 2}, accuracy) == {"fetch": 3, "read": 2}
