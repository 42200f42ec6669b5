"""Where the models of a run are: local folders, hub ids, and adapters over other models.

Standard library only: a Snakefile calls these functions while it is read. `checks.py` beside it says what is
wrong with a source before any job runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entity_mech.errors import UserError
from entity_mech.files import read_checked_json
from entity_mech.models.folders import (
    ADAPTER_CONFIG,
    INDEX,
    TOKENIZER_FILES,
    has_tokenizer,
    is_adapter,
    tokenizer_digest,
    weight_files,
)

DTYPES = ("float32", "float64", "bfloat16", "float16")  # what a model can be run in
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class ModelSource:
    """One model of a run.

    name: its name in the config. path: a local folder (relative to the working directory) or a hub id.
    revision: branch, tag or commit of a hub id. base: the model it was fine-tuned from, into which it is
    merged when it is a PEFT adapter. adapter: whether a hub id is one (a local folder says so itself).
    tokenizer: another model whose tokenizer it uses. dtype and device: what the engine runs it in (device
    auto, cpu, cuda or cuda:N).
    """

    name: str
    path: str
    revision: str | None = None
    base: ModelSource | None = None
    tokenizer: ModelSource | None = None
    dtype: str = "float32"
    device: str = "auto"
    trust_remote_code: bool = False
    adapter: bool = False

    @property
    def folder(self) -> Path:
        """The local folder. Raises UserError for a hub id that has not been downloaded (see `located`)."""
        if self.on_hub:
            raise UserError(f"model {self.name}: {self.path} is a hub id that has not been downloaded yet")
        return local_path(self.path)

    @property
    def on_hub(self) -> bool:
        """True when no folder of this path exists and the path can be a hub id (`org/name` or `name`)."""
        return not local_path(self.path).is_dir() and _HUB_ID.fullmatch(self.path) is not None

    @property
    def over_base(self) -> bool:
        """True for a PEFT adapter, whose weights come from its base as well."""
        return self.adapter if self.on_hub else is_adapter(self.folder)


def local_path(path: str) -> Path:
    """A path with `~` filled in. Raises UserError where that home folder is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"begins with {path.split('/')[0]!r}, and this system does not know that home folder"
        ) from None


def build_sources(models: Sequence[Mapping[str, Any]]) -> dict[str, ModelSource]:
    """Sources by name, from entries of the config (keys as the fields of ModelSource; others are passed
    over).

    `base` and `tokenizer` hold names of other entries. Raises UserError for a name that is not there, or when
    models are each other's base in a circle.
    """
    entries = {str(entry["name"]): entry for entry in models}
    fields = ("name", "path", "revision", "dtype", "device", "trust_remote_code", "adapter")

    def build(name: str, above: tuple[str, ...]) -> ModelSource:
        if name in above:
            raise UserError(f"models are each other's base or tokenizer in a circle: {' -> '.join((*above, name))}")
        if name not in entries:
            raise UserError(f"model {above[-1]}: {name} is not one of the models ({', '.join(entries)})")
        entry = entries[name]
        given: dict[str, Any] = {key: entry[key] for key in fields if entry.get(key) is not None}
        for key in ("base", "tokenizer"):
            if entry.get(key):
                given[key] = build(entry[key], (*above, name))
        return ModelSource(**given)

    return {name: build(name, ()) for name in entries}


def chain(source: ModelSource) -> list[ModelSource]:
    """The sources whose weights make up a model: the root model first, then adapters in the order of merging.

    Raises UserError for an adapter without a base.
    """
    found = [source]
    while found[0].over_base:
        base = found[0].base
        if base is None:
            raise UserError(
                f"model {found[0].name}: {found[0].path} is a PEFT adapter; name the model it sits on (base)"
            )
        found.insert(0, base)
    return found


def hub_sources(sources: Sequence[ModelSource]) -> list[ModelSource]:
    """Those of the sources, of their bases and of their tokenizers' models that must be downloaded, by name
    once."""
    found: dict[str, ModelSource] = {}
    for source in sources:
        step: ModelSource | None = source
        while step is not None:
            for one in (step, step.tokenizer):
                if one is not None and one.on_hub:
                    found.setdefault(one.name, one)
            step = step.base
    return list(found.values())


def located(source: ModelSource, downloads: Mapping[str, str | Path]) -> ModelSource:
    """The source with hub ids replaced by the folders they were downloaded to.

    downloads: model name -> the JSON file that `download` wrote. Bases and tokenizers are replaced as well.
    Raises UserError when what was downloaded is an adapter and the config does not say so, or the reverse.
    """
    base = None if source.base is None else located(source.base, downloads)
    tokenizer = None if source.tokenizer is None else located(source.tokenizer, downloads)
    path, revision = source.path, source.revision
    if source.on_hub and source.name in downloads:
        path, revision = read_checked_json(downloads[source.name])["folder"], None
        if is_adapter(Path(path)) != source.adapter:
            kind = "a PEFT adapter" if is_adapter(Path(path)) else "no PEFT adapter"
            raise UserError(f"model {source.name}: {source.path} is {kind}; set its key `adapter` accordingly")
    return replace(source, path=path, revision=revision, base=base, tokenizer=tokenizer)


def input_files(source: ModelSource) -> list[str]:
    """Local files that a model is made of, for a rule's input: configs, weights and tokenizer of its whole
    chain.

    Hub ids are left out: the JSON file of their download stands for them.
    """
    files: list[Path] = []
    for one in (*chain(source), tokenizer_source(source)):
        if not one.on_hub:
            own = (one.folder / name for name in ("config.json", ADAPTER_CONFIG, INDEX, *TOKENIZER_FILES))
            files += [path for path in own if path.is_file()]
            files += weight_files(one.folder)
    return list(dict.fromkeys(map(str, files)))


def weight_bytes(source: ModelSource) -> int:
    """Bytes of a local model's weight files, its whole chain's for an adapter. A hub id's count as 0."""
    return sum(path.stat().st_size for one in chain(source) if not one.on_hub for path in weight_files(one.folder))


def tokenizer_source(source: ModelSource) -> ModelSource:
    """The model whose tokenizer a model uses: the one its key names; its base's where the model is an adapter
    or its folder holds no tokenizer; else its own."""
    if source.tokenizer is not None:
        return tokenizer_source(source.tokenizer)
    if source.base is not None and (source.over_base or not (source.on_hub or has_tokenizer(source.folder))):
        return tokenizer_source(source.base)
    return source


def tokenizer_names(sources: Sequence[ModelSource]) -> dict[str, str]:
    """For every model the name of its tokenizer: the first model of the list that has the same one.

    Local tokenizers are compared by what they hold; a hub id's is its own unless the config says otherwise.
    """
    first: dict[str, str] = {}
    names = {}
    for source in sources:
        owner = tokenizer_source(source)
        key = f"hub {owner.path}@{owner.revision}" if owner.on_hub else tokenizer_digest(owner.folder)
        names[source.name] = first.setdefault(key, owner.name)
    return names
