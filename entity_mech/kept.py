"""Results that Snakemake would keep although the config now asks for others.

Snakemake compares a rule's params with those in its own records, .snakemake/metadata. Where these are gone, as after
results were copied, it goes by dates alone and says that nothing is to be done. So every file that a job writes
carries a stamp of that job's params in its seal, and each start compares the stamps of what it would keep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entity_mech.errors import UserError
from entity_mech.files import seal_of_json, seal_of_table
from entity_mech.hdf5 import seal_of_hdf5
from entity_mech.provenance import read_resolved_config
from entity_mech.seals import Seal

_READ = {".h5": seal_of_hdf5, ".json": seal_of_json, ".csv": seal_of_table}
# Params, and keys of the study's description, that decide no number.
_NO_OPTION = ("code", "machine")
_LOOKS = ("look", "labels")


@dataclass(frozen=True)
class KeptJob:
    """A job that Snakemake does not plan. recorded: Snakemake knows the params that its outputs were made with."""

    outputs: Sequence[str]
    params: Mapping[str, Any]
    recorded: bool


def options_stamp(params: Mapping[str, Any]) -> str:
    """A job's stamp: a digest of its options, and one of its code, which count apart."""
    options = {name: value for name, value in params.items() if name not in _NO_OPTION}
    if isinstance(study := options.get("study"), Mapping):
        options["study"] = {key: value for key, value in study.items() if key not in _LOOKS}
    text = json.dumps(options, sort_keys=True, default=str)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{str(params.get('code', ''))[:12]}"


def check_kept(jobs: Iterable[KeptJob], config: Mapping[str, Any], resolved: Path) -> None:
    """Raise UserError where a file that is kept was made with other options than it would be made with now.

    config: as it is now. resolved: the run's config.resolved.yaml. Other code than now counts only where Snakemake
    has no records: it compares that itself, unless it was told not to.
    """
    stale = [job.outputs[0] for job in jobs if _is_stale(job)]
    if not stale:
        return
    keys = ", ".join(_differences(resolved, config))
    more = f" and {len(stale) - 1} more files were" if stale[1:] else " was"
    how = f"another config ({keys})" if keys else "other options or by other code"
    raise UserError(
        f"{stale[0]}{more} made with {how}, and Snakemake does not plan to make them again: its records of how they "
        "were made, .snakemake/metadata, are missing, or it was told not to look at them (--rerun-triggers). Run "
        "with --forceall to make everything again, give this run another name (key `run`), or set the config back"
    )


def _is_stale(job: KeptJob) -> bool:
    seal = next(filter(None, map(_seal, job.outputs)), None)
    if seal is None or "-" not in seal.stamp.strip("-"):
        return False
    now, made = options_stamp(job.params), seal.stamp
    return now.partition("-")[0] != made.partition("-")[0] if job.recorded else now != made


def _seal(output: str) -> Seal | None:
    """The seal that an output carries. That of another file is none: whoever reads it will say what happened."""
    path = Path(output)
    seal = _READ[path.suffix](path) if path.suffix in _READ and path.is_file() else None
    return seal if seal is not None and seal.is_of(path) else None


def _differences(resolved: Path, config: Mapping[str, Any]) -> list[str]:
    """Keys in which the config is not that of the run, with both values; none when that cannot be read."""
    try:
        old, new = dict(_flat(read_resolved_config(resolved))), dict(_flat(config))
    except UserError:
        return []
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    shown = [f"{key} was {old.get(key)!r:.40} and is {new.get(key)!r:.40}" for key in changed[:5]]
    return shown + ([f"and {len(changed) - 5} more keys"] if changed[5:] else [])


def _flat(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        name = f"{above}.{key}" if above else str(key)
        if value and isinstance(value, Mapping | list | tuple):
            yield from _flat(value, name)
        else:
            yield name, value
