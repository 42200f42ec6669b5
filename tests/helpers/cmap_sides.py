"""Two random models with one circuit, each with its stored head outputs, for CMAP."""

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.store import StoredHeads
from entity_mech.methods.circuits import Circuit, HeadGroup
from entity_mech.methods.cmap import Side
from tests.helpers.box_prompts import box_prompts
from tests.helpers.literal_circuits import head_outputs
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
PROMPTS = box_prompts(8, 12, ragged=True)


def side(name: str, seed: int, loaded: list[str] | None = None) -> tuple[Side, object]:
    model = random_llama(layers=3, kv_heads=2, seed=seed, spread=0.35)
    decoder = decoder_from(model)
    object.__setattr__(decoder, "name", name)
    z, rows = head_outputs(model, PROMPTS.ids), torch.arange(len(PROMPTS))
    stored = np.stack([z[rows, torch.as_tensor(PROMPTS.roles[role])].numpy() for role in ROLES], 1)

    def load():
        (loaded if loaded is not None else []).append(name)
        return decoder

    return Side(name, decoder.shape, PROMPTS, StoredHeads(stored, ROLES), load), model
