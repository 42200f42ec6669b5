"""A whole config: its sections, the defaults, which are the default run, and what follows from them.

`config/config.yaml`, `workflow/schemas/config.schema.yaml` and the tables of `config/README.md` are written from it
(`python -m entity_mech.config.generate write`). `load.load_config` turns a config file's mapping into a checked
`Config`.
"""

from __future__ import annotations

from typing import Any, Literal

from entity_mech.config.keys import NAME, NAME_LENGTH, Section, key
from entity_mech.config.pages import Figures, Findings
from entity_mech.config.sections import (
    Attention,
    Cmap,
    Completeness,
    Compute,
    Dcm,
    Faithfulness,
    Model,
    Patching,
    PathPatching,
    Probes,
    Prompts,
    Pruning,
    Receiver,
    Search,
    Stability,
)
from entity_mech.config.task_keys import TaskKeys
from entity_mech.models.sources import ModelSource, build_sources
from entity_mech.stages.stage import Run
from entity_mech.stages.table import OPTIONAL
from entity_mech.task.task import Task


def tiny_models() -> list[Model]:
    """The family that ships with the project."""
    folder = "demo_models/tiny"
    return [
        Model(name="base", path=f"{folder}/base", label="base"),
        Model(name="chat", path=f"{folder}/chat", base="base", label="chat (control)"),
        Model(name="lora", path=f"{folder}/lora", base="base", label="LoRA fine-tune"),
        Model(name="full", path=f"{folder}/full", base="base", label="full fine-tune"),
    ]


def tiny_searches() -> list[Search]:
    """The tiny family's chain: heads at the previous label also feed the value fetchers themselves."""
    a, b, c, d = "value_fetcher", "position_transmitter", "position_detector", "structure_reader"
    into_d = [_from(c, "v"), _from(a, "k"), _from(a, "v")]
    return [
        _search(a, "A", "last", ["logits"], (3, 5), "object"),
        _search(b, "B", "last", [_from(a, "q")], (3, 4), "label"),
        _search(c, "C", "query_label", [_from(b, "v")], (3, 4), None),
        _search(d, "D", "previous_label", into_d, (4, 6), None),
    ]


def _search(
    name: str, letter: str, token: str, receivers: list[Any], counts: tuple[int, int], carries: Any
) -> Search:
    values = {"name": name, "letter": letter, "token": token, "receivers": receivers, "carries": carries}
    return Search.model_validate({**values, "receiver_heads": counts[0], "keep": counts[1]})


def _from(search: str, input_: Literal["q", "k", "v"]) -> Receiver:
    return Receiver(search=search, input=input_)


