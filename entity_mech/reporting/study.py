"""What every figure and sentence needs to know about a run: its models, its base and its groups of heads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from entity_mech.task.task import Task

if TYPE_CHECKING:
    from entity_mech.config.schema import Config

# Okabe-Ito for groups, Tol's muted set for models, so that a colour never means one of each in one figure. Written
# `#rrggbb`, as the pages need them.
GROUP_COLORS: tuple[str, ...] = (
    "#0072b2", "#d55e00", "#009e73", "#b3588c", "#e69f00", "#56b4e9", "#8c6d31", "#999999",
)  # fmt: skip
MODEL_COLORS: tuple[str, ...] = (
    "#44aa99", "#882255", "#ddaa33", "#6699cc", "#cc6677", "#117733", "#aa4499", "#332288",
)  # fmt: skip
BASE_COLOR = "#4d4d4d"
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
BASE_MARKER = "o"


@dataclass(frozen=True)
class Group:
    """A group of the circuit: what the search for it is called and where its heads sit.

    receivers: pairs (earlier group, input q|k|v) that the group's output reaches; none means the logits.
    """

    name: str
    letter: str
    token: str
    receivers: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """Its name as words: `value fetcher`."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """In figures: `A value fetcher`."""
        return f"{self.letter} {self.words}"


@dataclass(frozen=True)
class Look:
    """Style of the figures: text size in points, palette of models and groups, colour map of score maps."""

    font_size: float = 8.0
    palette: str = "colorblind"
    colormap: str = "RdBu"


@dataclass(frozen=True)
class Study:
    """The models in the config's order, the study's base, the groups in the chain's order, and the task.

    fine_tuned: the models fine-tuned from the base, in the config's order; others may be there for comparison. seed:
    the config's, from which the findings derive theirs.
    """

    models: tuple[str, ...]
    base: str
    fine_tuned: tuple[str, ...]
    groups: tuple[Group, ...]
    seed: int = 0
    task: Task = field(default_factory=Task)
    labels: Mapping[str, str] = field(default_factory=dict)
    look: Look = Look()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """From plain values: models, base, fine_tuned, groups [{name, letter, token, receivers}], seed, task,
        labels, look.

        `study_values` makes them from a config.
        """
        groups = tuple(
            Group(
                name=group["name"],
                letter=group["letter"],
                token=group["token"],
                receivers=tuple((name, kind) for name, kind in group.get("receivers", ())),
            )
            for group in values["groups"]
        )
        return cls(
            models=tuple(values["models"]),
            base=values["base"],
            fine_tuned=tuple(values["fine_tuned"]),
            groups=groups,
            seed=int(values.get("seed", 0)),
            task=Task.of(values.get("task", {})),
            labels=dict(values.get("labels", {})),
            look=Look(**values.get("look", {})),
        )

    @classmethod
    def from_param(cls, param: Mapping[str, str]) -> Study:
        """From what `as_param` made of such values."""
        return cls.from_dict(json.loads(param["json"]))

    @property
    def boxes(self) -> int:
        """Boxes in a scene."""
        return self.task.boxes

    def label(self, model: str) -> str:
        """The model's name in figures."""
        return self.labels.get(model, model)

    @property
    def but_base(self) -> tuple[str, ...]:
        """All models but the base: those fine-tuned from it and any others."""
        return tuple(model for model in self.models if model != self.base)

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the groups in reading order."""
        return tuple(sorted(group.letter for group in self.groups))

    @property
    def by_letter(self) -> tuple[Group, ...]:
        """The groups in reading order, A first."""
        return tuple(sorted(self.groups, key=lambda group: group.letter))

    def group(self, key: str) -> Group:
        """The group with this name or letter."""
        for group in self.groups:
            if key in (group.name, group.letter):
                return group
        raise KeyError(f"no group {key!r}: the study has {[group.name for group in self.groups]}")

    def model_color(self, model: str) -> str:
        """One colour for a model in every figure; the base is grey."""
        if model == self.base:
            return BASE_COLOR
        colors = MODEL_COLORS
        if self.look.palette != "colorblind":
            colors = named_palette(self.look.palette, len(self.but_base))
        return colors[self.but_base.index(model) % len(colors)]

    def model_marker(self, model: str) -> str:
        """One marker for a model in every figure, so that colour is never the only difference."""
        if model == self.base:
            return BASE_MARKER
        return MARKERS[self.but_base.index(model) % len(MARKERS)]

    def group_color(self, key: str) -> str:
        """One colour for a group in every figure, by its place in the alphabet."""
        colors = GROUP_COLORS
        if self.look.palette != "colorblind":
            colors = named_palette(self.look.palette, len(self.groups))
        return colors[self.letters.index(self.group(key).letter) % len(colors)]


def in_order(present: Iterable[str], order: Sequence[str]) -> list[str]:
    """The names of `order` that are present."""
    found = set(present)
    return [name for name in order if name in found]


@cache
def named_palette(name: str, n: int) -> tuple[str, ...]:
    """n colours of a seaborn or matplotlib palette, as `#rrggbb`."""
    import seaborn  # here, because it brings matplotlib, and pages and findings need neither

    return tuple(seaborn.color_palette(name, n).as_hex())


def as_param(values: Mapping[str, Any]) -> dict[str, str]:
    """Plain values as a rule's param that may stand in a page's script.

    Snakemake writes the params of a figure's rule into a script element of its report as they are, where `</script>`
    in a label would end it; JSON has another way to write `<`.
    """
    return {"json": json.dumps(values).replace("<", "\\u003c")}


def study_values(config: Config) -> dict[str, Any]:
    """What `Study.from_dict` needs, as plain values (a rule's params), from a config."""
    groups = [
        {
            "name": search.name,
            "letter": search.letter,
            "token": search.token,
            "receivers": [[one.search, one.input] for one in search.receivers if one != "logits"],
        }
        for search in config.searches
    ]
    return {
        "models": [model.name for model in config.models],
        "base": config.base,
        "fine_tuned": config.fine_tuned(),
        "groups": groups,
        "seed": config.seed,
        "task": config.task.model_dump(exclude={"probe_texts"}),
        "labels": {model.name: model.label or model.name for model in config.models},
        "look": {
            "font_size": float(config.figures.font_size),
            "palette": config.figures.palette,
            "colormap": config.figures.colormap,
        },
    }
