"""Choose the objects and labels that every tokenizer of the run has as one token."""

from _run import downloads, job
from entity_mech.models.sources import build_sources, located
from entity_mech.progress import log
from entity_mech.task.encoding import load_tokenizer
from entity_mech.task.task import Task
from entity_mech.task.usable import usable_words
from entity_mech.task.words import objects_of, write_words

with job(snakemake):
    task = Task.of(snakemake.params.options)
    sources = build_sources(snakemake.params.models)
    tokenizers = {
        name: load_tokenizer(located(sources[name], downloads(snakemake)).folder)
        for name in snakemake.params.tokenizers
    }
    words = usable_words(objects_of(task.objects), list(task.labels), tokenizers, task)
    for values in snakemake.params.wordings.values():
        words = words.narrowed(usable_words(words.objects, words.labels, tokenizers, Task.of(values)))
    log(f"{len(words.objects)} objects and {len(words.labels)} labels")
    for name, dropped in words.dropped.items():
        for word, reason in dropped.items():
            log(f"dropped {word!r}: in {name}'s tokenizer it is {reason}")
    write_words(snakemake.output.words, words)
