"""Planted models as the engine sees them, and prompts as the workflow makes them."""

from functools import cache

import torch
from transformers import LlamaForCausalLM

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.models.decoder import Decoder
from entity_mech.models.demo.vocabulary import LABELS, build_tokenizer, objects
from entity_mech.models.planted.build import build_model
from entity_mech.models.planted.circuit import ROLES
from entity_mech.models.planted.variants import VARIANTS
from entity_mech.task.datasets import build_pairs, build_split
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_pairs, tokenize_records
from entity_mech.task.tokens import TokenizedPairs, TokenizedPrompts
from entity_mech.task.words import Words
from tests.helpers.random_models import decoder_from

WORDS = Words(objects=tuple(objects()), labels=tuple(LABELS))
# Heads that do no one's work, at the tokens of all groups; weaker than any planted head.
DISTRACTORS = {"A": (5, 3), "B": (3, 1), "C": (2, 1), "D": (1, 0)}


@cache
def planted_model(name: str) -> LlamaForCausalLM:
    return build_model(VARIANTS[name]).eval().requires_grad_(False)


@cache
def planted_decoder(name: str) -> Decoder:
    return decoder_from(planted_model(name))


@cache
def planted_prompts(split: str, n: int) -> TokenizedPrompts:
    """Prompts of a split, seven boxes."""
    groups, _ = tokenize_records(build_split(split, WORDS, Task(), n, seed=0), build_tokenizer())
    return groups[""]["prompts"]


@cache
def planted_pairs(kind: str, part: str, n: int) -> TokenizedPairs:
    """Pairs of a desideratum."""
    return tokenize_pairs(build_pairs([kind], WORDS, Task(), {part: n}, seed=0), build_tokenizer())


@cache
@torch.inference_mode()
def mean_outputs(name: str, n: int = 280) -> torch.Tensor:
    """Mean head outputs over ablation prompts, [pos, layer, head, d_head]."""
    decoder, prompts = planted_decoder(name), planted_prompts("ablation", n)
    clean = run_clean(decoder, to_ids(decoder, prompts.ids), keep=["z"])
    return torch.stack([z.mean(0) for z in clean.z], 1)


def planted_circuit(name: str) -> Circuit:
    """The planted heads and a distractor in each group, as candidates with scores by their shares."""
    groups = []
    for letter, role in ROLES.items():
        heads = {**VARIANTS[name].heads(letter), DISTRACTORS[letter]: 1e-4}
        scored = sorted(heads.items(), key=lambda item: -item[1])
        found = HeadGroup(
            role.name, letter, role.token, tuple(head for head, _ in scored), tuple(-share for _, share in scored)
        )
        groups.append(found)
    return Circuit(name, tuple(groups))


def heads_of(circuit: Circuit) -> dict[str, set[tuple[int, int]]]:
    """The heads of each group, by letter."""
    return {group.letter: set(group.heads) for group in circuit.groups}
