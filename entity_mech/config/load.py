"""From a config file's mapping to a checked `Config`, or to one message that says all that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from entity_mech.config.feasible import check_word_file, check_words
from entity_mech.config.given import check_given
from entity_mech.config.looks import check_looks
from entity_mech.config.mask_checks import training_problems
from entity_mech.config.messages import dotted, nearest, not_among, sections, sentences
from entity_mech.config.schema import Config
from entity_mech.config.sections import Search
from entity_mech.errors import UserError, shown
from entity_mech.models.checks import described, problems
from entity_mech.models.sources import chain, local_path
from entity_mech.stages.table import OPTIONAL
from entity_mech.task.pair_kinds import ProbeTexts
from entity_mech.task.roles import BOS, LAST
from entity_mech.task.task import Task, probe_problems, wording_problems


def load_config(raw: Mapping[str, Any], *, source: str = "the config", check_files: bool = True) -> Config:
    """Check a config and fill in the defaults.

    raw: what the config file holds. source: how to call it in a message. check_files: also look at the files
    that the config names (model folders, the word list), which are relative to the working directory.

    Raises UserError with every mistake, one a line: the key's path, its value, what is allowed, the nearest
    spelling.
    """
    try:
        config, found, wrong = Config.model_validate(dict(raw)), [], set()
    except ValidationError as error:
        found, wrong = sentences(error, Config), sections(error)
        config = _without(raw, wrong)
    except RecursionError:
        raise UserError(f"{source}: a value is nested too deeply") from None
    for needs, check in _CHECKS:
        if not needs & wrong:
            found += check(config)
    if check_files:
        for needs, check in _FILE_CHECKS:
            if not needs & wrong:
                found += check(config)
    if found:
        count = f"{len(found)} mistakes" if len(found) > 1 else "a mistake"
        lines = "\n".join(f"  - {line}" for line in dict.fromkeys(found))
        raise UserError(f"{source} has {count}:\n{lines}")
    return config


def _without(raw: Mapping[str, Any], wrong: set[str]) -> Config:
    """The config with the wrong sections left at their defaults, so that the others can be checked."""
    return Config.model_validate({name: value for name, value in raw.items() if name not in wrong})


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _check_models(config: Config) -> list[str]:
    """Names are unique, and every name that is used is a model's."""
    models, found = config.models, []
    names = [model.name for model in models]
    found += [f"models: two models are named {name!r}." for name in _repeated(names)]
    found += [
        f"models: the names of two models differ in case alone ({name}); some file systems cannot hold both."
        for name in _repeated([name.lower() for name in set(names)])
    ]
    if config.base not in names:
        found.append(not_among(("base",), config.base, "a model's name", names))
    for index, model in enumerate(models):
        for field in ("base", "tokenizer"):
            value = getattr(model, field)
            others = [name for name in names if name != model.name]
            if value is not None and value not in others:
                found.append(not_among(("models", index, field), value, "another model's name", others))
        if model.adapter and model.base is None:
            found.append(f"{dotted(('models', index, 'base'))}: an adapter needs the model that it is put over.")
        for field in ("base", "tokenizer"):
            if _goes_round(config, model.name, field):
                found.append(f"models[{index}].{field}: following {field} from {model.name!r} goes in a circle.")
    return found


def _goes_round(config: Config, name: str, field: str) -> bool:
    """Whether following a key (base, tokenizer) from a model leads back to it."""
    links = {model.name: getattr(model, field) for model in config.models}
    step = None if links[name] == name else links[name]
    for _ in links:
        if step is None or step == name:
            break
        step = links.get(step)
    return step == name


def _check_wording(config: Config) -> list[str]:
    """The sentences can be used, and the probes' texts fit them."""
    task = config.task
    found = wording_problems(task.template, task.query, task.separator, task.end)
    found = found or probe_problems(task.template, ProbeTexts(**task.probe_texts.model_dump()))
    return [f"task.{name}: {shown(value)} {text}." for name, value, text in found]


def _check_task(config: Config) -> list[str]:
    """There are letters enough for a scene and one more."""
    task, found = config.task, []
    repeated = _repeated(list(task.labels))
    if repeated:
        found.append(f"task.labels: {''.join(repeated)} stands there twice.")
    if len(set(task.labels)) <= task.boxes:
        found.append(
            f"task.labels: {len(set(task.labels))} letters are too few for {task.boxes} boxes: a corrupted "
            f"prompt asks for a letter that is not in the scene, so there must be at least {task.boxes + 1}."
        )
    return found


