"""Write the pairs of each desideratum as text, and as token ids for each tokenizer of the run."""

from _run import downloads, job
from entity_mech.models.sources import build_sources, located
from entity_mech.task.datasets import build_pairs, write_split
from entity_mech.task.encoding import load_tokenizer
from entity_mech.task.task import Task
from entity_mech.task.tokenize import tokenize_split
from entity_mech.task.words import read_words

with job(snakemake):
    options, text = snakemake.params.options, snakemake.output.text
    task, words = Task.of(options["task"]), read_words(snakemake.input.words)
    pairs = build_pairs(options["desiderata"], words, task, options["pairs"], options["seed"])
    write_split(pairs, text)
    sources = build_sources(snakemake.params.models)
    for name, path in zip(snakemake.params.tokenizers, snakemake.output.tokens, strict=True):
        tokenizer = load_tokenizer(located(sources[name], downloads(snakemake)).folder)
        tokenize_split(text, tokenizer, path, split="dcm", name=name, seed=options["seed"])
