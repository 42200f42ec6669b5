"""Write the planted models: python -m entity_mech.models.planted --out resources/planted"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from entity_mech.models.planted.build import write_variant
from entity_mech.models.planted.variants import VARIANTS


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m entity_mech.models.planted", description="Write planted models.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write them in, a folder each")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help=f"some of {', '.join(VARIANTS)}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only or VARIANTS:
        write_variant(VARIANTS[name], options.out / name)
        print(f"{name}: {VARIANTS[name].note}", flush=True)


if __name__ == "__main__":
    main()
