"""Synthetic tables of the stages that inspect circuits, for the tests of reporting."""

from itertools import combinations

import numpy as np
import pandas as pd

from entity_mech.methods.cmap_inputs import INPUTS
from entity_mech.methods.knockout import PAPER_PAIRS
from entity_mech.methods.role_map import sets_of
from entity_mech.reporting.study import Study
from entity_mech.task.pair_kinds import PLAIN_PROBE, PROBES
from tests.helpers.reporting_columns import COLUMNS
from tests.helpers.reporting_tables import CARRIES, dcm


def completeness(study: Study) -> pd.DataFrame:
    """Own circuits: nothing, 20 halves, each group."""
    rng = np.random.default_rng(4)
    rows = []
    for model in study.models:
        sets = [("nothing", None, None), *(("half", draw, None) for draw in range(20))]
        sets += [("group", None, group.name) for group in study.groups]
        for kind, draw, group in sets:
            whole = 0.7 if kind == "nothing" else float(rng.uniform(0.05, 0.6))
            ours = float(np.clip(whole + rng.normal(0, 0.06), 0, 1))
            gap = ours - whole
            apart = (gap, gap - 0.04, gap + 0.04, abs(gap))
            rows.append((model, model, kind, draw, group, 5, ours, whole, *apart, 0.8, 0.7, 0.9, 490))
    return pd.DataFrame(rows, columns=COLUMNS["completeness"])


def overlap(study: Study, empty: str = "C") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Overlap of every pair, and rank correlations. empty: letter of a group without heads."""
    rng = np.random.default_rng(5)
    rows, scores = [], []
    for one, other in combinations(study.models, 2):
        for name, letter in [*((group.name, group.letter) for group in study.groups), ("whole_circuit", "")]:
            n, m = (0, 0) if letter == empty else (20, 25)
            shared = 0 if letter == empty else int(rng.integers(3, 18))
            share = np.nan if letter == empty else shared / (n + m - shared)
            rows.append((one, other, name, letter, n, m, shared, share, share, share, 2.1, 0.1, 0.1, 0.06, 0.01))
            if letter:
                scores.append((one, other, name, letter, 512, float(rng.uniform(-0.1, 0.9))))
    return (
        pd.DataFrame(rows, columns=COLUMNS["overlap"]),
        pd.DataFrame(scores, columns=COLUMNS["score_correlation"]),
    )


def circuit_size(study: Study, total: int = 1024) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves that rise to the whole model's accuracy, and their summary."""
    curve, summary = [], []
    for i, model in enumerate(study.models):
        for k in (0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256):
            if 4 * k > total:
                continue
            f = 1 - np.exp(-k / (6 + i))
            a = f * (0.6 + 0.03 * i)
            shares = (f, f - 0.04, f + 0.04, f, f - 0.04, f + 0.04, a, a - 0.03, a + 0.03)
            curve.append((model, k, 4 * k, 4 * k / total, a, a - 0.03, a + 0.03, *shares, 490))
        summary.append((model, 0.93, 0.05, 16, 64, 1.0, 490))
    return pd.DataFrame(curve, columns=COLUMNS["circuit_size"]), pd.DataFrame(
        summary, columns=COLUMNS["circuit_size_summary"]
    )


def role_map(study: Study) -> pd.DataFrame:
    """Needed at every role, enough at every set."""
    rng = np.random.default_rng(6)
    rows = []
    for model in study.models:
        sets = [("intact", "")] + [("needed", role) for role in study.task.roles[1:]]
        sets += [("enough", "+".join(names)) for names in sets_of(study.task.roles)]
        for kind, tokens in sets:
            value = float(rng.uniform(0, 0.9))
            drop = (0.7 - value, 0.65 - value, 0.75 - value, 0.001) if kind == "needed" else (np.nan,) * 4
            rows.append((model, kind, tokens, value, max(0, value - 0.04), value + 0.04, *drop, 490))
    return pd.DataFrame(rows, columns=COLUMNS["role_map"])


def _none(value: float) -> tuple[float, float, float, float]:
    """Accuracy with nothing patched, and the gain over it with its interval."""
    return 0.04, value - 0.04, value - 0.07, value - 0.01


def patched_heads(study: Study, better: float = 0.1) -> pd.DataFrame:
    """Every circuit's heads in every model. better: what fine-tuned models gain."""
    rows = []
    for model in study.models:
        for circuit in study.models:
            for group in study.groups:
                for desideratum in ("object", "label", "position"):
                    value = 0.45 if CARRIES[group.letter] == desideratum else 0.05
                    value += better * (model != study.base)
                    heads = 0 if group.letter == "D" and desideratum == "object" else 7
                    what = (model, circuit, group.name, group.letter, desideratum, desideratum, heads)
                    rows.append((*what, value, value - 0.02, value + 0.02, 0.01, *_none(value), 5000, 10))
    return pd.DataFrame(rows, columns=COLUMNS["patched_heads"])


