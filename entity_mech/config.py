"""The config of a run: every key, what it means, what is allowed, its unit, its default and what it costs.

These models are the only truth: `config/config.yaml`, `workflow/schemas/config.schema.yaml` and the tables of
`config/README.md` are written from them (`python -m entity_mech.config_files write`), the defaults are the
default run. `config_load.load_config` turns a config file's mapping into a checked `Config`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from entity_mech.config_keys import Real, Section, key
from entity_mech.config_stages import Attention, Completeness, Patching, Probes, Stage
from entity_mech.models.sources import ModelSource, build_sources

NAME = r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$"
IDENTIFIER = r"^[a-z][a-z0-9_]*$"

Role = Literal[
    "bos", "the", "object", "is", "in", "box", "label", "separator",
    "query_box", "query_label", "contains", "last", "previous_label", "correct_object",
]  # fmt: skip


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "(word)"
    return "(list)" if isinstance(value, (list, tuple)) else "(other)"


# Keys that hold a word or something else. The tags let an error be about the one that was meant.
_KIND = Discriminator(_kind)
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Keep = Annotated[Annotated[Literal["knee"], Tag("(word)")] | Annotated[Natural, Tag("(other)")], _KIND]
BatchSize = Annotated[Annotated[Literal["auto"], Tag("(word)")] | Annotated[Positive, Tag("(other)")], _KIND]
Objects = Annotated[Annotated[str, Tag("(word)")] | Annotated[list[str], Tag("(list)")], _KIND]


class Model(Section):
    """A model of the run."""

    name: str = key(..., "Name of the model, in file names and elsewhere in the config.", pattern=NAME)
    path: str = key(
        ...,
        "Where it is: a local folder (relative to the working directory) or a hub id. A model's folder has "
        "config.json, safetensors and a tokenizer; a PEFT adapter's has adapter_config.json and is put "
        "over its `base`.",
        min_length=1,
    )
    revision: str | None = key(None, "Branch, tag or commit of a hub id.")
    base: str | None = key(
        None, "Name of the model it was fine-tuned from; nothing for a model that was trained from scratch."
    )
    tokenizer: str | None = key(
        None,
        "Name of another model whose tokenizer it shares. Not needed for local folders, whose tokenizers "
        "are compared. For a hub id it saves a second set of token files.",
    )
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = key(
        "float32",
        "Number format in which it runs.",
        cost="bfloat16 halves memory and, on a card, more than halves time",
    )
    device: str = key(
        "auto", "auto (a card when there is one), cpu, cuda or cuda:N.", pattern=r"^(auto|cpu|cuda(:\d+)?)$"
    )
    label: str | None = key(None, "Name shown in figures; its `name` when left out.")
    adapter: bool = key(
        False,
        "Whether a hub id is a PEFT adapter over its `base`. A local folder says so itself (adapter_config.json).",
    )
    size_gb: Real | None = key(
        None,
        "Size of a hub id's weights, from which memory is asked of a cluster. Local folders are measured.",
        unit="GB",
        gt=0,
    )
    trust_remote_code: bool = key(False, "Whether a model's own Python code may run when it is prepared.")


class Task(Section):
    """Scenes and prompts: `The {object} is in Box {label}, ... . Box {label} contains the`."""

    boxes: int = key(7, "Boxes in a scene; chance is 1 / boxes.", unit="boxes", ge=2, le=25)
    objects: Objects = key(
        "builtin",
        "Objects that may be in a box: `builtin`, a list of words, or the path of a text file (a word a "
        "line) or a CSV file (its first column). A word is used when it is one token in every tokenizer of "
        "the run.",
    )
    labels: str = key("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Letters that may label a box.", pattern=r"^[A-Z]+$")


class Prompts(Section):
    """How many prompts of each split; the splits share no scene."""

    discovery: int = key(
        280, "Prompts on which the searches score heads.", unit="prompts", cost="time of path_patch", ge=1
    )
    pruning: int = key(
        280, "Prompts on which circuits are pruned.", unit="prompts", cost="time of prune_circuit", ge=1
    )
    ablation: int = key(500, "Prompts over which head outputs are averaged for mean ablation.", unit="prompts", ge=1)
    evaluation: int = key(
        490,
        "Prompts on which behaviour, faithfulness and CMAP are measured.",
        unit="prompts",
        cost="time of measure_faithfulness and patch_across_models; wider intervals when small",
        ge=1,
    )


class Receiver(Section):
    """An input of the heads that an earlier search found."""

    search: str = key(..., "Name of an earlier search, whose top heads receive.")
    input: Literal["q", "k", "v"] = key(
        ..., "Which input is patched: q at the receivers' own token, k and v at the sender's."
    )


Source = Annotated[Annotated[Literal["logits"], Tag("(word)")] | Annotated[Receiver, Tag("(other)")], _KIND]


class ModelCounts(Section):
    """Counts of one model that differ from the search's."""

    model: str = key(..., "Name of the model.")
    receiver_heads: int | None = key(None, "Its own receiver_heads.", unit="heads", ge=0)
    keep: Keep | None = key(None, "Its own keep.", unit="heads")


