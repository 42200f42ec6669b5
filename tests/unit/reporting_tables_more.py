"""Synthetic tables of the stages that inspect circuits, for the tests of reporting."""

from itertools import combinations

import numpy as np
import pandas as pd
from reporting_tables import dcm

from entity_mech.methods.attention_patterns import MEAN_COLUMNS, ROW_COLUMNS
from entity_mech.methods.circuit_size import CURVE_COLUMNS, SUMMARY_COLUMNS
from entity_mech.methods.cmap_inputs import COLUMNS as INPUT_COLUMNS
from entity_mech.methods.cmap_inputs import INPUTS
from entity_mech.methods.completeness import COLUMNS as COMPLETENESS_COLUMNS
from entity_mech.methods.knockout import COLUMNS as KNOCKOUT_COLUMNS
from entity_mech.methods.knockout import PAPER_PAIRS
from entity_mech.methods.overlap import OVERLAP_COLUMNS
from entity_mech.methods.patch_heads import COLUMNS as PATCH_COLUMNS
from entity_mech.methods.role_map import COLUMNS as ROLE_COLUMNS
from entity_mech.methods.role_map import ENOUGH, NEEDED
from entity_mech.reporting.study import Study
from entity_mech.task.probes import PLAIN_PROBE, PROBES

ROLES = (
    *("the", "object", "is", "in", "box", "label", "separator"),
    *("query_box", "query_label", "contains", "last"),
)


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
            about = (model, model, kind, draw, group, 5, ours, whole)
            rows.append((*about, gap, gap - 0.04, gap + 0.04, abs(gap), 0.8, 0.76, 0.84, 490))
    return pd.DataFrame(rows, columns=COMPLETENESS_COLUMNS)


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
    columns = ["model_1", "model_2", "search", "letter", "heads", "spearman"]
    return pd.DataFrame(rows, columns=OVERLAP_COLUMNS), pd.DataFrame(scores, columns=columns)


def circuit_size(study: Study, total: int = 1024) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves that rise to the whole model's accuracy, and their summary."""
    curve, summary = [], []
    for i, model in enumerate(study.models):
        for k in (0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256):
            if 4 * k > total:
                continue
            f = 1 - np.exp(-k / (6 + i))
            a = f * (0.6 + 0.03 * i)
            shares = [g + d for g in (f, 0.97 * f, 0.9 * f) for d in (0, -0.04, 0.04)]
            curve.append((model, k, 4 * k, 4 * k / total, a, a - 0.03, a + 0.03, *shares, 490))
        summary.append((model, 0.93, 0.05, 16, 64, 1.0, 490))
    return pd.DataFrame(curve, columns=CURVE_COLUMNS), pd.DataFrame(summary, columns=SUMMARY_COLUMNS)


def role_map(study: Study) -> pd.DataFrame:
    """Needed at every role, enough at every set."""
    rng = np.random.default_rng(6)
    rows = []
    for model in study.models:
        sets = [("intact", "")] + [("needed", role) for role in NEEDED] + [("enough", "+".join(s)) for s in ENOUGH]
        for kind, tokens in sets:
            value = float(rng.uniform(0, 0.9))
            rows.append((model, kind, tokens, value, max(0, value - 0.04), value + 0.04, 490))
    return pd.DataFrame(rows, columns=ROLE_COLUMNS)


def patched_heads(study: Study, better: float = 0.1) -> pd.DataFrame:
    """Every circuit's heads in every model; position heads of B on the probes too. better: in fine-tuned models."""
    rng = np.random.default_rng(7)
    carries = {"A": "object", "B": "position", "C": "position", "D": "label"}
    rows = []
    for model in study.models:
        for circuit in study.models:
            for group in study.groups:
                for desideratum in ("object", "label", "position"):
                    names = [desideratum]
                    if group.letter == "B" and desideratum == PLAIN_PROBE:
                        names += PROBES
                    for pairs in names:
                        value = 0.45 if carries[group.letter] == desideratum else 0.05
                        value += better * (model != study.base) - (
                            0.2 * float(rng.uniform()) if pairs in PROBES else 0
                        )
                        heads = 0 if group.letter == "D" and desideratum == "object" else 7
                        what = (model, circuit, group.name, group.letter, desideratum, pairs, heads)
                        gain = value - 0.04
                        more = (gain, gain - 0.02, gain + 0.02)
                        rows.append((*what, value, value - 0.02, value + 0.02, 0.01, 0.04, *more, 5000, 10))
    return pd.DataFrame(rows, columns=PATCH_COLUMNS)


def probe_masks(study: Study) -> pd.DataFrame:
    """Masks of group B trained on each probe."""
    table = dcm(study)
    plain = table[(table["letter"] == "B") & (table["desideratum"] == PLAIN_PROBE)]
    return pd.concat([plain.assign(desideratum=name) for name in (PLAIN_PROBE, *PROBES)], ignore_index=True)


def cmap_inputs(study: Study) -> pd.DataFrame:
    """All cmap_inputs/{base}__{model}.csv."""
    rng = np.random.default_rng(8)
    rows = []
    for model in study.finetuned:
        for donor, target in ((model, study.base), (study.base, model)):
            for circuit in (model, study.base):
                for part in ("A", "B"):
                    for which in INPUTS:
                        a = 0.66 + 0.1 * float(rng.uniform())
                        common = (study.base, model, donor, target, circuit, part, which)
                        more = (0.05, 0.01, 0.09, 0.3, 0.1, 0.5)
                        rows.append((*common, "chosen", None, 12, False, a, a - 0.04, a + 0.04, *more, 490))
                        for draw in range(5):
                            r = 0.66 + 0.01 * float(rng.normal())
                            rows.append((*common, "random", draw, 12, False, r, r - 0.04, r + 0.04, *more, 490))
    return pd.DataFrame(rows, columns=INPUT_COLUMNS)


def knockout(study: Study, n_layers: int) -> pd.DataFrame:
    """The paper's pairs at every layer."""
    rows = []
    for i, model in enumerate(study.models):
        for pair, (source, target) in enumerate(PAPER_PAIRS):
            for layer in range(n_layers + 1):
                rise = 1 / (1 + np.exp(-(layer - n_layers * (0.3 + 0.1 * pair)) * 8 / n_layers))
                value = 0.65 + 0.02 * i if target == "random" else 0.05 + (0.6 + 0.02 * i) * rise
                rows.append((model, source, target, layer, value, value - 0.03, value + 0.03, 490))
    return pd.DataFrame(rows, columns=KNOCKOUT_COLUMNS)


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
            for role, value in zip(("bos", *ROLES), rng.dirichlet(np.full(12, 0.2)), strict=True):
                means.append((*label, "role", role, value, value - 0.02, value + 0.02, 490))
            for box, value in enumerate(rng.dirichlet(np.full(study.boxes, 0.5)), 1):
                means.append((*label, "segment", str(box), value, value - 0.02, value + 0.02, 490))
            for name in ("queried", "others"):
                means.append((*label, "segment", name, 0.4, 0.38, 0.42, 490))
            row = rng.dirichlet(np.full(len(tokens), 0.05))
            for position, (token, value) in enumerate(zip(tokens, row, strict=True)):
                prompt.append((*label, 0, position, position, token, value))
    return pd.DataFrame(means, columns=MEAN_COLUMNS), pd.DataFrame(prompt, columns=ROW_COLUMNS)
