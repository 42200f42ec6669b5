"""How well a model tracks entities (method, section 2; paper, section 3)."""

import numpy as np
import pandas as pd
import torch

from entity_mech.engine.clean import run_clean, to_ids
from entity_mech.engine.memory import activation_budget
from entity_mech.engine.readout import answer_probability, predictions, token_logits
from entity_mech.methods.intervals import mean_interval
from entity_mech.models.decoder import Decoder
from entity_mech.progress import track
from entity_mech.task.tokens import TokenizedPrompts


def plain_batch(decoder: Decoder, n_pos: int, budget: int | None = None) -> int:
    """Prompts a batch of plain forward passes that keep nothing."""
    s = decoder.shape
    row = 8 * s.d_model + (s.n_heads + 2 * s.n_kv_heads) * s.d_head * 3
    size = n_pos * row * decoder.embedding.element_size()
    return max(1, (budget or activation_budget(decoder)) // 8 // size)


@torch.inference_mode()
def behaviour(decoder: Decoder, prompts: TokenizedPrompts, batch_size: int | None = None) -> pd.DataFrame:
    """Answers of the intact model, a row a prompt.

    Columns: prompt, scene, query_index, correct (argmax over the whole vocabulary is the correct object),
    probability (of the correct object), correct_named (it is the likeliest of the scene's objects), predicted (token
    id of the argmax).
    """
    step = batch_size or plain_batch(decoder, prompts.ids.shape[1])
    starts = range(0, len(prompts), step)
    predicted, probability, named = [], [], []
    for start in track(starts, len(starts), f"answers, {step} prompts a batch"):
        batch = prompts.rows(slice(start, start + step))
        answer = to_ids(decoder, batch.answer)
        last = run_clean(decoder, to_ids(decoder, batch.ids), keep=()).last(to_ids(decoder, batch.length))
        predicted.append(predictions(decoder, last))
        probability.append(answer_probability(decoder, last, answer)[0])
        choices = to_ids(decoder, batch.choices)
        best = token_logits(decoder, last, choices).argmax(-1, keepdim=True)
        named.append(choices.gather(1, best)[:, 0] == answer)
    given = torch.cat(predicted).cpu().numpy()
    return pd.DataFrame(
        {
            "prompt": np.arange(len(prompts)),
            "scene": prompts.scene,
            "query_index": prompts.query_index,
            "correct": (given == prompts.answer).astype(int),
            "probability": torch.cat(probability).double().cpu().numpy(),
            "correct_named": torch.cat(named).cpu().numpy().astype(int),
            "predicted": given,
        }
    )


def behaviour_summary(model: str, table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, probability, accuracy among the named objects and by queried index, with intervals.

    table: of `behaviour`. Columns: model, metric, value, low, high, n (prompts). Indices count from 0.
    """
    parts = {
        "accuracy": (table, "correct"),
        "probability": (table, "probability"),
        "named_accuracy": (table, "correct_named"),
    }
    for index in sorted(set(table["query_index"])):
        parts[f"accuracy_at_index_{index}"] = (table[table["query_index"] == index], "correct")
    rows = [
        (model, metric, *mean_interval(part[column].to_numpy(), part["scene"].to_numpy()), len(part))
        for metric, (part, column) in parts.items()
    ]
    return pd.DataFrame(rows, columns=["model", "metric", "value", "low", "high", "n"])
