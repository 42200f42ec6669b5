# What all rules share: the checked config, the models' sources, and what a job asks of the machine.
import os
import re
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# The package is importable also where it is not installed.
ROOT = Path(workflow.basedir).parent
sys.path.insert(0, str(ROOT))

from entity_mech.config_load import as_yaml, load_config
from entity_mech.config_stages import STAGE_NAMES
from entity_mech.errors import UserError
from entity_mech.failures import summary
from entity_mech.models.sources import hub_sources, input_files, tokenizer_names
from entity_mech.models.sources import tokenizer_source, weight_bytes
from entity_mech.provenance import code_digest
from entity_mech.reporting.study import study_values

# Snakemake leaves the numbers inside `--config 'dcm={epochs: 3}'` as text.
for name, value in workflow.config_settings.config.items():
    update_config(config, {name: as_yaml(value)})

try:
    CONFIG = load_config(config, source=", ".join(map(os.path.relpath, workflow.configfiles)))
    SOURCES = CONFIG.sources()
    TOKENIZER = tokenizer_names(list(SOURCES.values()))
except UserError as error:
    raise WorkflowError(str(error)) from None

config.clear()
config.update(CONFIG.model_dump())  # with the defaults: captions of the report read it

MODELS = list(SOURCES)
FINE_TUNED = CONFIG.fine_tuned()
ADAPTERS = [name for name, source in SOURCES.items() if source.over_base]
ON_HUB = [source.name for source in hub_sources(list(SOURCES.values()))]
SPLITS = list(type(CONFIG.prompts).model_fields)
PURPOSES = ["discovery", "means", "dcm", "evaluation"]
TOKENIZERS = sorted(set(TOKENIZER.values()))
BUILTIN_OBJECTS = ROOT / "entity_mech/task/data/objects.csv"
ENVIRONMENT = "../../environment.yml"

# Tables of the run that put files below each other: (model, file) of each.
MERGED = {
    "path_patching": [(model, f"<results>/models/{model}/path_patching.csv") for model in MODELS],
    "stability": [(model, f"<results>/models/{model}/stability.csv") for model in MODELS],
    "significance": [(model, f"<results>/models/{model}/significance.csv") for model in MODELS],
    "faithfulness": [(model, f"<results>/faithfulness/{model}/{circuit}.csv") for model, circuit in CONFIG.pairs()],
    "circuit_answers": [
        (model, f"<results>/faithfulness/{model}/{circuit}_answers.csv") for model, circuit in CONFIG.pairs()
    ],
    "dcm": [(model, f"<results>/dcm/{model}.csv") for model in MODELS],
    "dcm_curves": [(model, f"<results>/dcm/{model}_curves.csv") for model in MODELS],
    "dcm_heads": [(model, f"<results>/dcm/{model}_heads.csv") for model in MODELS],
    "dcm_answers": [(model, f"<results>/dcm/{model}_answers.csv") for model in MODELS],
}
if FINE_TUNED:
    MERGED["cmap"] = [(model, f"<results>/cmap/{CONFIG.base}__{model}.csv") for model in FINE_TUNED]
MERGED["answers"] = [(model, f"<results>/models/{model}/behaviour.csv") for model in MODELS]

# Stages that a run can leave out, and their merged tables.
STAGES = [stage for stage in STAGE_NAMES if stage not in CONFIG.leave_out]
if not FINE_TUNED and "cmap_inputs" in STAGES:
    STAGES.remove("cmap_inputs")
OPTIONAL = {
    "completeness": {"completeness": "models/{model}/completeness"},
    "circuit_size": {
        "circuit_size": "models/{model}/circuit_size",
        "circuit_size_summary": "models/{model}/circuit_size_summary",
    },
    "role_map": {"role_map": "models/{model}/role_map"},
    "probes": {"probes": "probes/{model}", "probe_masks": "probes/{model}_masks"},
    "knockout": {"knockout": "models/{model}/knockout"},
    "attention": {"attention": "models/{model}/attention", "attention_prompt": "models/{model}/attention_prompt"},
}
for stage in STAGES:
    for table, file in OPTIONAL.get(stage, {}).items():
        MERGED[table] = [(model, f"<results>/{file.format(model=model)}.csv") for model in MODELS]
if "patched_heads" in STAGES:
    MERGED["patched_heads"] = [
        (model, f"<results>/patched_heads/{model}/{circuit}.csv") for model, circuit in CONFIG.pairs()
    ]
    MERGED["patched_answers"] = [
        (model, f"<results>/patched_heads/{model}/{circuit}_answers.csv") for model, circuit in CONFIG.pairs()
    ]
if "cmap_inputs" in STAGES:
    MERGED["cmap_inputs"] = [(model, f"<results>/cmap_inputs/{CONFIG.base}__{model}.csv") for model in FINE_TUNED]
COMPARED = ["overlap", "score_correlation"] if "overlap" in STAGES else []
# Tables that the findings are made from.
FOUND_IN = [
    name
    for name in (
        "behaviour",
        "circuits",
        "answers",
        "faithfulness",
        "circuit_answers",
        "stability",
        "dcm",
        "cmap",
        "overlap",
        "patched_heads",
    )
    if name in MERGED or name in COMPARED or name in ("behaviour", "circuits")
]
# Pairs that no mask has seen: how many of each part.
FRESH = {
    "patching": {str(i): CONFIG.patching.pairs for i in range(CONFIG.patching.resamples)},
    "probes": CONFIG.probes.pairs.model_dump(),
}


