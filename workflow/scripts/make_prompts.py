"""Write the prompts of a split as text, and as token ids for each tokenizer of the run."""

from _run import downloads, job
from entity_mech.models.sources import build_sources, located
from entity_mech.task.datasets import build_split, write_split
from entity_mech.task.encoding import load_tokenizer
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_split
from entity_mech.task.words import read_words

with job(snakemake):
    options, split, text = snakemake.params.options, snakemake.wildcards.split, snakemake.output.text
    task, words = Task.of(options["task"]), read_words(snakemake.input.words)
    write_split(build_split(split, words, task, options["prompts"], options["seed"]), text)
    sources = build_sources(snakemake.params.models)
    for name, path in zip(snakemake.params.tokenizers, snakemake.output.tokens, strict=True):
        tokenizer = load_tokenizer(located(sources[name], downloads(snakemake)).folder)
        tokenize_split(text, tokenizer, path, split=split, name=name, seed=options["seed"])
