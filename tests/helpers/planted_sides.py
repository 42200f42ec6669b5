"""Planted models in memory, with prompts for them: the workflow's own prompts, and the circuit that was put there."""

from functools import cache

import h5py
import torch

from entity_mech.engine.role_means import AblationPrompts, read_ablation, store_ablation
from entity_mech.engine.store import read_head_outputs, store_head_outputs
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.cmap import Side
from entity_mech.models.decoder import Decoder
from entity_mech.models.demo.vocabulary import build_tokenizer, objects
from entity_mech.models.planted.build import build_model, describe
from entity_mech.models.planted.variants import VARIANTS
from entity_mech.task.datasets import build_split
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_records
from entity_mech.task.tokens import TokenizedPrompts
from entity_mech.task.usable import usable_words
from entity_mech.task.words import LETTERS
from tests.helpers.random_models import decoder_from

TASK = Task()


@cache
def decoder(name: str) -> Decoder:
    """The engine's view of a planted model."""
    return decoder_from(build_model(VARIANTS[name]).eval())


@cache
def words():
    """What the planted models' tokenizer can read."""
    return usable_words(objects(), LETTERS, {"tiny": build_tokenizer()}, TASK)


@cache
def prompts(split: str, n: int, seed: int = 0) -> TokenizedPrompts:
    """Prompts of a split that has nothing but prompts."""
    groups, _ = tokenize_records(build_split(split, words(), TASK, n, seed), build_tokenizer())
    return groups[""]["prompts"]


@cache
def ablation_prompts(n: int, seed: int = 0) -> AblationPrompts:
    """n prompts laid out alike, and n of varying layout."""
    groups, _ = tokenize_records(build_split("ablation", words(), TASK, n, seed), build_tokenizer())
    return AblationPrompts(groups[""]["prompts"], [found["prompts"] for name, found in groups.items() if name])


@cache
def means(name: str, n: int, by_role: tuple[str, ...] = ()) -> torch.Tensor:
    """Mean head outputs of a planted model."""
    given = ablation_prompts(n)
    with h5py.File(f"means of {name}", "w", driver="core", backing_store=False) as file:
        store_ablation(decoder(name), given, file)
        return torch.as_tensor(read_ablation(file, given.plain, by_role))


def circuit(name: str, model: str | None = None) -> Circuit:
    """The heads that were put there, as a circuit of `model` (by default the planted model's own name)."""
    groups = tuple(
        HeadGroup(group["name"], letter, group["token"], tuple(map(tuple, group["heads"])))
        for letter, group in describe(VARIANTS[name])["groups"].items()
    )
    return Circuit(model or name, groups)


def side(name: str, called: str, given: TokenizedPrompts) -> Side:
    """A planted model for patching across models."""
    own = decoder(name)
    object.__setattr__(own, "name", called)
    file = h5py.File(f"{name}.h5", "w", driver="core", backing_store=False)
    roles = [group.role for group in circuit(name).groups]
    store_head_outputs(own, given, roles, file.create_group("prompts"))
    return Side(called, own.shape, given, read_head_outputs(file["prompts"]), lambda: own)
