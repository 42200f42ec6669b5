"""The splits of a dataset: built from scenes, written as one readable line per record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entity_mech.errors import UserError
from entity_mech.files import atomic_path
from entity_mech.task.counterfactuals import Queries, corrupted, desideratum, every_box, null
from entity_mech.task.layouts import FOLDER, Varied, varied_layouts
from entity_mech.task.pair_kinds import DESIDERATA, PLAIN_PROBE, PROBES
from entity_mech.task.probes import ProbeSources, probe_sources
from entity_mech.task.prompts import PLAIN, Prompt, render
from entity_mech.task.scenes import Scene, Scenes, SceneSource
from entity_mech.task.seeds import generator
from entity_mech.task.task import Task
from entity_mech.task.words import Words

PROMPT_SPLITS = ("discovery", "pruning", "ablation", "evaluation")


@dataclass(frozen=True)
class Record:
    """A line of a split: prompts that belong together, by name.

    part: where it belongs in the split, "" when the split has one part, else "{desideratum or probe}/{part}".
    prompts: `prompts` alone; or `clean`, `corrupted` and `null`; or `base` and `source`.
    target: the object that patching the source into the base should give; None where there are no pairs.
    """

    part: str
    prompts: dict[str, Prompt]
    target: str | None = None


def build_split(name: str, words: Words, task: Task, n: int, seed: int) -> list[Record]:
    """n records of a split of prompts: discovery, pruning, ablation or evaluation (method, section 1).

    Every scene is asked for all its boxes, in the order of the text; when n is no multiple of the number of boxes,
    the last scene is asked for fewer. discovery: each clean prompt has a corrupted and a null partner. ablation:
    every prompt is another scene, and its query label is drawn from all labels; as many prompts of varying layout
    follow, a part for each number of segments. Raises UserError when the words make too few scenes.
    """
    if name not in PROMPT_SPLITS:
        raise UserError(f"split {name!r}: allowed are {', '.join(PROMPT_SPLITS)}")
    source = SceneSource(words, task.boxes, name, generator(seed, "split", name))
    write = _Writer(words, task)
    if name == "ablation":
        return [*_ablation(write, source, source.draw_distinct(n)), *_layouts(write, n, seed)]
    clean = every_box(source, n)
    if name != "discovery":
        return [Record("", {"prompts": write(clean, row)}) for row in range(n)]
    broken, labels, segments = corrupted(source, clean)
    same = null(source, clean)
    return [
        Record(
            "",
            {
                "clean": write(clean, row),
                "corrupted": write(
                    broken, row, query_label=words.labels[labels[row]], role_segment=int(segments[row])
                ),
                "null": write(same, row),
            },
        )
        for row in range(n)
    ]


def build_pairs(kinds: Sequence[str], words: Words, task: Task, sizes: Mapping[str, int], seed: int) -> list[Record]:
    """Pairs of base and source prompts for each desideratum or position probe of `kinds`.

    sizes: part -> pairs of each kind. `train`, `validation` and `test` draw from their own share of scenes, parts
    of any other name (fresh pairs: "0", "1", ...) from the share `patching`. A record's part is "{kind}/{part}".
    Base scenes are different ones, each asked for all its boxes. The plain position desideratum and the probes
    start from the same pairs. Raises UserError for an unknown kind and when the words leave too little choice.
    """
    allowed = (*DESIDERATA, *task.probes)
    unknown = [kind for kind in kinds if kind not in allowed]
    if unknown:
        raise UserError(f"{', '.join(unknown)}: no desideratum or probe; allowed are {', '.join(allowed)}")
    write = _Writer(words, task)
    records: list[Record] = []
    for kind in kinds:
        for part, n in sizes.items():
            about = PLAIN_PROBE if kind in PROBES else kind
            share = part if part in ("train", "validation", "test") else "patching"
            source = SceneSource(words, task.boxes, share, generator(seed, "pairs", about, part))
            base = every_box(source, n)
            found = _sources(source, base, kind, task)
            records += _pair_records(f"{kind}/{part}", write, base, found)
    return records


def _sources(source: SceneSource, base: Queries, kind: str, task: Task) -> ProbeSources:
    if kind in PROBES:
        return probe_sources(source, base, kind, task)
    found, target = desideratum(source, base, kind)
    return ProbeSources(found.scenes, found.index, [PLAIN] * len(base), target)


def _pair_records(part: str, write: _Writer, base: Queries, found: ProbeSources) -> Iterator[Record]:
    sources = Queries(found.scenes, found.index)
    for row in range(len(base)):
        prompts = {"base": write(base, row), "source": write(sources, row, change=found.changes[row])}
        yield Record(part, prompts, write.words.objects[found.target[row]])


def _ablation(write: _Writer, source: SceneSource, scenes: Scenes, varied: Varied | None = None) -> list[Record]:
    """Scenes asked for any label, as they are or in varying layouts."""
    labels = source.rng.integers(0, len(source.words.labels), len(scenes))
    has = scenes.labels == labels[:, None]
    queries = Queries(scenes, np.where(has.any(1), has.argmax(1), -1))
    part = f"{FOLDER}/{varied.boxes}" if varied else ""
    changes = varied.changes if varied else [PLAIN] * len(scenes)
    asked = [source.words.labels[label] for label in labels]
    return [
        Record(part, {"prompts": write(queries, row, query_label=label, change=change)})
        for row, (label, change) in enumerate(zip(asked, changes, strict=True))
    ]


def _layouts(write: _Writer, n: int, seed: int) -> Iterator[Record]:
    for varied in varied_layouts(write.words, write.task, n, seed):
        if varied.changes:
            yield from _ablation(write, varied.source, varied.source.draw(len(varied.changes)), varied)


class _Writer:
    """Turns rows into prompts; the same scene gets the same id, counted in order of appearance."""

    def __init__(self, words: Words, task: Task) -> None:
        self.words, self.task = words, task
        self.ids: dict[Scene, int] = {}

    def __call__(self, queries: Queries, row: int, **options: Any) -> Prompt:
        scene = queries.scenes.scene(row, self.words)
        scene_id = self.ids.setdefault(scene, len(self.ids))
        index = int(queries.index[row])
        return render(scene, index, self.task, scene_id=scene_id, **options)


def write_split(records: Sequence[Record], path: str | Path) -> None:
    """Write a split as JSON lines. Equal records give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            line = {"part": record.part, **{name: vars(prompt) for name, prompt in record.prompts.items()}}
            if record.target is not None:
                line["target"] = record.target
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_split(path: str | Path) -> list[Record]:
    """Read a split that `write_split` wrote."""
    with Path(path).open(encoding="utf-8") as file:
        return [_record(json.loads(line)) for line in file]


def _record(line: dict[str, Any]) -> Record:
    part, target = line.pop("part"), line.pop("target", None)
    return Record(part, {name: _prompt(found) for name, found in line.items()}, target)


def _prompt(found: dict[str, Any]) -> Prompt:
    return Prompt(
        **{
            **found,
            "objects": tuple(found["objects"]),
            "labels": tuple(found["labels"]),
            "segments": {role: tuple(map(_span, spans)) for role, spans in found["segments"].items()},
            "query": {role: _span(s) for role, s in found["query"].items()},
        }
    )


def _span(found: list[int] | None) -> Any:
    return None if found is None else tuple(found)
