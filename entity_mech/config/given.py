"""Checks of the scores and circuits that a config gives with its models, before any job runs."""

from __future__ import annotations

from pathlib import Path

from entity_mech.config.messages import nearest
from entity_mech.config.schema import Config
from entity_mech.errors import UserError
from entity_mech.models.checks import problems, sizes_of
from entity_mech.models.given_circuits import circuit_problems, read_given_circuit
from entity_mech.models.given_heads import ChainGroup, Size
from entity_mech.models.given_scores import read_score_rows, score_problems
from entity_mech.models.sources import ModelSource, chain


def check_given(config: Config) -> list[str]:
    """Every given file is there, is no result of this very run, and fits the chain and its model."""
    found: list[str] = []
    groups = [ChainGroup(search.name, search.letter, search.token) for search in config.searches]
    for index, model in enumerate(config.models):
        for key in ("scores", "circuit"):
            path = getattr(model, key)
            if path is not None:
                wrong = _file_problems(path, config.run) or _problems(key, path, groups, _size(config, model.name))
                found += [f"models[{index}].{key} ({model.name}): {path}: {_ended(text)}" for text in wrong]
    return found


def _ended(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _file_problems(path: str, run: str) -> list[str]:
    if not Path(path).is_file():
        parent = Path(path).parent
        there = [str(file) for file in sorted(parent.iterdir()) if file.is_file()] if parent.is_dir() else []
        return [f"there is no such file (relative to the working directory).{nearest(path, there)}"]
    own = Path("results", run).resolve()
    if own in Path(path).resolve().parents:
        return [f"this run writes into results/{run} itself; give its file another place, or the run another name"]
    return []


def _problems(key: str, path: str, groups: list[ChainGroup], size: Size | None) -> list[str]:
    try:
        if key == "scores":
            return score_problems(read_score_rows(path), groups, size)
        return circuit_problems(read_given_circuit(path), groups, size)
    except UserError as error:
        return [str(error)]


def _size(config: Config, name: str) -> Size | None:
    """Layers and heads of a model in local folders that are in order; None where they are not known yet."""
    try:
        source = config.sources()[name]
        if _elsewhere(source) or problems(source):
            return None
        sizes = sizes_of(source)
    except UserError:  # another check says what is wrong with the models
        return None
    return sizes.n_layers, sizes.n_heads


def _elsewhere(source: ModelSource) -> bool:
    return any(one.on_hub for one in chain(source))
