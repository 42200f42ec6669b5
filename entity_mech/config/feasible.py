"""Whether the words of a run are enough for what it asks of them: prompts, pairs, probes. Decided before any job.

Tokenizers may still drop words, so that what is refused here could never have run; the jobs look again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from entity_mech.config.messages import nearest
from entity_mech.config.schema import Config
from entity_mech.errors import UserError, shown
from entity_mech.task.pair_kinds import what_pairs_need
from entity_mech.task.probes import probe_lacking
from entity_mech.task.scenes import scene_counts
from entity_mech.task.words import Words, objects_of, word_problems

BUILTIN = "builtin"
_NAMED = 5  # mistakes of a list that are named


def check_words(config: Config) -> list[str]:
    """The words that stand in the config, or ship with the project."""
    given = config.task.objects
    if isinstance(given, str) and given != BUILTIN:
        return []
    found = []
    if not isinstance(given, str):
        problems = list(word_problems([*given, *config.task.labels]))[:_NAMED]
        found = [
            f"task.objects[{place}]: {problem}."
            if place < len(given)
            else f"task.objects: {problem}: it is a label too (task.labels)."
            for place, problem in problems
        ]
    return found or _too_few(config, objects_of(given))


def check_word_file(config: Config) -> list[str]:
    """The list of words that the config names."""
    given = config.task.objects
    if not isinstance(given, str) or given == BUILTIN:
        return []
    if not Path(given).exists():
        allowed = f"`{BUILTIN}`, a list of words or a file"
        return [f"task.objects: there is no file {given!r}; allowed: {allowed}.{nearest(given, [BUILTIN])}"]
    try:
        words = objects_of(given)
    except UserError as error:
        return [f"task.objects: {error}."]
    both = sorted(set(words) & set(config.task.labels))
    if both:
        return [f"task.objects: {shown(given)} has {', '.join(both)}, which are labels too (task.labels)."]
    return _too_few(config, words)


def _too_few(config: Config, objects: Sequence[str]) -> list[str]:
    """What there are too few words for."""
    boxes = config.task.boxes
    if len(objects) < 2 * boxes:
        return [
            f"task.objects: {len(objects)} objects are too few for {boxes} boxes: two scenes that share none take "
            f"{2 * boxes}."
        ]
    labels = tuple(config.task.labels)
    if len(set(labels)) < len(labels) or len(labels) <= boxes:
        return []  # `load.py` says so
    return [*_pairs(config, len(objects), len(labels)), *_scenes(config, Words(tuple(objects), labels))]


def _pairs(config: Config, objects: int, labels: int) -> Iterator[str]:
    """Desiderata and probes that so many words cannot show."""
    for kind in config.dcm.desiderata:
        if needed := what_pairs_need(kind, config.task.boxes, objects, labels):
            there = f"{config.task.boxes} boxes, {objects} objects and {labels} labels"
            yield f"dcm.desiderata: {kind!r} needs {needed}; there are {there}."
    if "probes" in config.leave_out:
        return
    try:
        task = config.the_task()
    except UserError:
        return  # `load.py` says what is wrong with the sentences
    for probe in task.probes:
        if problem := probe_lacking(probe, task, objects, labels):
            yield f"probes: for {probe!r} {problem}. Or put `probes` into leave_out."


def _scenes(config: Config, words: Words) -> Iterator[str]:
    """Splits that ask for more different scenes than there are."""
    boxes, prompts, pairs = config.task.boxes, config.prompts, config.dcm.pairs
    wanted = {f"prompts.{name}": (name, -(-n // boxes)) for name, n in prompts.model_dump().items()}
    wanted["prompts.ablation"] = ("ablation", prompts.ablation)  # each of another scene
    wanted |= {f"dcm.pairs.{name}": (name, -(-n // boxes)) for name, n in pairs.model_dump().items()}
    if "patched_heads" not in config.leave_out:
        wanted["patching.pairs"] = ("patching", -(-config.patching.pairs // boxes))
    if "probes" not in config.leave_out:
        probes = config.probes.pairs.model_dump()
        wanted |= {f"probes.pairs.{name}": (name, -(-n // boxes)) for name, n in probes.items()}
    counts = scene_counts(words, boxes)
    for key, (share, scenes) in wanted.items():
        if scenes > counts[share]:
            yield (
                f"{key}: needs {scenes} different scenes; {len(words.objects)} objects and {len(words.labels)} "
                f"labels in {boxes} boxes make {counts[share]} for it. Use more words, or ask for fewer."
            )
