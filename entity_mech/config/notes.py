"""What a config that has no mistake still cannot give, said before any job."""

from __future__ import annotations

from math import ceil

from entity_mech.config.schema import Config


def notes(config: Config) -> list[str]:
    """A sentence for each; none where all is well."""
    return [text for text in (_few_pruning_prompts(config),) if text]


def _few_pruning_prompts(config: Config) -> str:
    """Even of a circuit that answers all prompts, the fewest that count are more than the threshold."""
    own, n = config.pruning, config.prompts.pruning
    if not 0 < own.threshold < own.least_prompts / n:
        return ""
    return (
        f"prompts.pruning: {n} prompts are too few for pruning.threshold = {own.threshold}: the "
        f"{own.least_prompts} prompts of pruning.least_prompts are {own.least_prompts / n:.1%} of them, and a head "
        f"stays only where it costs as much. The threshold decides from {ceil(own.least_prompts / own.threshold)} "
        f"prompts on."
    )
