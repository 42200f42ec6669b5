"""The task as one value: its sentences, the token roles in them, and what is asked about them.

Everything that depends on the wording is derived here, so that a stage takes what it needs from a Task and names no
word of its own. `Task.of` builds one from the config's section `task`, or from the keys of it that a stage uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from entity_mech.errors import UserError
from entity_mech.task.pair_kinds import DESIDERATA, NO_TEXTS, PROBES, REWORDED, ProbeTexts
from entity_mech.task.roles import ALIASES, BOS, LABEL, OBJECT, SEPARATOR, SETS, own_name
from entity_mech.task.wording import (
    Piece,
    mark_problem,
    query_pieces,
    query_problem,
    roles_of,
    segment_pieces,
    sentence_case,
    template_problem,
)
from entity_mech.task.words import LETTERS, objects_of

TEMPLATE = "the {object} is in Box {label}"
QUERY = "Box {label} contains the"
GAP = "…"


@dataclass(frozen=True)
class Task:
    """Scenes of `boxes` segments, each an object and a label, and the question which object a label has.

    template: a segment's sentence, with {object} and {label}. query: the question, with {label}; the answer follows
    it. separator: between segments; end: behind the last one. capitalize: whether a prompt begins with a capital.
    objects: `builtin`, words, or the path of a list of them; labels: letters. probe_texts: None stands for
    `default_texts`. Raises UserError for a wording that cannot be used.
    """

    boxes: int = 7
    template: str = TEMPLATE
    query: str = QUERY
    separator: str = ","
    end: str = "."
    capitalize: bool = True
    objects: str | tuple[str, ...] = "builtin"
    labels: str = "".join(LETTERS)
    probe_texts: ProbeTexts | None = None

    def __post_init__(self) -> None:
        problems = wording_problems(self.template, self.query, self.separator, self.end)
        problems = problems or probe_problems(self.template, self.texts)
        if problems:
            raise UserError("; ".join(f"{key} {value!r} {text}" for key, value, text in problems))
        if self.boxes < 2:
            raise UserError(f"boxes = {self.boxes}: a scene needs at least 2")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Task:
        """From plain values, as in the config's section `task`; a key that is missing has the default's value."""
        given = dict(values)
        if isinstance(given.get("objects"), list):
            given["objects"] = tuple(given["objects"])
        if isinstance(given.get("probe_texts"), Mapping):
            given["probe_texts"] = ProbeTexts(**given["probe_texts"])
        return cls(**given)

    @property
    def chance(self) -> float:
        """Accuracy of a guess among a prompt's objects."""
        return 1 / self.boxes

    @property
    def label_first(self) -> bool:
        """Whether a segment names its label before its object."""
        return label_first(self.template)

    # Token roles

    @property
    def segment_pieces(self) -> tuple[Piece, ...]:
        """A segment's template as (role, text)."""
        return segment_pieces(self.template, self.template)

    @property
    def query_pieces(self) -> tuple[Piece, ...]:
        """The query's template as (role, text)."""
        return query_pieces(self.query, self.template)

    @cached_property
    def segment_roles(self) -> tuple[str, ...]:
        """Roles of a segment's words, in the order of the text."""
        own = roles_of(self.segment_pieces)
        return own if SEPARATOR in own else (*own, SEPARATOR)

    @cached_property
    def query_roles(self) -> tuple[str, ...]:
        """Roles of the query's words, in the order of the text."""
        return roles_of(self.query_pieces)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """All roles in the order of a prompt."""
        return (BOS, *self.segment_roles, *self.query_roles)

    @cached_property
    def search_tokens(self) -> tuple[str, ...]:
        """Names of roles at which heads can be searched, aliases included: every prompt has these tokens.

        `bos` is not among them: it sees nothing but itself, so that a head's output there is the same in all prompts.
        """
        own = [*self.segment_roles, *self.query_roles]
        if not self.separator and SEPARATOR not in roles_of(self.segment_pieces):
            own.remove(SEPARATOR)
        return (*own, *ALIASES)

    def order(self, role: str) -> int:
        """Where a role (or an alias) stands in a prompt."""
        return self.roles.index(own_name(role))

    @property
    def aliases(self) -> dict[str, str]:
        """Other names of roles."""
        return dict(ALIASES)

    @property
    def sets(self) -> dict[str, str]:
        """Sets of the other segments' tokens, by role."""
        return dict(SETS)

    # What is asked

    @property
    def desiderata(self) -> tuple[str, ...]:
        """What a group of heads may carry."""
        return DESIDERATA

    @property
    def texts(self) -> ProbeTexts:
        """The texts of the position probes."""
        return self.probe_texts or default_texts(self.template)

    @cached_property
    def probes(self) -> tuple[str, ...]:
        """Position probes that change something in this wording: one needs its text, `no_commas` a separator."""
        texts = asdict(self.texts)
        with_text = {name for name, text in texts.items() if text is not None}
        kept = [name for name in PROBES if name not in texts or name in with_text]
        return tuple(name for name in kept if name != "no_commas" or self.separator)

    # An example, for figures

    @cached_property
    def example(self) -> tuple[Piece, ...]:
        """Words of an example prompt in order, each with its role; role None stands for the other segments."""
        fill = {"{object}": _one_of(objects_of(self.objects), "apple"), "{label}": _one_of(tuple(self.labels), "M")}
        found: list[Piece] = [(role, fill.get(text, text)) for role, text in self.segment_pieces if role is not None]
        if found[-1][0] == SEPARATOR:
            found[-1] = (SEPARATOR, found[-1][1] + self.separator)
        elif self.separator:
            found.append((SEPARATOR, self.separator))
        if self.capitalize and found[0][0] not in (OBJECT, LABEL):
            found[0] = (found[0][0], sentence_case(found[0][1]))
        found.append((None, GAP))
        return (*found, *((role, fill.get(text, text)) for role, text in self.query_pieces if role is not None))

    @cached_property
    def words(self) -> dict[str, str]:
        """The example's word of each role."""
        return {role: word for role, word in self.example if role is not None}


