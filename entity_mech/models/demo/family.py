"""The tiny demo family: a base, a chat fine-tune (the control), a LoRA adapter and a full fine-tune, from one
seed.

    python -m entity_mech.models.demo.family --out demo_models/tiny

trains all four on one core, measures what was written, and writes a card beside each. The same seed gives
models of the same accuracy within noise on another machine, not the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from entity_mech.models.demo.curriculum import LESSONS, LessonRecord, pretrain
from entity_mech.models.demo.finetuning import Recipe, finetune
from entity_mech.models.demo.measure import load, measure
from entity_mech.models.demo.model_cards import read_card, write_cards
from entity_mech.models.demo.vocabulary import build_tokenizer

SEED = 0
MOST_BYTES = 2_000_000
FINE_TUNES = (
    Recipe("chat", "conversation", steps=100, learning_rate=2e-5),
    Recipe("lora", "bindings", steps=800, learning_rate=1.5e-3, rank=16),
    Recipe("full", "bindings", steps=300, learning_rate=1e-3),
)


def build(out: Path, seed: int, keep_base: bool = False) -> dict[str, dict[str, Any]]:
    """Train, save and measure the family in `out`; returns each model's card. Bounds missed are printed.

    With `keep_base` the base that is in `out` stays, and the others are made from it.
    """
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    if keep_base:
        cards = {"base": read_card(out / "base")}
    else:
        base, lessons = pretrain(seed)
        save(base, out / "base")
        cards = {"base": describe_base(lessons, seed)}
    for recipe in FINE_TUNES:
        shipped = load(out / "base", out / "base")
        save(finetune(shipped, recipe, seed), out / recipe.name, base=out / "base")
        cards[recipe.name] = describe_fine_tune(recipe, seed)
    for name, card in cards.items():
        card.update(measure(load(out / name, out / "base")).as_json())
        card["bytes"] = sum(file.stat().st_size for file in (out / name).glob("*.safetensors"))
        if name != "base":
            card["gain_over_base"] = round(card["accuracy"] - cards["base"]["accuracy"], 4)
        print(f"{name}: {card['accuracy']:.3f}, by segment {card['accuracy_by_segment']}", flush=True)
    write_cards(out, cards)
    for problem in missed_bounds(cards):
        print(f"NOT MET: {problem}", flush=True)
    print(f"the family took {time.monotonic() - start:.0f} s", flush=True)
    return cards


def save(model: LlamaForCausalLM | PeftModel, folder: Path, base: Path | None = None) -> None:
    """Write 16-bit weights; a whole model gets the tokenizer too, an adapter says which `base` it is for."""
    shutil.rmtree(folder, ignore_errors=True)
    model.half()
    if isinstance(model, PeftModel):
        model.peft_config["default"].base_model_name_or_path = (base or folder).as_posix()
        model.save_pretrained(str(folder))
    else:
        model.save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)


def describe_base(lessons: list[LessonRecord], seed: int) -> dict[str, Any]:
    """What the base's card says of its training."""
    return {
        "name": "base",
        "kind": "pre-trained from scratch",
        "seed": seed,
        "box_sentences": True,
        "steps": sum(lesson.steps for lesson in lessons),
        "stages": [
            {
                "texts": lesson.kinds,
                "boxes": sorted(set(lesson.boxes)),
                "learning_rate": lesson.learning_rate,
                **asdict(record),
            }
            for lesson, record in zip(LESSONS, lessons, strict=True)
        ],
    }


def describe_fine_tune(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a fine-tune's card says of its training."""
    kind = f"LoRA adapter, rank {recipe.rank}" if recipe.rank else "fine-tune of all weights"
    return {"kind": kind, "seed": seed, "box_sentences": False, **asdict(recipe)}


def missed_bounds(cards: dict[str, dict[str, Any]]) -> list[str]:
    """What the family is asked for and does not reach, in words."""
    base, problems = cards["base"], []
    if not 0.55 <= base["accuracy"] <= 0.85:
        problems.append(f"base accuracy {base['accuracy']} outside .55 to .85")
    if min(base["accuracy_by_segment"]) < 0.3:
        problems.append(f"a segment of the base under .3: {base['accuracy_by_segment']}")
    if abs(cards["chat"]["gain_over_base"]) > 0.03:
        problems.append(f"the control is {cards['chat']['gain_over_base']} from the base")
    problems += [
        f"{name} gains only {cards[name]['gain_over_base']}"
        for name in ("lora", "full")
        if cards[name]["gain_over_base"] < 0.08
    ]
    problems += [f"{name} holds {card['bytes']} bytes" for name, card in cards.items() if card["bytes"] >= MOST_BYTES]
    return problems


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder to write base, chat, lora and full in")
    parser.add_argument("--seed", type=int, default=SEED, help=f"seed of everything drawn (default {SEED})")
    parser.add_argument("--keep-base", action="store_true", help="only fine-tune again, from the base in --out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if missed_bounds(build(options.out, options.seed, options.keep_base)):
        sys.exit(1)


if __name__ == "__main__":
    main()
