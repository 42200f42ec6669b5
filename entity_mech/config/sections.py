"""The sections of a config: every key, what it means, what is allowed, its unit, its default and what it costs.

These models are the only truth about the keys; `schema.py` says what a whole config is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Tag

from entity_mech.config.keys import (
    DEVICE,
    IDENTIFIER,
    KIND,
    LETTER,
    NAME,
    NAME_LENGTH,
    Batch,
    BatchSize,
    FilePath,
    Gigabytes,
    Heads,
    Keep,
    Label,
    Real,
    Section,
    Share,
    Text,
    key,
)
from entity_mech.config.task_keys import Wording

MOST = 1_000_000  # prompts, pairs, steps: more than any study asks for


class Model(Section):
    """A model of the run."""

    name: str = key(
        ..., "Name of the model, in file names and elsewhere in the config.", pattern=NAME, max_length=NAME_LENGTH
    )
    path: FilePath = key(
        ...,
        "Where it is: a local folder (relative to the working directory) or a hub id. A model's folder has "
        "config.json, safetensors and a tokenizer; a PEFT adapter's has adapter_config.json and is put "
        "over its `base`.",
    )
    revision: Text | None = key(None, "Branch, tag or commit of a hub id.")
    base: str | None = key(
        None, "Name of the model that it was fine-tuned from; empty if it was trained from scratch."
    )
    tokenizer: str | None = key(
        None,
        "Name of another model whose tokenizer it shares. Not needed for local folders, whose tokenizers "
        "are compared. For a hub id it saves a second set of token files.",
    )
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = key(
        "float32",
        "Number format in which it runs.",
        cost="bfloat16 halves memory and, on a GPU, more than halves time",
    )
    device: str = key("auto", "auto (a GPU if there is one), cpu, cuda or cuda:N.", pattern=DEVICE)
    label: Label | None = key(None, "Name shown in figures; `name` by default.")
    adapter: bool = key(
        False,
        "Set for a hub id that is a PEFT adapter over its `base`; local folders are recognised by their files.",
    )
    size_gb: Gigabytes | None = key(
        None,
        "Size of a hub id's weights, used to request memory on a cluster. Local folders are measured.",
        unit="GB",
    )
    trust_remote_code: bool = key(False, "Whether a model's own Python code may run when it is prepared.")
    scores: FilePath | None = key(
        None,
        "Table of path-patching scores (CSV: search, layer, head, score) that is used instead of searching; see "
        "docs/published.md. Candidates are chosen from it.",
        cost="saves path_patch",
    )
    circuit: FilePath | None = key(
        None,
        "File of a circuit (a run's circuits/{model}.json, or lists of [layer, head] by group) that is used instead "
        "of searching and pruning.",
        cost="saves path_patch and prune_circuit",
    )
    threshold: Share | None = key(
        None,
        "Its own pruning.threshold. A given circuit is not pruned: then it is the threshold that the circuit has "
        "behind it, which is only written down.",
        unit="share of accuracy",
    )


class Prompts(Section):
    """How many prompts of each split; the splits share no scene."""

    discovery: int = key(
        280, "Prompts on which the searches score heads.", unit="prompts", cost="time of path_patch", ge=1, le=MOST
    )
    pruning: int = key(
        280, "Prompts on which circuits are pruned.", unit="prompts", cost="time of prune_circuit", ge=1, le=MOST
    )
    ablation: int = key(
        500,
        "Prompts over which head outputs are averaged for mean ablation, and as many of varying layout.",
        unit="prompts",
        cost="time of store_activations",
        ge=1,
        le=MOST,
    )
    evaluation: int = key(
        490,
        "Prompts on which behaviour, faithfulness and CMAP are measured.",
        unit="prompts",
        cost="time of measure_faithfulness and patch_across_models; wider intervals when small",
        ge=1,
        le=MOST,
    )


class Receiver(Section):
    """An input of the heads that an earlier search found."""

    search: str = key(..., "Name of an earlier search, whose top heads receive.")
    input: Literal["q", "k", "v"] = key(
        ..., "Which input is patched: q at the receivers' own token, k and v at the sender's."
    )


Desideratum = Literal["object", "label", "position", "known_object"]
Source = Annotated[Annotated[Literal["logits"], Tag("(word)")] | Annotated[Receiver, Tag("(other)")], KIND]


class ModelCounts(Section):
    """Counts of one model that differ from the search's."""

    model: str = key(..., "Name of the model.")
    receiver_heads: Heads | None = key(None, "Its own receiver_heads.", unit="heads")
    keep: Keep | None = key(None, "Its own keep.", unit="heads")


class Search(Section):
    """One search of the chain: which heads, at one token, matter to the receivers."""

    name: str = key(..., "Name of the group of heads that it finds.", pattern=IDENTIFIER, max_length=NAME_LENGTH)
    letter: str = key(..., "Its letter in tables and figures.", pattern=LETTER)
    token: str = key(
        ...,
        "Token role at which its heads (the senders) sit: `last`, `query_label`, `previous_label`, `correct_object`, "
        "`separator`, or another word of the template or the query.",
    )
    receivers: list[Source] = key(
        ..., "What is patched: `logits` alone, or inputs of heads found by earlier searches.", min_length=1
    )
    receiver_heads: Heads = key(10, "Number of its top heads that later searches patch into.", unit="heads")
    keep: Keep = key(
        10,
        "How many of its top heads are candidates for the circuit; `knee`: the smallest number that "
        "reaches 95% of the accuracy at the largest.",
        unit="heads",
        cost="pruning tries every pair of candidates of a group",
    )
    carries: Desideratum | None = key(
        None,
        "Desideratum whose heads stand for the group when models are patched into each other; the whole group when "
        "nothing is given, or when no head carries it.",
    )
    models: list[ModelCounts] = key(list, "Models whose counts differ.")


