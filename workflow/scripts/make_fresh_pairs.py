"""Write pairs that no mask has seen: resamples of each desideratum, or the position probes."""

from _run import downloads, job
from entity_mech.models.sources import build_sources, located
from entity_mech.task.datasets import build_pairs, write_split
from entity_mech.task.encoding import load_tokenizer
from entity_mech.task.pair_kinds import PLAIN_PROBE
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_split
from entity_mech.task.words import read_words

with job(snakemake):
    options, text, split = snakemake.params.options, snakemake.output.text, snakemake.wildcards.fresh
    task, words = Task.of(options["task"]), read_words(snakemake.input.words)
    kinds = options["desiderata"] if split == "patching" else (PLAIN_PROBE, *task.probes)
    write_split(build_pairs(kinds, words, task, options["sizes"], options["seed"]), text)
    sources = build_sources(snakemake.params.models)
    for name, path in zip(snakemake.params.tokenizers, snakemake.output.tokens, strict=True):
        tokenizer = load_tokenizer(located(sources[name], downloads(snakemake)).folder)
        tokenize_split(text, tokenizer, path, split=split, name=name, seed=options["seed"])