class Config(Section):
    """A run."""

    run: str = key("tiny", "Name of the run; its results go to results/{run}.", pattern=NAME, max_length=NAME_LENGTH)
    seed: int = key(0, "Seed from which all random choices are derived.", ge=0, le=10**12)
    base: str = key("base", "The base model, with which fine-tuned models are compared.")
    models: list[Model] = key(
        tiny_models,
        "The models. Those fine-tuned from the study's base are compared with it across models (CMAP); "
        "every circuit is measured on every model, or as `cross_models` says.",
        cost="time of every stage; faithfulness grows with the square",
        min_length=1,
        max_length=100,
    )
    cross_models: Literal["all", "base"] = key(
        "all",
        "Which circuits are measured in which models: `all` in all; `base`: the base's in each, each in the base, "
        "and each in its own.",
        cost="all: jobs of measure_faithfulness and patch_dcm_heads grow with the square of the models",
    )
    ablation: Literal["position", "role"] = key(
        "position",
        "What a head that is left out gives, at the chain's tokens: its mean at this position (the paper's), or its "
        "mean at tokens of the same role in prompts of varying layout, so that it cannot tell which segment it is "
        "in. Faithfulness is reported with both.",
    )
    task: TaskKeys = key(TaskKeys, "Scenes and prompts.")
    prompts: Prompts = key(Prompts, "How many prompts of each split. Every scene is asked for each of its boxes.")
    searches: list[Search] = key(
        tiny_searches,
        "The chain of path-patching searches, in order; each finds one group of heads.",
        min_length=1,
        max_length=26,
    )
    path_patching: PathPatching = key(PathPatching, "How heads are scored.")
    pruning: Pruning = key(Pruning, "How a circuit is pruned.")
    stability: Stability = key(Stability, "How often other scenes, or other words, would give the same heads.")
    faithfulness: Faithfulness = key(Faithfulness, "How circuits are compared with the whole model.")
    dcm: Dcm = key(Dcm, "What each group carries.")
    cmap: Cmap = key(Cmap, "What fine-tuning improved.")
    completeness: Completeness = key(Completeness, "Whether a circuit lacks anything.")
    patching: Patching = key(Patching, "Heads that carry something, patched in every model.")
    probes: Probes = key(Probes, "What position means.")
    attention: Attention = key(Attention, "Where the strongest heads look.")
    leave_out: list[str] = key(list, "Optional stages to skip.", words=OPTIONAL)
    findings: Findings = key(Findings, "How the pages' answers are decided.")
    figures: Figures = key(Figures, "Style of the figures.")
    compute: Compute = key(Compute, "What the run may use of the machine.")

    def the_task(self) -> Task:
        """The task as one value. Raises UserError for a wording that cannot be used."""
        return Task.of(self.task.model_dump())

    def wordings(self) -> dict[str, dict[str, Any]]:
        """The other wordings, by name, as values of a `Task`."""
        own = self.task.model_dump(exclude={"probe_texts"})
        given = {one.name: one.model_dump(exclude={"name"}, exclude_none=True) for one in self.stability.wordings}
        return {name: {**own, **values} for name, values in given.items()}

    def model(self, name: str) -> Model:
        """The model of that name. Raises KeyError for another name."""
        return {model.name: model for model in self.models}[name]

    def sources(self) -> dict[str, ModelSource]:
        """Where each model is, with its base and its tokenizer's model, by name in the config's order."""
        return build_sources([model.model_dump() for model in self.models])

    def fine_tuned(self) -> list[str]:
        """Names of the models that were fine-tuned from the study's base, directly or in steps."""
        return [model.name for model in self.models if self.base in self._bases(model.name)]

    def pairs(self) -> list[tuple[str, str]]:
        """(model, circuit) names: which circuits are measured on which models."""
        names = [model.name for model in self.models]
        near = [(model, circuit) for model in names for circuit in names]
        if self.cross_models == "base":
            near = [(model, circuit) for model, circuit in near if model == circuit or self.base in (model, circuit)]
        return near

    def plan(self) -> Run:
        """What decides which stages and files this run has."""
        unasked = () if self.stability.wordings else ("wordings",)
        return Run(
            models=tuple(model.name for model in self.models),
            base=self.base,
            fine_tuned=tuple(self.fine_tuned()),
            pairs=tuple(self.pairs()),
            leave_out=tuple(dict.fromkeys((*self.leave_out, *unasked))),
            given_scores=tuple(model.name for model in self.models if model.scores is not None),
            given_circuits=tuple(model.name for model in self.models if model.circuit is not None),
        )

    def threshold(self, model: str) -> float:
        """The least relative drop by which pruning keeps a head of a model."""
        own = self.model(model).threshold
        return self.pruning.threshold if own is None else own

    def _bases(self, name: str) -> list[str]:
        base = self.model(name).base
        return [] if base is None else [base, *self._bases(base)]

    def searches_for(self, model: str) -> list[Search]:
        """The chain with the counts of one model."""
        found = []
        for search in self.searches:
            own = next((counts for counts in search.models if counts.model == model), None)
            counts = {} if own is None else own.model_dump(exclude={"model"}, exclude_none=True)
            found.append(search.model_copy(update={**counts, "models": []}))
        return found
