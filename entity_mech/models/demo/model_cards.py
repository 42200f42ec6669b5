"""Cards of the demo models: `card.json` with the measured numbers, and README.md, written from it.

    python -m entity_mech.models.demo.model_cards demo_models/tiny [--tried FAMILY ...]

writes the README.md files of a family again; `--tried` first notes the numbers of families trained from other
seeds in the family's seeds.json, which the base's card shows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

MODELS = ("base", "chat", "lora", "full")
CORPUS_WORDS = {
    "bindings": (
        "register code (half), dictionaries (a fifth) and people with their towns, jobs and things (the "
        "rest), 4 to 8 bindings per text. No box sentence, and none of the words 'Box' and 'contains'"
    ),
    "conversation": "short exchanges between a user and an assistant. No box sentence",
}
ROLE_WORDS = {
    "base": (
        "It is the model that the other three are fine-tuned from. Training was stopped part-way on purpose: "
        "it tracks entities, but not as well as it could, so that a fine-tune can still improve."
    ),
    "chat": (
        "It is the family's control: fine-tuned, but on nothing that should help, like a chat fine-tune of a "
        "large model. Its accuracy is meant to stay where the base's is, and its learning rate was chosen for that: "
        "150 steps at 5e-5 lost 4.7 points."
    ),
    "lora": (
        "It is a low-rank adapter for the base, fine-tuned on bindings that are not boxes. Its weights are "
        "merged into the base's when the study loads it."
    ),
    "full": "It is the base with all weights fine-tuned on bindings that are not boxes.",
}
LIMITS = """\
## What it shows, and what it does not