def _one_of(words: tuple[str, ...], wanted: str) -> str:
    return wanted if wanted in words else words[0]


def default_texts(template: str) -> ProbeTexts:
    """Texts of the position probes where nothing else is said: the default wording has some, another one has none."""
    return ProbeTexts() if template == TEMPLATE else NO_TEXTS


def label_first(template: str) -> bool:
    """Whether a template names the label before the object."""
    return template.index("{label}") < template.index("{object}")


Problem = tuple[str, object, str]


def wording_problems(template: str, query: str, separator: str, end: str) -> list[Problem]:
    """(key, value, what is wrong with it) of the sentences."""
    found = {
        "template": (template, template_problem(template)),
        "query": (query, query_problem(query)),
        "separator": (separator, mark_problem(separator)),
        "end": (end, mark_problem(end) if end else "should not be empty"),
    }
    return [(key, value, text) for key, (value, text) in found.items() if text]


def probe_problems(template: str, texts: ProbeTexts) -> list[Problem]:
    """(key, value, what is wrong with it) of the position probes' texts, beside a template that can be used."""
    found = []
    for name, text in asdict(texts).items():
        if text is not None and (problem := _probe_problem(name, text, template)):
            found.append((f"probe_texts.{name}", text, problem))
    return found


def _probe_problem(name: str, text: str, template: str) -> str:
    if not text.strip():
        return "should not be empty; null leaves the probe out"
    if name not in REWORDED:
        return ""
    if problem := template_problem(text):
        return problem
    if text == template:
        return "is the template itself, so that nothing would change"
    if name == "box_first" and label_first(template):
        return "would change nothing: the template names the label first already. Leave it out"
    if name == "box_first" and not label_first(text):
        return "should have {label} before {object}"
    return ""
