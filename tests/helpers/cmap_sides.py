"""Two random models with one circuit, each with its stored head outputs, for CMAP."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from transformers import LlamaForCausalLM

from entity_mech.engine.store import StoredHeads
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.cmap import Side
from entity_mech.task.tokens import TokenizedPrompts
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs, last_logits
from tests.helpers.random_models import decoder_from, random_llama

ROLES = ("last", "query_label", "label")
A = HeadGroup("value_fetcher", "A", "last", ((2, 0), (1, 1), (2, 3)))
B = HeadGroup("position_transmitter", "B", "last", ((0, 2), (1, 0)))
C = HeadGroup("position_detector", "C", "query_label", ())
D = HeadGroup("structure_reader", "D", "previous_label", ((0, 2), (1, 3)))
CIRCUIT = Circuit("tuned", (A, B, C, D))
SELECTED = pd.DataFrame(
    [("value_fetcher", "object", 2, 3, True), ("value_fetcher", "object", 2, 0, False)],
    columns=["group", "desideratum", "layer", "head", "selected"],
)


def _model(seed: int) -> LlamaForCausalLM:
    return random_llama(layers=3, kv_heads=2, seed=seed, spread=0.35)


def prompts_with_answers() -> TokenizedPrompts:
    """Random weights never give the right object: a third of the answers each is what `base` and `tuned` say."""
    prompts = box_prompts(8, 12, ragged=True)
    base, tuned = (last_logits(_model(seed), prompts.ids, prompts.length).argmax(-1).numpy() for seed in (0, 1))
    third = np.arange(12) % 3
    return replace(prompts, answer=np.where(third == 0, base, np.where(third == 1, tuned, prompts.answer)))


PROMPTS = prompts_with_answers()


def side(name: str, seed: int, loaded: list[str] | None = None) -> tuple[Side, object]:
    model = _model(seed)
    decoder = decoder_from(model)
    object.__setattr__(decoder, "name", name)
    z, rows = head_outputs(model, PROMPTS.ids), torch.arange(len(PROMPTS))
    stored = np.stack([z[rows, torch.as_tensor(PROMPTS.roles[role])].numpy() for role in ROLES], 1)

    def load():
        (loaded if loaded is not None else []).append(name)
        return decoder

    return Side(name, decoder.shape, PROMPTS, StoredHeads(stored, ROLES), load), model