def one_of(names):
    """Regular expression of a wildcard that takes these names."""
    return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"


def code(rule):
    """Digest of a rule's script and of the package's code that it uses."""
    script = ROOT / "workflow" / "scripts" / f"{rule}.py"
    return code_digest(script, root=ROOT, memory=Path(".snakemake/code_digests.json"))


def entries(names, *keys):
    """Config entries of models and of those below them (bases, tokenizers): only keys that decide a result."""
    below = {name for name in names if name is not None}
    while (
        more := {
            other
            for name in below
            for other in (CONFIG.model(name).base, CONFIG.model(name).tokenizer)
            if other is not None
        }
        - below
    ):
        below |= more
    kept = {"name", "path", "revision", "base", "tokenizer", "adapter", "trust_remote_code", *keys}
    return [model.model_dump(include=kept) for model in CONFIG.models if model.name in below]


def downloads(names):
    """Records of downloads that these models need, their bases and tokenizers included."""
    needed = [entry["name"] for entry in entries(names)]
    return [f"<results>/models/{name}/download.json" for name in needed if name in ON_HUB]


def tokenizer_files(names):
    """Local files of the tokenizers of these models."""
    owners = [tokenizer_source(SOURCES[name]) for name in names]
    local = [owner.folder for owner in owners if not owner.on_hub]
    return [str(file) for folder in local for file in sorted(folder.glob("*token*"))]


def word_list():
    """The file that holds the objects; none where the config lists them."""
    given = CONFIG.task.objects
    if isinstance(given, list):
        return []
    return os.path.relpath(BUILTIN_OBJECTS) if given == "builtin" else given


def tokens(split):
    """Input function: token file of a split for the model in the wildcards."""
    return lambda wildcards: f"<results>/dataset/tokens/{TOKENIZER[wildcards.model]}/{split}.h5"


def purpose_tokens(wildcards):
    """Token file whose prompts' activations serve a purpose."""
    return tokens("ablation" if wildcards.purpose == "means" else wildcards.purpose)(wildcards)


def purpose_circuit(wildcards):
    """The circuit whose heads are stored; for most purposes all heads are."""
    return f"<results>/circuits/{wildcards.model}.json" if wildcards.purpose == "dcm" else []


def of_model(file):
    """A file of the model in the wildcards."""
    return f"<results>/models/{{model}}/{file}"


def searches_of(model, *keys):
    """The chain of searches of a model as plain values: only these keys of each."""
    return [search.model_dump(include={"name", *keys}) for search in CONFIG.searches_for(model)]


def keep(wildcards):
    """Number of candidates of each search."""
    return {search["name"]: search["keep"] for search in searches_of(wildcards.model, "keep")}


def shards_of(model, searches):
    """Files of all shards of some searches of a model."""
    folder = f"<results>/models/{model}/path_patching"
    return [f"{folder}/{search}/{shard}.h5" for search in searches for shard in range(CONFIG.path_patching.shards)]


def patched_into(wildcards):
    """Names of the earlier searches whose heads a search patches into, in the chain's order."""
    receivers = next(search.receivers for search in CONFIG.searches if search.name == wildcards.search)
    wanted = {one.search for one in receivers if one != "logits"}
    return [search.name for search in CONFIG.searches if search.name in wanted]


def roles():
    """Token roles of the chain, each once."""
    return list(dict.fromkeys(search.token for search in CONFIG.searches))


def machine(wildcards, threads):
    """How a job uses the machine. It takes `threads` so that Snakemake does not track it: it changes no result."""
    model = CONFIG.model(wildcards.model)
    compute = CONFIG.compute.model_dump(include={"batch_size", "rows"})
    batch = compute["batch_size"]
    return {"device": model.device, "batch_size": None if batch == "auto" else batch, "rows": compute["rows"]}


def size_gb(name):
    """Size of a model's weights in GB: measured, or for a hub id what the config says (16 when it says nothing)."""
    own = CONFIG.model(name)
    if not SOURCES[name].on_hub:
        return weight_bytes(SOURCES[name]) / 1e9
    return own.size_gb or 16.0


def memory(base, copies):
    """mem_mb of a job that holds a model: MB without it, and as how many times its weights. Doubles when retried."""
    return lambda wildcards, attempt: int((base + copies * 1000 * size_gb(wildcards.model)) * 2 ** (attempt - 1))


def minutes(base, per_gb):
    """runtime of a job that runs a model: minutes for a small one, and for each GB of weights. Doubles when retried."""
    return lambda wildcards, attempt: int((base + per_gb * size_gb(wildcards.model)) * 2 ** (attempt - 1))


def gpu(wildcards):
    """1 where a model runs on a card, else 0. `auto` means a card on a cluster, and here when there is a driver."""
    device = CONFIG.model(wildcards.model).device
    if device == "auto":
        return int(workflow.non_local_exec or shutil.which("nvidia-smi") is not None)
    return int(device.startswith("cuda"))


def study(*look):
    """What figures need to know about the run, with only these keys of their style."""
    values = study_values(CONFIG)
    return {**values, "look": {key: values["look"][key] for key in look}}


def drawn(stem):
    """A figure's files in every format but png, and its table."""
    others = [form for form in CONFIG.figures.formats if form != "png"]
    return [f"<results>/figures/{stem}.{ending}" for ending in (*others, "csv")]
