# What all rules share: the checked config, the models' sources, and what a job asks of the machine.
import os
import re
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# The package beside the workflow, as in all jobs, installed or not. The profile has imported it already, perhaps that
# of another clone, when the environment is shared.
ROOT = Path(workflow.basedir).parent
sys.path.insert(0, str(ROOT))
loaded = sys.modules.get("entity_mech")
if loaded and (ROOT / "entity_mech").is_dir() and not os.path.samefile(*loaded.__path__, ROOT / "entity_mech"):
    for name in [name for name in sys.modules if name.split(".")[0] == "entity_mech"]:
        del sys.modules[name]

from entity_mech.config.files import as_yaml, read_config
from entity_mech.config.load import load_config
from entity_mech.config.notes import notes
from entity_mech.errors import UserError
from entity_mech.failures import summary
from entity_mech.kept import KeptJob, check_kept
from entity_mech.models.sources import hub_sources, input_files, tokenizer_names
from entity_mech.models.sources import tokenizer_source, weight_bytes
from entity_mech.provenance import code_digest, folder_digest
from entity_mech.reporting.catalogue import CATEGORIES, SECTION_OF
from entity_mech.reporting.study import as_param, study_values
from entity_mech.stages.table import JOBS
from entity_mech.stages.table import STAGES as ALL_STAGES
from entity_mech.task.task import Task

MAIN = workflow.is_main_process  # not a job, which Snakemake starts as a process that reads the workflow again
# Snakemake leaves the numbers inside `--config 'dcm={epochs: 3}'` as text.
for name, value in workflow.config_settings.config.items():
    update_config(config, {name: as_yaml(value)})

try:
    if MAIN:
        for file in workflow.configfiles:
            read_config(file)  # Snakemake itself takes the last of a key's values
    names = ", ".join(map(os.path.relpath, workflow.configfiles))
    CONFIG = load_config(config, source=names, check_files=MAIN)
    SOURCES = CONFIG.sources()
    TOKENIZER = tokenizer_names(list(SOURCES.values()))
except UserError as error:
    raise WorkflowError(str(error)) from None

if MAIN:
    for text in notes(CONFIG):
        logger.warning(f"note: {text}")

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

PLAN = CONFIG.plan()
STAGES = PLAN.stages(ALL_STAGES)
# Tables of the run that put files below each other, and the parts of each; all of its tables; those of the findings.
MERGED = {table: parts for stage in STAGES for table, parts in PLAN.merged(stage).items()}
TABLES = [table for stage in STAGES for table in PLAN.tables(stage)]
FOUND_IN = [table for stage in STAGES for table in stage.found_in if table in TABLES]
FIGURES = [figure for stage in STAGES for figure in PLAN.figures(stage, TABLES)]
# Other wordings of the task: name -> values of a Task; none where nobody asks for them.
WORDINGS = CONFIG.wordings() if "wordings" in {stage.name for stage in STAGES} else {}
PROBE_TEXTS = CONFIG.task.model_dump(include={"probe_texts"})
# Jobs that share a search, and the pairs of heads that pruning removes.
SHARDS = CONFIG.path_patching.shards
SEARCHES = [search.name for search in CONFIG.searches]
PRUNING_SHARDS = range(CONFIG.pruning.shards)
# Models that have a score in every search, found or given; that are searched, and pruned, here; and that bring both.
SCORED, SEARCHED, PRUNED = (PLAN.having(need) for need in ("scores", "effects", "pruning"))
GIVEN = {"scores": PLAN.given_scores, "circuit": PLAN.given_circuits}
# Pairs that no mask has seen: how many of each part.
FRESH = {
    "patching": {str(i): CONFIG.patching.pairs for i in range(CONFIG.patching.resamples)},
    "probes": CONFIG.probes.pairs.model_dump(),
}


def sentences(task):
    """What a prompt's text depends on beside its words, of a task's values."""
    return {name: task[name] for name in ("boxes", "template", "query", "separator", "end", "capitalize")}


SENTENCES = sentences(CONFIG.task.model_dump())


def prompt_options(split, wording):
    """What decides the prompts of a split beside the words."""
    return {"prompts": getattr(CONFIG.prompts, split), "task": wording, "seed": CONFIG.seed}


def reworded(split):
    """Input function: token files of a split in the other wordings, in their order, for the model in the wildcards."""
    folder = "<results>/dataset/wordings"
    return lambda wildcards: [f"{folder}/{name}/{TOKENIZER[wildcards.model]}/{split}.h5" for name in WORDINGS]


def one_of(names):
    """Regular expression of a wildcard that takes these names."""
    return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"


def code(script, *modules):
    """Digest of a script, of modules that it loads by name, and of the package's code that they use."""
    path = ROOT / "workflow" / "scripts" / f"{script}.py"
    return code_digest(path, *modules, root=ROOT, memory=Path(".snakemake/code_digests.json"))


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


def split_tokens(wildcards):
    """Token file of the split in the wildcards for the model in them."""
    return tokens(wildcards.split)(wildcards)


def purpose_tokens(wildcards):
    """Token file whose prompts' activations serve a purpose."""
    return tokens("ablation" if wildcards.purpose == "means" else wildcards.purpose)(wildcards)


def purpose_circuit(wildcards):
    """The circuit whose heads are stored; for most purposes all heads are."""
    return f"<results>/circuits/{wildcards.model}.json" if wildcards.purpose == "dcm" else []


