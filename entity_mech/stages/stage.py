"""What a stage of a study is: the question it asks, the files it leaves, what its jobs need, and its figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

# What a job does. model: it runs a model, on a card where there is one. dataset, tables: small work, of which a
# cluster puts many jobs into one. between: small work between two jobs that run a model, submitted alone.
# here: where Snakemake itself runs.
Kind = Literal["model", "dataset", "tables", "between", "here"]
# For what a stage leaves a file each: every model, every (model, circuit) that is measured, every fine-tuned model.
Per = Literal["model", "pair", "fine_tuned"]
# What only some models have, because scores and circuits may be given: a score in every search, effects prompt by
# prompt (the searches ran here), pruning (it ran here), given scores, a given circuit.
Need = Literal["scores", "effects", "pruning", "given_scores", "given_circuit"]


@dataclass(frozen=True)
class Job:
    """What a job of a rule asks of the machine.

    megabytes, minutes: with a model that weighs nothing. copies: how many times the weights of its model fit into its
    memory beside that. minutes_per_gb: time for each GB of weights.
    """

    kind: Kind
    megabytes: int
    minutes: int
    copies: int = 0
    minutes_per_gb: int = 0


@dataclass(frozen=True)
class Figure:
    """A figure of a run, or one for each model.

    name: of its rule (draw_{name}). tables: of the run, in the order in which the function takes them; it is drawn
    where the run has the first, and takes None for another that the run has not. draw: its module under
    `reporting/figures` where that has another name, and after a colon the function where that has. style: keys of the
    config's `figures` that it uses, beside formats and dpi. per_model: one figure for every model (with needs: for
    those that have it), in a folder of the figure's name. caption: a Jinja template over the run's config; see
    `reporting/captions.py`.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    caption: str
    draw: str = ""
    style: tuple[str, ...] = ("font_size", "palette")
    per_model: bool = False
    needs: Need | None = None

    @property
    def module(self) -> str:
        """The module that draws it."""
        return f"entity_mech.reporting.figures.{(self.draw or self.name).partition(':')[0]}"

    @property
    def function(self) -> str:
        """The function in that module."""
        return (self.draw or self.name).rpartition(":")[2]

    @property
    def stem(self) -> str:
        """Its path below figures/ without an ending."""
        return f"{self.name}/{{model}}" if self.per_model else self.name


@dataclass(frozen=True)
class Stage:
    """One question of a study and how it is answered.

    name: the stage's target, and its word in the config's `leave_out` where it is optional. jobs: rules that run for
    it. tables: tables of the run that it makes -> the file of each of their parts, below results/{run}; an empty text
    where a rule of the stage writes the whole table. needs: table -> what only some models have, so that the others
    have no part of it. files: other results of it, a file for each part. per: what has a part each. found_in: which
    of its tables the findings are made from. section: of index.html in which its figures stand
    (`reporting/catalogue.py`).
    """

    name: str
    asks: str
    jobs: Mapping[str, Job] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Need] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    per: Per = "model"
    found_in: tuple[str, ...] = ()
    section: str = ""
    figures: tuple[Figure, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class TablePart:
    """One file of a merged table. model: whose rows they are."""

    model: str
    file: str


@dataclass(frozen=True)
class Run:
    """What decides which stages and files a run has.

    pairs: (model, circuit). fine_tuned: models that are held against the base. given_scores, given_circuits: models
    that bring these instead of being searched, or searched and pruned.
    """

    models: tuple[str, ...]
    base: str
    fine_tuned: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    leave_out: tuple[str, ...] = ()
    given_scores: tuple[str, ...] = ()
    given_circuits: tuple[str, ...] = ()

    def having(self, need: Need | None) -> tuple[str, ...]:
        """The models that have something, in the run's order."""
        every, scores, circuits = set(self.models), set(self.given_scores), set(self.given_circuits)
        found = {
            None: every,
            "scores": every - (circuits - scores),
            "effects": every - circuits - scores,
            "pruning": every - circuits,
            "given_scores": scores,
            "given_circuit": circuits,
        }[need]
        return tuple(model for model in self.models if model in found)

    def stages(self, table: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """The stages that it has: those not left out whose tables, where they have some, are about some model."""
        return tuple(
            stage for stage in table if stage.name not in self.leave_out and (self.tables(stage) or not stage.tables)
        )

    def tables(self, stage: Stage) -> list[str]:
        """The tables of a stage that it has."""
        return [table for table, file in stage.tables.items() if not file or self._parts(stage, file, table)]

    def merged(self, stage: Stage) -> dict[str, list[TablePart]]:
        """The parts of each table of a stage that is put together from files."""
        parts = {table: self._parts(stage, file, table) for table, file in stage.tables.items() if file}
        return {table: own for table, own in parts.items() if own}

    def files(self, stage: Stage) -> list[str]:
        """The files of a stage that belong to no merged table."""
        return [part.file for file in stage.files for part in self._parts(stage, file)]

    def figures(self, stage: Stage, tables: Collection[str]) -> list[Figure]:
        """The figures of a stage that it has. tables: those of the whole run."""
        return [one for one in stage.figures if one.tables[0] in tables and self.having(one.needs)]

    def _parts(self, stage: Stage, file: str, table: str = "") -> list[TablePart]:
        if stage.per == "pair":
            wanted = [(model, {"model": model, "circuit": circuit}) for model, circuit in self.pairs]
        elif stage.per == "fine_tuned":
            wanted = [(model, {"model": model, "base": self.base}) for model in self.fine_tuned]
        else:
            wanted = [(model, {"model": model}) for model in self.having(stage.needs.get(table))]
        return [TablePart(model, file.format(**values)) for model, values in wanted]
