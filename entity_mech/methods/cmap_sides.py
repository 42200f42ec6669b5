"""The two models of cross-model patching, read from a run's files."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from entity_mech.engine.load import load_checked
from entity_mech.engine.stage import stamp_of
from entity_mech.engine.store import open_store, read_head_outputs
from entity_mech.methods.cmap import Side
from entity_mech.models.families.table import prepared
from entity_mech.models.loading import read_model
from entity_mech.task.tokens import read_prompts


def open_side(model: str | Path, tokens: str | Path, activations: str | Path, device: str, opened: ExitStack) -> Side:
    """A model with its evaluation prompts and its stored head outputs, which stay open while `opened` is."""
    info = read_model(Path(model))
    file = opened.enter_context(open_store(activations, stamp_of(info, tokens)))
    return Side(
        info["name"],
        prepared(info).sizes,
        read_prompts(tokens, "prompts"),
        read_head_outputs(file["prompts"]),
        partial(load_checked, Path(model), device, info["dtype"]),
    )