class Search(Section):
    """One search of the chain: which heads, at one token, matter to the receivers."""

    name: str = key(..., "Name of the group of heads that it finds.", pattern=IDENTIFIER)
    letter: str = key(..., "Its letter in tables and figures.", pattern=r"^[A-Z]$")
    token: Role = key(..., "Token role at which its heads (the senders) sit.")
    receivers: list[Source] = key(
        ..., "What is patched: `logits` alone, or inputs of heads found by earlier searches.", min_length=1
    )
    receiver_heads: int = key(10, "How many of its top heads later searches patch into.", unit="heads", ge=0)
    keep: Keep = key(
        10,
        "How many of its top heads are candidates for the circuit; `knee`: the smallest number that "
        "reaches 95% of the accuracy at the largest.",
        unit="heads",
        cost="pruning tries every pair of candidates of a group",
    )
    carries: Literal["object", "label", "position"] | None = key(
        None,
        "Desideratum whose heads stand for the group when models are patched into each other; the whole group when "
        "nothing is given, or when no head carries it.",
    )
    models: list[ModelCounts] = key(list, "Models whose counts differ.")


class PathPatching(Section):
    """The searches."""

    prompts: Literal["all", "correct"] = key(
        "correct",
        "Score on the discovery prompts that the model answers rightly, or on all (as published). Scores are "
        "relative to the answer's probability: one prompt with next to none can hide a head.",
    )
    mode: Literal["exact", "refined"] = key(
        "exact",
        "exact: every head. refined: first-order scores choose which heads are run exactly, the others keep "
        "first-order scores and are marked so; no null maps for searches into heads.",
        cost="exact: about three times the time of refined on a model of 135M, but less than it where few heads send",
    )
    null_map: bool = key(
        True,
        "Whether a null map stands beside each map: corrupted outputs from a prompt with the same answer "
        "and position.",
        cost="twice the time of path_patch",
    )
    shards: int = key(
        1,
        "Jobs that share each search of a model, each a part of the layers; more than one needs `mode: exact`. "
        "Every job loads the model.",
        unit="jobs",
        ge=1,
    )


class Pruning(Section):
    """Minimality of the circuit."""

    threshold: Real = key(
        0.01, "A head stays when accuracy falls by this share without it.", unit="share of accuracy"
    )
    knockout_fraction: Real = key(
        0.3, "Largest share of a head's group that is removed beside it.", unit="share of heads", ge=0, le=1
    )
    shards: int = key(1, "Jobs that share the pairs of heads of a model. Every job loads it.", unit="jobs", ge=1)


class Stability(Section):
    """How much a circuit hangs on the scenes it was found on."""

    resamples: int = key(
        200, "Times that scenes are drawn anew to choose and prune heads again.", unit="resamples", ge=1
    )


class Faithfulness(Section):
    """Every circuit on every model."""

    random_circuits: int = key(
        100,
        "Random circuits beside each, of its size; 29 are the fewest that can show that it beats nine in ten.",
        unit="circuits",
        cost="time of measure_faithfulness",
        ge=0,
    )


class Pairs(Section):
    """Pairs of prompts for each desideratum."""

    train: int = key(1000, "Pairs on which masks are trained.", unit="pairs", cost="time of train_dcm", ge=1)
    validation: int = key(
        300, "Pairs on which the best mask is chosen.", unit="pairs", cost="most of train_dcm's time", ge=1
    )
    test: int = key(300, "Pairs on which accuracy is reported.", unit="pairs", ge=1)


