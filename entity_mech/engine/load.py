"""Load a prepared model and let it prove itself: the engine must compute and patch what the model's own code does."""

from pathlib import Path

import torch

from entity_mech.engine.clean import run_logits
from entity_mech.engine.guards import check_guards
from entity_mech.models.decoder import Decoder
from entity_mech.models.loading import check_fingerprint, load_decoder, read_model
from entity_mech.models.logit_check import check_logits


def load_checked(
    model_json: Path, device: str | torch.device = "auto", dtype: str | torch.dtype = torch.float32
) -> Decoder:
    """A prepared model's weights, checked against the fingerprint, the logits and the wiring in its model.json.

    device: `auto` (the card with most free memory, else the CPU), `cpu`, `cuda` or `cuda:N`; dtype: a torch
    dtype or its name. Raises UserError when files are missing, the weights have changed, or the engine gives
    other logits or another wiring than the model's own code, beyond the dtype's tolerance.
    """
    info = read_model(model_json)
    check_fingerprint(info, Path(model_json).parent)
    decoder = load_decoder(model_json, device, dtype)
    check_logits(decoder, info, run_logits)
    check_guards(decoder, info)
    return decoder
