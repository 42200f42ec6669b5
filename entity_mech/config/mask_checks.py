"""Can masks be trained as the config says, so that a head can be chosen?"""

from __future__ import annotations

from math import ceil

from entity_mech.config.schema import Config

HALF = 0.5  # a weight starts at 1, and its head is patched from here down


def training_problems(config: Config) -> list[str]:
    """Masks whose weights cannot come down to one half before the last one is tried, so that none chooses a head.

    Adam moves a weight by at most about the learning rate a step.
    """
    trained = {"dcm.pairs.train": config.dcm.pairs.train}
    if "probes" not in config.leave_out:
        trained["probes.pairs.train"] = config.probes.pairs.train
    return [text for name, pairs in trained.items() if (text := _too_few_steps(config, name, pairs))]


def _too_few_steps(config: Config, name: str, pairs: int) -> str:
    own = config.dcm
    steps = ceil(pairs / own.batch_size)
    last = (own.epochs - 1) * steps + (steps - 1) // own.validate_every * own.validate_every + 1
    if own.learning_rate * last >= HALF - 1e-9:
        return ""
    return (
        f"{name}: {pairs} pairs are too few for a mask to choose a head: the last one that is tried comes after "
        f"{last} {'step' if last == 1 else 'steps'} (dcm.batch_size {own.batch_size}, epochs {own.epochs}, "
        f"validate_every {own.validate_every}) of dcm.learning_rate {own.learning_rate:g}, and a weight has to fall "
        f"from 1 to {HALF:g}. It takes {ceil(HALF / own.learning_rate - 1e-9)} steps."
    )
