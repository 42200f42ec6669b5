"""Settings for all tests."""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent / "unit"), str(Path(__file__).parent)]
torch.set_num_threads(1)