def purpose_options(wildcards):
    """What a purpose stores: groups of prompts, and the roles of the tokens. `dcm` takes both from its circuit."""
    sources = ["corrupted", "null"] if CONFIG.path_patching.null_map else ["corrupted"]
    chosen = {
        "discovery": {"groups": sources, "roles": roles()},
        "evaluation": {"groups": ["prompts"], "roles": roles()},
        "means": {"groups": ["prompts"]},  # of every token, whatever the searches
        "dcm": {},
    }
    return {**chosen[wildcards.purpose], "tf32": CONFIG.compute.tf32}


def of_model(file):
    """A file of the model in the wildcards."""
    return f"<results>/models/{{model}}/{file}"


def searches_of(model, *keys):
    """The chain of searches of a model as plain values: only these keys of each."""
    return [search.model_dump(include={"name", *keys}) for search in CONFIG.searches_for(model)]


def effects_of(model, searches):
    """Files of the effects of some searches of a model, every shard."""
    folder = f"<results>/models/{model}/path_patching"
    return [f"{folder}/{search}/{shard}.h5" for search in searches for shard in range(SHARDS)]


def patched_into(wildcards):
    """Earlier searches whose heads a shard's search patches into, in the chain's order; none for a whole chain."""
    if SHARDS == 1:
        return []
    receivers = next(search.receivers for search in CONFIG.searches if search.name == wildcards.search)
    wanted = {one.search for one in receivers if one != "logits"}
    return [search for search in SEARCHES if search in wanted]


def run_here(wildcards):
    """Searches that a job runs."""
    return SEARCHES if SHARDS == 1 else [wildcards.search]


def path_patching_searches(wildcards):
    """The searches that a job runs and those that it patches into, with what decides their scores."""
    # Refined searches run as many heads exactly as are kept; for exact ones their number decides nothing.
    keep = ["keep"] if CONFIG.path_patching.mode == "refined" else []
    searches = searches_of(wildcards.model, "letter", "token", "receivers", "receiver_heads", *keep)
    needed = {*patched_into(wildcards), *run_here(wildcards)}
    return [search for search in searches if search["name"] in needed]


def keep(wildcards):
    """Number of candidates of each search."""
    return {search["name"]: search["keep"] for search in searches_of(wildcards.model, "keep")}


def for_knee(file):
    """An input that is needed only where a search of the model keeps as many heads as the knee says."""
    return lambda wildcards: file(wildcards) if "knee" in keep(wildcards).values() else []


def pruning_options(wildcards):
    """What decides which candidates of the model in the wildcards are kept."""
    return {**CONFIG.pruning.model_dump(exclude={"shards"}), "threshold": CONFIG.threshold(wildcards.model)}


def given_file(key):
    """Input function: the file of scores or of a circuit that the config gives with the model in the wildcards."""
    return lambda wildcards: getattr(CONFIG.model(wildcards.model), key)


def roles():
    """Token roles of the chain, each once."""
    return list(dict.fromkeys(search.token for search in CONFIG.searches))


# Roles whose tokens' means are by role: those where circuits have heads; in the role map, all. And the other way.
_ABLATIONS = {"position": [], "role": roles()}
BY_ROLE = _ABLATIONS[CONFIG.ablation]
# Without BOS, which not every tokenizer has, and which always stands at the same place.
EVERY_ROLE = list(Task.of(CONFIG.task.model_dump(include={"template", "query"})).roles[1:]) if BY_ROLE else []
OTHER_ABLATION = {name: tokens for name, tokens in _ABLATIONS.items() if name != CONFIG.ablation}


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


def asks(rule, share=1):
    """Resources of a rule's jobs, as the table of stages has them. share: of the rule's time that one job takes.

    mem_mb and runtime (minutes) double when a job is retried; gpu is 1 where a model runs on a card, else 0.
    """
    job = JOBS[rule]

    def memory(wildcards, attempt):
        weights = 1000 * size_gb(wildcards.model) if job.copies else 0
        return int((job.megabytes + job.copies * weights) * 2 ** (attempt - 1))

    def minutes(wildcards, attempt):
        per_model = job.minutes_per_gb * size_gb(wildcards.model) if job.minutes_per_gb else 0
        return int((job.minutes + share * per_model) * 2 ** (attempt - 1))

    return {"mem_mb": memory, "runtime": minutes, "gpu": gpu if job.kind == "model" else 0}


def gpu(wildcards):
    """1 where a model runs on a card, else 0. `auto` means a card on a cluster, and here when there is a driver."""
    device = CONFIG.model(wildcards.model).device
    if device == "auto":
        return int(workflow.non_local_exec or shutil.which("nvidia-smi") is not None)
    return int(device.startswith("cuda"))


def study(*look):
    """What figures need to know about the run, with only these keys of their style."""
    values = study_values(CONFIG)
    return as_param({**values, "look": {key: values["look"][key] for key in look}})


def shown_in(figure):
    """The models that have a figure of their own."""
    return PLAN.having(figure.needs)


def drawn(figure, *endings):
    """Files of a figure with these endings, one of each model where it is drawn for each."""
    stems = [figure.stem.format(model=model) for model in shown_in(figure)] if figure.per_model else [figure.stem]
    return [f"<results>/figures/{stem}.{ending}" for stem in stems for ending in endings]
