"""The numbers by which the pages' answers are decided: the config's section `findings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """As the config's keys say."""

    alpha: float
    margin: float
    ceiling_share: float
    random_share: float
    smallest_effect: float
    low_accuracy: float
    low_ceiling: float
    above_model: float

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Limits:
        """From plain values, as in the config's section `findings`."""
        return cls(**values)

    def values(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)