def probes(study: Study) -> pd.DataFrame:
    """Position heads of group B on the plain pairs and on every probe: each model's own, and the base's."""
    rng = np.random.default_rng(7)
    group, rows = study.group("B"), []
    for model in study.models:
        for circuit in dict.fromkeys((model, study.base)):
            for pairs in (PLAIN_PROBE, *PROBES):
                value = 0.5 - (0.2 * float(rng.uniform()) if pairs != PLAIN_PROBE else 0)
                what = (model, circuit, group.name, group.letter, PLAIN_PROBE, pairs, 7)
                rows.append((*what, value, value - 0.02, value + 0.02, np.nan, *_none(value), 300, 1))
    return pd.DataFrame(rows, columns=COLUMNS["probes"])


def probe_masks(study: Study) -> pd.DataFrame:
    """Masks of group B trained on each probe."""
    table = dcm(study)
    plain = table[(table["letter"] == "B") & (table["desideratum"] == PLAIN_PROBE)]
    return pd.concat([plain.assign(desideratum=name) for name in (PLAIN_PROBE, *PROBES)], ignore_index=True)


def _accuracy_and_gain(accuracy: float) -> tuple[float, ...]:
    gain = accuracy - 0.66
    numbers = ((accuracy, 0.04), (gain, 0.03), (gain / 0.16, 0.2))
    return tuple(end for number, half in numbers for end in (number, number - half, number + half))


def cmap_inputs(study: Study) -> pd.DataFrame:
    """All cmap_inputs/{base}__{model}.csv."""
    rng = np.random.default_rng(8)
    rows = []
    for model in study.fine_tuned:
        for donor, target in ((model, study.base), (study.base, model)):
            for circuit in (model, study.base):
                for part in ("A", "B"):
                    for which in INPUTS:
                        a = 0.66 + 0.1 * float(rng.uniform())
                        common = (study.base, model, donor, target, circuit, part, which)
                        rows.append((*common, "chosen", None, 12, False, *_accuracy_and_gain(a), 490))
                        for draw in range(5):
                            r = 0.66 + 0.01 * float(rng.normal())
                            rows.append((*common, "random", draw, 12, False, *_accuracy_and_gain(r), 490))
    return pd.DataFrame(rows, columns=COLUMNS["cmap_inputs"])


def knockout(study: Study, n_layers: int) -> pd.DataFrame:
    """The paper's pairs at every layer."""
    rows = []
    for i, model in enumerate(study.models):
        for pair, (source, target) in enumerate(PAPER_PAIRS):
            for layer in range(n_layers + 1):
                rise = 1 / (1 + np.exp(-(layer - n_layers * (0.3 + 0.1 * pair)) * 8 / n_layers))
                value = 0.65 + 0.02 * i if target == "random" else 0.05 + (0.6 + 0.02 * i) * rise
                rows.append((model, source, target, layer, value, value - 0.03, value + 0.03, 490))
    return pd.DataFrame(rows, columns=COLUMNS["knockout"])


def prompt_tokens(boxes: int = 7) -> list[str]:
    """Tokens of a prompt with word starts marked as Llama's tokenizer does."""
    objects = ["apple", "document", "wine", "television", "drum", "umbrella", "clock"][:boxes]
    text = ", ".join(
        f"{'The' if i == 0 else 'the'} {name} is in Box {label}"
        for i, (name, label) in enumerate(zip(objects, "MKXTBQF", strict=False))
    )
    words = f"{text} . Box K contains the".replace(",", " ,").split()
    return ["<s>", *(f"\u2581{word}" if word != "," else word for word in words)]


def attention(study: Study, heads: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean attention and one prompt's rows of the base's strongest heads."""
    rng = np.random.default_rng(9)
    means, prompt = [], []
    tokens = prompt_tokens(study.boxes)
    for group in study.groups:
        for rank in range(1, heads + 1):
            label = (study.base, study.base, group.name, group.letter, group.token, 20 + rank, 10 + rank, rank)
            roles = study.task.roles
            for role, value in zip(roles, rng.dirichlet(np.full(len(roles), 0.2)), strict=True):
                means.append((*label, "role", role, value, value - 0.02, value + 0.02, 490))
            for box, value in enumerate(rng.dirichlet(np.full(study.boxes, 0.5)), 1):
                means.append((*label, "segment", str(box), value, value - 0.02, value + 0.02, 490))
            for name in ("queried", "others"):
                means.append((*label, "segment", name, 0.4, 0.38, 0.42, 490))
            row = rng.dirichlet(np.full(len(tokens), 0.05))
            for position, (token, value) in enumerate(zip(tokens, row, strict=True)):
                prompt.append((*label, 0, position, position, token, value))
    return pd.DataFrame(means, columns=COLUMNS["attention"]), pd.DataFrame(
        prompt, columns=COLUMNS["attention_prompt"]
    )