def _check_tokens(config: Config) -> list[str]:
    """Every search has a token of the task, at which its receivers can see it."""
    return [] if _check_wording(config) else _token_problems(config.searches, config.the_task())


def _token_problems(searches: Sequence[Search], task: Task) -> list[str]:
    found = []
    for index, search in enumerate(searches):
        path = ("searches", index, "token")
        if search.token == BOS:
            found.append(
                f"{dotted(path)}: at {BOS!r}, the first token, a head's output is the same in every prompt, so that "
                f"nothing can be found there. Allowed: {', '.join(task.search_tokens)}."
            )
        elif search.token not in task.search_tokens:
            found.append(not_among(path, search.token, "a token role of this task", task.search_tokens))
        elif "logits" in search.receivers and search.token != LAST:
            found.append(
                f"{dotted(path)}: the logits are read at the last token, so a search into them needs the token "
                f"`{LAST}`, not {search.token!r}."
            )
        else:
            found += _check_order(index, search, searches[:index], task)
    return found


def _check_wordings(config: Config) -> list[str]:
    """Other wordings have names of their own, can be used, and have the chain's tokens in its order."""
    names = [one.name for one in config.stability.wordings]
    found = [f"stability.wordings: two wordings are named {name!r}." for name in _repeated(names)]
    for index, values in enumerate(config.wordings().values()):
        path = f"stability.wordings[{index}]"
        wrong = wording_problems(*(values[name] for name in ("template", "query", "separator", "end")))
        found += [f"{path}.{name}: {shown(value)} {text}." for name, value, text in wrong]
        if not wrong:
            problems_there = _token_problems(config.searches, Task.of(values))
            found += [f"{path}: in these words the chain cannot be searched. {text}" for text in problems_there]
    return found


def _check_order(index: int, search: Search, earlier: Sequence[Search], task: Task) -> list[str]:
    """q is read at the receivers' own token, k and v at the senders', which must not come after it."""
    found, by_name = [], {other.name: other.token for other in earlier if other.token in task.search_tokens}
    for number, receiver in enumerate(search.receivers):
        if isinstance(receiver, str) or receiver.search not in by_name:
            continue
        path, other = ("searches", index, "receivers", number), by_name[receiver.search]
        here, there = task.order(search.token), task.order(other)
        if receiver.input == "q" and here != there:
            found.append(
                f"{dotted(path)}: q of {receiver.search} is read at its own token {other!r}, so the "
                f"senders must sit there too, not at {search.token!r}."
            )
        if receiver.input != "q" and here > there:
            found.append(
                f"{dotted(path)}: {receiver.search} sits at {other!r}, which comes before {search.token!r} "
                f"and cannot see {receiver.input} there."
            )
    return found


def _check_searches(config: Config) -> list[str]:
    """Names and letters are unique, and receivers are earlier searches."""
    searches, found = config.searches, []
    names = [search.name for search in searches]
    found += [f"searches: two searches are named {name!r}." for name in _repeated(names)]
    letters = [search.letter for search in searches]
    found += [f"searches: two searches have the letter {letter}." for letter in _repeated(letters)]
    for index, search in enumerate(searches):
        found += _check_receivers(index, search, searches[:index])
        found += _check_counts(index, search, [model.name for model in config.models])
        if search.carries is not None and search.carries not in config.dcm.desiderata:
            found.append(
                not_among(("searches", index, "carries"), search.carries, "in dcm.desiderata", config.dcm.desiderata)
            )
    return found


def _check_receivers(index: int, search: Search, earlier: Sequence[Search]) -> list[str]:
    found, here = [], ("searches", index, "receivers")
    if "logits" in search.receivers:
        if len(search.receivers) > 1:
            found.append(f"{dotted(here)}: `logits` stands alone, not beside other receivers.")
        return found
    names, pairs = [other.name for other in earlier], []
    for number, receiver in enumerate(search.receivers):
        if isinstance(receiver, str):
            continue
        pairs.append(f"{receiver.input} of {receiver.search}")
        if receiver.search not in names:
            found.append(not_among((*here, number, "search"), receiver.search, "an earlier search", names))
    found += [f"{dotted(here)}: {pair} stands there twice." for pair in _repeated(pairs)]
    return found


