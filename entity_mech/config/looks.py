"""Names of palettes and colour maps, looked up before the run: figures are drawn at its end.

The libraries that know them are imported only for names that are not the defaults.
"""

from __future__ import annotations

from entity_mech.config.messages import nearest
from entity_mech.config.pages import Figures
from entity_mech.config.schema import Config
from entity_mech.errors import shown

_DEFAULT = Figures()


def check_looks(config: Config) -> list[str]:
    """What seaborn and matplotlib do not know of the names in `figures`."""
    found, figures = [], config.figures
    if figures.palette != _DEFAULT.palette:
        found += _palette(figures.palette)
    if figures.colormap != _DEFAULT.colormap:
        found += _colormap(figures.colormap)
    return found


def _palette(name: str) -> list[str]:
    import seaborn
    from matplotlib import colormaps

    try:
        seaborn.color_palette(name, 3).as_hex()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        named = ["deep", "muted", "bright", "pastel", "dark", "colorblind", "husl", "hls"]
        return [
            f"figures.palette: seaborn knows no palette {shown(name)}; allowed: {', '.join(named)}, or the name of a "
            f"matplotlib colour map.{nearest(name, [*named, *colormaps])}"
        ]
    return []


def _colormap(name: str) -> list[str]:
    from matplotlib import colormaps

    if name in colormaps:
        return []
    return [
        f"figures.colormap: matplotlib knows no colour map {shown(name)}, such as RdBu, coolwarm, viridis."
        f"{nearest(name, colormaps)}"
    ]