class PathPatching(Section):
    """The searches."""

    prompts: Literal["all", "correct"] = key(
        "correct",
        "Score on the discovery prompts that the model answers correctly, or on all (as published). Scores are "
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
        le=1000,
    )


class Pruning(Section):
    """Minimality of the circuit."""

    threshold: Real = key(
        0.01,
        "A head is kept if accuracy falls by at least this share without it.",
        unit="share of accuracy",
        ge=0,
        le=1,
    )
    knockout_fraction: Real = key(
        0.3, "Largest share of a head's group that is removed together with it.", unit="share of heads", ge=0, le=1
    )
    least_prompts: int = key(
        2,
        "Fewest right answers that must be lost without a head for it to be kept: where prompts are few, one of them "
        "is more than the threshold, and no evidence. 1: as published.",
        unit="prompts",
        ge=0,
        le=MOST,
    )
    restore_below: Real = key(
        0.9,
        "Heads come back where the pruned circuit has less than this share of the accuracy that its candidates have; "
        "0: never, as published.",
        unit="share of accuracy",
        ge=0,
        le=1,
    )
    shards: int = key(
        1, "Jobs that share the pairs of heads of a model. Every job loads it.", unit="jobs", ge=1, le=1000
    )


class Stability(Section):
    """How much a circuit hangs on the scenes and on the words that it was found on."""

    resamples: int = key(
        200, "Times that scenes are drawn anew to choose and prune heads again.", unit="resamples", ge=1, le=100_000
    )
    wordings: list[Wording] = key(
        list,
        "Other wordings of the task, in which each circuit is run and its searches are repeated: are the heads the "
        "task's or the wording's? Every token of the chain must be in them.",
        cost="each takes as long as path_patch and a little more, for every model",
    )


class Faithfulness(Section):
    """Every circuit on every model."""

    random_circuits: int = key(
        100,
        "Random circuits beside each, of its size; 29 are the fewest that can show that it beats nine in ten.",
        unit="circuits",
        cost="time of measure_faithfulness",
        ge=0,
        le=100_000,
    )


class Pairs(Section):
    """Pairs of prompts for each desideratum."""

    train: int = key(1000, "Pairs on which masks are trained.", unit="pairs", cost="time of train_dcm", ge=1, le=MOST)
    validation: int = key(
        300, "Pairs on which the best mask is chosen.", unit="pairs", cost="most of train_dcm's time", ge=1, le=MOST
    )
    test: int = key(300, "Pairs on which accuracy is reported.", unit="pairs", ge=1, le=MOST)


class Dcm(Section):
    """Desiderata-based component masking: what a group carries."""

    pairs: Pairs = key(Pairs, "How many pairs of prompts.")
    desiderata: list[Desideratum] = key(
        lambda: ["object", "label", "position"],
        "What a group may carry. `known_object`: an object's identity, by which it is found where it stands in the "
        "prompt.",
        cost="time of train_dcm and patch_dcm_heads, for each as much",
        min_length=1,
    )
    learning_rate: Real = key(0.1, "Adam's step; masks go from 0 to 1.", gt=0, le=1)
    penalty: Real = key(
        0.01, "Penalty for each patched head (the paper's lambda).", unit="logits per head", ge=0, le=1000
    )
    epochs: int = key(2, "Passes over the training pairs.", unit="epochs", cost="time of train_dcm", ge=1, le=1000)
    batch_size: Batch = key(32, "Pairs in a training step.", unit="pairs")
    validate_every: int = key(4, "Steps between validations.", unit="steps", cost="time of train_dcm", ge=1, le=MOST)
    ties: Literal["fewer", "more"] = key(
        "fewer",
        "Which of two equally accurate masks is kept: the one with fewer heads, or with more (as published).",
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
        le=100_000,
    )


class Completeness(Section):
    """The circuit and the whole model with the same heads removed from both."""

    random_halves: int = key(
        20,
        "Random halves of the circuit that are removed.",
        unit="draws",
        cost="time of measure_completeness",
        ge=1,
        le=100_000,
    )


class Patching(Section):
    """Heads that masks chose, patched on fresh pairs: every circuit's heads in every model."""

    pairs: int = key(100, "Pairs in a resample.", unit="pairs", cost="time of patch_dcm_heads", ge=1, le=MOST)
    resamples: int = key(5, "Resamples of pairs.", unit="resamples", cost="time of patch_dcm_heads", ge=1, le=1000)


class ProbePairs(Section):
    """Pairs of prompts for each probe."""

    train: int = key(
        300, "Pairs on which masks are trained.", unit="pairs", cost="time of probe_position", ge=1, le=MOST
    )
    validation: int = key(100, "Pairs on which the best mask is chosen.", unit="pairs", ge=1, le=MOST)
    test: int = key(300, "Pairs on which accuracy is reported.", unit="pairs", ge=1, le=MOST)


class Probes(Section):
    """Eleven changes to the source prompt, to see what a group means by position."""

    group: str = key("position_transmitter", "Search whose group is probed.", min_length=1)
    pairs: ProbePairs = key(ProbePairs, "How many pairs of prompts for each probe.")


class Attention(Section):
    """Attention of each group's strongest heads."""

    heads: int = key(3, "Heads of a group, the strongest first.", unit="heads", ge=1, le=100)


class Compute(Section):
    """The machine. Only `tf32` can change a number, so only it makes stages run again."""

    threads: int = key(1, "CPU threads of a job that runs a model.", unit="threads", ge=1, le=1024)
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
        le=10**9,
    )
    tf32: bool = key(False, "TF32 on cards that have it.", cost="several times faster in float32; scores to 3 digits")