def _check_counts(index: int, search: Search, models: list[str]) -> list[str]:
    path = ("searches", index, "models")
    given = [counts.model for counts in search.models]
    found = [
        not_among((*path, number, "model"), name, "a model's name", models)
        for number, name in enumerate(given)
        if name not in models
    ]
    return found + [f"{dotted(path)}: {name!r} stands there twice." for name in _repeated(given)]


def _check_probes(config: Config) -> list[str]:
    """The group that is probed is found by a search, where it is probed at all."""
    names = [search.name for search in config.searches]
    if "probes" in config.leave_out or config.probes.group in names:
        return []
    wrong = not_among(("probes", "group"), config.probes.group, "a search's name", names)
    return [f"{wrong} Or put `probes` into leave_out."]


def _check_shards(config: Config) -> list[str]:
    own = config.path_patching
    if own.mode == "exact" or own.shards == 1:
        return []
    return [f"path_patching.shards: {own.shards} with `mode: refined`; only the exact mode can be shared out, so 1."]


def _check_figures(config: Config) -> list[str]:
    missing = "png" not in config.figures.formats
    return ["figures.formats: png must be there: the report shows it."] if missing else []


def _check_leave_out(config: Config) -> list[str]:
    return [
        not_among(("leave_out", index), stage, "one of", OPTIONAL)
        for index, stage in enumerate(config.leave_out)
        if stage not in OPTIONAL
    ]


def _check_lists(config: Config) -> list[str]:
    lists: dict[str, Sequence[str]] = {
        "dcm.desiderata": config.dcm.desiderata,
        "cmap.directions": config.cmap.directions,
        "figures.formats": config.figures.formats,
        "leave_out": config.leave_out,
    }
    return [f"{name}: {word!r} stands there twice." for name, words in lists.items() for word in _repeated(words)]


def _check_model_files(config: Config) -> list[str]:
    """What can be seen of each model without loading it."""
    if _check_models(config):
        return []
    found, sources = [], config.sources()
    for index, model in enumerate(config.models):
        source, parent = sources[model.name], Path(model.path).parent
        if not local_path(model.path).is_dir() and parent != Path() and parent.is_dir():
            folders = [str(path) for path in sorted(parent.iterdir()) if path.is_dir()]
            near = nearest(model.path, folders)
            what = "is a file, not a model's folder" if Path(model.path).is_file() else "is no folder"
            found.append(f"models[{index}].path: {model.path!r} {what}.{near}")
            continue
        start = f"model {model.name}: "
        own = problems(source)
        found += [f"models[{index}] ({model.name}): {text.removeprefix(start)}" for text in own]
        if not own and not chain(source)[0].on_hub:
            found += _too_long(config, f"models[{index}] ({model.name})", described(source).sizes.max_position)
    return found


def _too_long(config: Config, model: str, positions: int) -> list[str]:
    """A prompt has at least as many tokens as words; the jobs count the tokens."""
    task = config.task
    words = task.boxes * len(task.template.split()) + len(task.query.split())
    if words <= positions:
        return []
    return [f"{model}: has {positions} positions (max_position_embeddings), and a prompt has {words} words or more."]


_Check = tuple[frozenset[str], Callable[[Config], list[str]]]
_WORDS = frozenset({"task", "prompts", "dcm", "patching", "probes", "leave_out"})
_CHECKS: list[_Check] = [
    (frozenset({"models", "base"}), _check_models),
    (frozenset({"task"}), _check_wording),
    (frozenset({"task"}), _check_task),
    (frozenset({"searches", "task"}), _check_tokens),
    (frozenset({"searches", "models", "dcm"}), _check_searches),
    (frozenset({"searches", "task", "stability"}), _check_wordings),
    (frozenset({"searches", "probes", "leave_out"}), _check_probes),
    (frozenset({"figures"}), _check_figures),
    (frozenset({"dcm", "cmap", "figures", "leave_out"}), _check_lists),
    (frozenset({"leave_out"}), _check_leave_out),
    (frozenset({"path_patching"}), _check_shards),
    (_WORDS, check_words),
    (frozenset({"dcm", "probes", "leave_out"}), training_problems),
]
_FILE_CHECKS: list[_Check] = [
    (frozenset({"models", "base", "task"}), _check_model_files),
    (_WORDS, check_word_file),
    (frozenset({"figures"}), check_looks),
    (frozenset({"models", "searches", "run"}), check_given),
]