class Dcm(Section):
    """Desiderata-based component masking: what a group carries."""

    pairs: Pairs = key(Pairs, "How many pairs of prompts.")
    desiderata: list[Literal["object", "label", "position"]] = key(
        lambda: ["object", "label", "position"], "What a group may carry.", min_length=1
    )
    learning_rate: Real = key(0.1, "Adam's step.", gt=0)
    penalty: Real = key(0.01, "Loss of each head that is patched (the paper's lambda).", unit="logits per head", ge=0)
    epochs: int = key(2, "Passes over the training pairs.", unit="epochs", cost="time of train_dcm", ge=1)
    batch_size: int = key(32, "Pairs in a training step.", unit="pairs", ge=1)
    validate_every: int = key(4, "Steps between validations.", unit="steps", cost="time of train_dcm", ge=1)
    ties: Literal["fewer", "more"] = key(
        "fewer",
        "Which of two equally good masks is kept: that with fewer heads, or with more (as published).",
    )


class Cmap(Section):
    """Cross-model activation patching between the base and each model fine-tuned from it."""

    directions: list[Literal["into_base", "into_fine_tuned"]] = key(
        lambda: ["into_base", "into_fine_tuned"], "Which model of a pair is patched.", min_length=1
    )
    random_draws: int = key(
        20,
        "Draws of as many random heads outside both circuits; 20 are the fewest that can show p < 0.05.",
        unit="draws",
        cost="time of patch_across_models",
        ge=0,
    )


class Figures(Section):
    """Style of the figures. Each key redraws only the figures that use it."""

    formats: list[Literal["png", "pdf", "svg"]] = key(
        lambda: ["png", "pdf"], "File formats; png must be there, for the report."
    )
    dpi: int = key(200, "Resolution of png figures.", unit="dots per inch", ge=50, le=1200)
    font_size: Real = key(8, "Size of the text.", unit="points", ge=4, le=24)
    palette: str = key("colorblind", "Seaborn palette of models and groups.", min_length=1)
    colormap: str = key(
        "RdBu", "Matplotlib colour map of the layer-by-head maps (red: the answer suffers).", min_length=1
    )


class Compute(Section):
    """The machine. Only `tf32` can change a number, so only it makes stages run again."""

    threads: int = key(1, "CPU threads of a job that runs a model.", unit="threads", ge=1)
    batch_size: BatchSize = key(
        "auto",
        "Prompts at a time; `auto` chooses from free memory and says what was chosen.",
        unit="prompts",
        cost="memory",
    )
    rows: int = key(
        65536,
        "Tokens (heads x prompts x tokens from the patched one on) that path patching holds at once.",
        unit="tokens",
        cost="memory",
        ge=1,
    )
    tf32: bool = key(False, "TF32 on cards that have it.", cost="several times faster in float32; scores to 3 digits")


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

    run: str = key("tiny", "Name of the run; its results go to results/{run}.", pattern=NAME)
    seed: int = key(0, "Seed from which every random choice is derived.", ge=0)
    base: str = key("base", "Name of the study's base model, against which fine-tuned ones are held.")
    models: list[Model] = key(
        tiny_models,
        "The models. Those fine-tuned from the study's base are compared with it across models (CMAP); "
        "every circuit is measured on every model, or as `cross_models` says.",
        cost="time of every stage; faithfulness grows with the square",
        min_length=1,
    )
    cross_models: Literal["all", "base"] = key(
        "all",
        "Whose circuits are measured on which model: all on all, or the study's base on each, each on the base, and "
        "each on itself.",
        cost="all: jobs of measure_faithfulness and patch_dcm_heads grow with the square of the models",
    )
    task: Task = key(Task, "Scenes and prompts.")
    prompts: Prompts = key(Prompts, "How many prompts of each split. Every scene is asked for each of its boxes.")
    searches: list[Search] = key(
        tiny_searches,
        "The chain of path-patching searches, in order; each finds one group of heads.",
        min_length=1,
    )
    path_patching: PathPatching = key(PathPatching, "How heads are scored.")
    pruning: Pruning = key(Pruning, "How a circuit is pruned.")
    stability: Stability = key(Stability, "How often other scenes would give the same heads.")
    faithfulness: Faithfulness = key(Faithfulness, "How circuits are compared with the whole model.")
    dcm: Dcm = key(Dcm, "What each group carries.")
    cmap: Cmap = key(Cmap, "What fine-tuning improved.")
    completeness: Completeness = key(Completeness, "Whether a circuit lacks anything.")
    patching: Patching = key(Patching, "Heads that carry something, patched in every model.")
    probes: Probes = key(Probes, "What position means.")
    attention: Attention = key(Attention, "Where the strongest heads look.")
    leave_out: list[Stage] = key(list, "Optional stages that this run does without.")
    figures: Figures = key(Figures, "Style of the figures.")
    compute: Compute = key(Compute, "What the run may use of the machine.")

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