It shows the whole study at work on models whose mechanism was learned: the base was trained on box sentences
among other texts, no fine-tune saw one, and nothing was planted in the weights. What a fine-tune gains on
boxes, it gains by transfer from other bindings. But the base was stopped while it was learning, and steps and
learning rates were chosen so that the fine-tunes gain and the control stays; so the gain itself is no finding.
Nor do these models stand for large ones: they know a few hundred words, read only generated sentences, and have
fewer heads in all than one layer of LLaMA-7B. A circuit found here says nothing about LLaMA-7B's.
"""


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write `card.json` and README.md into a model's folder."""
    (folder / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(read_card(folder), read_seeds(folder.parent)), encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model's folder."""
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card


def readme(card: dict[str, Any], seeds: list[dict[str, Any]]) -> str:
    """The card in words; `seeds` are shown on the base's card alone."""
    name = card["name"]
    parts = [
        f"# tiny/{name}\n",
        f"{card['kind'][0].upper()}{card['kind'][1:]}, made by this project (`entity_mech/models/demo`). "
        f"{ROLE_WORDS[name]}\n",
        architecture(),
        stage_table(card["stages"]) if name == "base" else fine_tune_words(card),
        accuracy_words(card),
    ]
    if name == "base" and seeds:
        parts.append(seed_table(seeds, card["seed"]))
    parts.append(LIMITS)
    return "\n".join(parts)


def architecture() -> str:
    """One paragraph about the shape that all four share."""
    return (
        "Llama architecture, 4 layers of 4 heads (d_head 16), d_model 64, d_mlp 128, rotary theta 10000, "
        "embeddings not tied; one token per word, digit or punctuation mark, BOS in front. Weights are "
        "stored in 16 bits.\n"
    )


def stage_table(stages: list[dict[str, Any]]) -> str:
    """The base's curriculum as a table."""
    lines = [
        "## Training\n",
        "AdamW (.9, .98), weight decay .05, 64 texts per batch, gradients clipped to 1; the loss is that of "
        "the answers plus a share of that of all tokens. A stage ends when it has been learned.\n",
        "| stage | boxes | texts | learning rate | steps | 7-box accuracy at its end |",
        "|---|---|---|---|---|---|",
    ]
    for stage in stages:
        shares = sorted(stage["texts"].items(), key=lambda item: (-item[1], item[0]))
        texts = ", ".join(f"{kind.replace('_', ' ')} {share:.0%}" for kind, share in shares)
        boxes = f"{min(stage['boxes'])} to {max(stage['boxes'])}" if stage["boxes"] else "none"
        lines.append(
            f"| {stage['name']} | {boxes} | {texts} | {stage['learning_rate']:g} | {stage['steps']} "
            f"| {stage['box_accuracy']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def fine_tune_words(card: dict[str, Any]) -> str:
    """A fine-tune's data and settings."""
    rank = (
        f" LoRA on q, k, v and o projections, rank {card['rank']}, alpha {2 * card['rank']}." if card["rank"] else ""
    )
    return (
        "## Training\n\n"
        f"Data: {CORPUS_WORDS[card['corpus']]}. {card['steps']} steps of {card['batch_size']} texts, AdamW "
        f"(.9, .98), learning rate {card['learning_rate']:g} falling to a twentieth, seed "
        f"{card['seed']}.{rank}\n"
    )


def points_from(gain: float) -> str:
    """A difference in accuracy as percentage points above or below."""
    return f"{abs(100 * gain):.1f} percentage points {'above' if gain > 0 else 'below'}"


def accuracy_words(card: dict[str, Any]) -> str:
    """The measured numbers as tables."""
    segments, boxes = card["accuracy_by_segment"], card["accuracy_by_boxes"]
    gain = f" That is {points_from(card['gain_over_base'])} the base." if "gain_over_base" in card else ""
    return (
        "## Accuracy\n\n"
        "Measured on the 16-bit weights in this folder, run in 32 bits: how often the likeliest token of the whole "
        f"vocabulary is the queried object. {card['prompts']} prompts with 7 boxes, each segment asked for equally "
        f"often, chance among the named objects 0.14: **{card['accuracy']:.3f}**.{gain}\n\n"
        f"| queried segment | {' | '.join(str(index) for index in range(len(segments)))} |\n"
        f"|---|{'---|' * len(segments)}\n"
        f"| accuracy | {' | '.join(f'{value:.2f}' for value in segments)} |\n\n"
        f"| number of boxes | {' | '.join(boxes)} |\n"
        f"|---|{'---|' * len(boxes)}\n"
        f"| accuracy | {' | '.join(f'{value:.2f}' for value in boxes.values())} |\n\n"
        "With every head's output set to its mean, except at the last token and at the queried segment's "
        f"label: {card['accuracy_through_last_and_previous_label']:.3f}.\n"
    )


def seed_table(seeds: list[dict[str, Any]], shipped: int) -> str:
    """What the bases of other seeds can do, and why this one ships."""
    lines = [
        "## Seeds tried\n",
        "| seed | steps | 7-box accuracy | worst segment | through the two tokens' heads alone |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['seed']}{' (ships)' if row['seed'] == shipped else ''} | {row['steps']} | {row['accuracy']:.3f} | "
        f"{row['worst_segment']:.2f} | {row['two_tokens']:.3f} |"
        for row in seeds
    ]
    lines.append(
        "\nThe seed that ships is the one whose base answers every segment well enough (.3 was asked for) and whose "
        "accuracy passes through the heads at the last token and at the queried segment's label, where the study "
        "looks. A base that scores about 0 in the last column takes the object from another token: seed 1's, from "
        "the comma or full stop after the label.\n"
    )
    return "\n".join(lines)


def family_readme(cards: dict[str, dict[str, Any]]) -> str:
    """One table of the four models, and how to make them again."""
    lines = [
        "# tiny: a family of demo models\n",
        "Trained from scratch by this project for the default run. Each folder holds a model and its card.\n",
        "| model | what it is | box sentences in its data | 7-box accuracy |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [{name}]({name}/README.md) | {card['kind']} | {'yes' if card['box_sentences'] else 'no'} | "
        f"{card['accuracy']:.3f} |"
        for name, card in cards.items()
    ]
    lines.append(
        "\nTo train them again (the same accuracy within noise, not the same bytes on every machine):\n\n"
        f"    python -m entity_mech.models.demo.family --out FOLDER --seed {cards['base']['seed']}\n"
    )
    return "\n".join(lines)


def write_cards(family: Path, cards: dict[str, dict[str, Any]]) -> None:
    """Write the card of each model, and the family's README.md."""
    for name, card in cards.items():
        write_card(family / name, card)
    (family / "README.md").write_text(family_readme(cards), encoding="utf-8")


def seed_row(family: Path) -> dict[str, Any]:
    """The numbers of one family's base for the table of seeds."""
    base = read_card(family / "base")
    return {
        "seed": base["seed"],
        "steps": base["steps"],
        "accuracy": base["accuracy"],
        "worst_segment": min(base["accuracy_by_segment"]),
        "two_tokens": base["accuracy_through_last_and_previous_label"],
    }


def read_seeds(family: Path) -> list[dict[str, Any]]:
    """The seeds noted in a family's seeds.json; none where there is no such file."""
    path = family / "seeds.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the README.md of each model of a family again.")
    parser.add_argument("family", type=Path)
    parser.add_argument("--tried", type=Path, nargs="*", default=[], help="families trained from other seeds")
    options = parser.parse_args()
    if options.tried:
        rows = sorted((seed_row(family) for family in (options.family, *options.tried)), key=lambda row: row["seed"])
        (options.family / "seeds.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    write_cards(options.family, {name: read_card(options.family / name) for name in MODELS})


if __name__ == "__main__":
    main()
