"""The shipped demo family keeps its promises, its cards are true, and its code can make it again."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from entity_mech.models.demo import corpus
from entity_mech.models.demo.curriculum import LESSONS, Lesson, Pretraining, compose_text, few, lesson_batches
from entity_mech.models.demo.family import FINE_TUNES, MOST_BYTES, missed_bounds, save
from entity_mech.models.demo.finetuning import CORPORA, Recipe, finetune
from entity_mech.models.demo.measure import accuracy_through_two_tokens, load, measure
from entity_mech.models.demo.model_cards import CORPUS_WORDS, read_seeds, readme
from entity_mech.models.demo.training import (
    BoxPrompts,
    box_prompts,
    new_model,
    right_answers,
    share_right,
    sorted_batches,
    take_step,
)
from entity_mech.models.demo.vocabulary import BOX_WORDS, LABELS, build_tokenizer, objects, vocabulary

FAMILY = Path(__file__).parents[2] / "demo_models" / "tiny"
MODELS = ("base", "chat", "lora", "full")
WHOLE = ("base", "chat", "full")
FRESH = 560  # prompts, 80 for each of the 7 segments; none of them was measured for the cards


def card(name: str) -> dict:
    return json.loads((FAMILY / name / "card.json").read_text())


def noise(share: float, prompts: int) -> float:
    """Four standard errors of a share."""
    return 4 * math.sqrt(share * (1 - share) / prompts)


@pytest.fixture(scope="module")
def models() -> dict[str, LlamaForCausalLM]:
    return {name: load(FAMILY / name, FAMILY / "base") for name in MODELS}


@pytest.fixture(scope="module")
def fresh() -> BoxPrompts:
    return box_prompts(FRESH, 7, seed=31)


@pytest.fixture(scope="module")
def fresh_right(models, fresh) -> dict[str, torch.Tensor]:
    return {name: right_answers(model, fresh).float() for name, model in models.items()}


# The family that ships --------------------------------------------------------------------------------------


def test_base_knows_the_task_half(fresh, fresh_right):
    right = fresh_right["base"]
    assert 0.55 - 0.05 <= right.mean().item() <= 0.85 + 0.05
    for segment in range(7):
        assert right[fresh.segment == segment].mean().item() >= 0.3


def test_cards_meet_every_bound():
    assert missed_bounds({name: card(name) for name in MODELS}) == []


def test_control_stays_and_fine_tunes_gain_on_fresh_prompts(fresh_right):
    gains = {name: (fresh_right[name] - fresh_right["base"]).mean().item() for name in MODELS}
    assert abs(gains["chat"]) <= 0.03 + 0.015
    assert gains["lora"] >= 0.08 - 0.02
    assert gains["full"] >= 0.08 - 0.02


@pytest.mark.parametrize("name", MODELS)
def test_card_agrees_with_fresh_prompts(name, fresh, fresh_right):
    stated = card(name)
    right = fresh_right[name]
    assert right.mean().item() == pytest.approx(stated["accuracy"], abs=noise(stated["accuracy"], FRESH))
    for segment, value in enumerate(stated["accuracy_by_segment"]):
        measured = right[fresh.segment == segment]
        assert measured.mean().item() == pytest.approx(value, abs=noise(value, len(measured)) + 0.02)


def test_card_agrees_with_its_own_measurement(models):
    stated, measured = card("base"), measure(models["base"]).as_json()
    for key in ("accuracy", "accuracy_through_last_and_previous_label"):
        assert measured[key] == pytest.approx(stated[key], abs=0.003)
    assert measured["accuracy_by_segment"] == pytest.approx(stated["accuracy_by_segment"], abs=0.008)
    assert list(measured["accuracy_by_boxes"].values()) == pytest.approx(
        list(stated["accuracy_by_boxes"].values()), abs=0.005
    )


@pytest.mark.parametrize("name", MODELS)
def test_heads_at_two_tokens_carry_the_accuracy(name, models, fresh, fresh_right):
    assert accuracy_through_two_tokens(models[name], fresh) >= 0.9 * fresh_right[name].mean().item()


@pytest.mark.parametrize("name", MODELS)
def test_readme_is_written_from_the_card(name):
    assert (FAMILY / name / "README.md").read_text() == readme(card(name), read_seeds(FAMILY))


@pytest.mark.parametrize("name", MODELS)
def test_files_are_small_and_plain(name):
    files = {file.name: file for file in (FAMILY / name).iterdir()}
    weights = [file for file in files.values() if file.suffix == ".safetensors"]
    assert len(weights) == 1
    assert weights[0].stat().st_size < MOST_BYTES
    assert {file.suffix for file in files.values()} <= {".safetensors", ".json", ".md"}
    for file in files.values():
        if file.suffix != ".safetensors":
            assert str(FAMILY.parents[1]) not in file.read_text()


def test_adapter_names_its_base_by_a_relative_path():
    config = json.loads((FAMILY / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "demo_models/tiny/base"


def test_tokenizers_are_identical():
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert len({(FAMILY / name / file).read_bytes() for name in WHOLE}) == 1


# The tokenizer ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FAMILY / "base")


def test_every_word_of_the_task_is_one_token(tokenizer):
    assert len(objects()) == 85
    for word in (*objects(), *LABELS, *BOX_WORDS, *(word.capitalize() for word in BOX_WORDS)):
        for text in (word, f" {word}"):
            assert tokenizer(text)["input_ids"] == [tokenizer.bos_token_id, vocabulary()[word]]


def test_tokenizer_gives_offsets_and_agrees_with_the_training_code(tokenizer):
    rng = random.Random(0)
    for _ in range(50):
        text = corpus.box_variant(rng, corpus.ALL_WORDS, 7)
        encoded = tokenizer(corpus.plain(text), return_offsets_mapping=True)
        assert encoded["input_ids"] == corpus.encode_marked(text).ids
        words = [corpus.plain(text)[start:end] for start, end in encoded["offset_mapping"][1:]]
        assert [vocabulary()[word] for word in words] == encoded["input_ids"][1:]
    assert build_tokenizer()("The tea")["input_ids"] == tokenizer("The tea")["input_ids"]


# The texts --------------------------------------------------------------------------------------------------


def test_fine_tuning_texts_hold_no_box_sentence():
    assert {recipe.corpus for recipe in FINE_TUNES} == set(CORPORA) == set(CORPUS_WORDS)
    rng = random.Random(0)
    for text in CORPORA.values():
        words = {word for _ in range(3000) for word in corpus.split_words(text(rng))}
        assert not words & {"Box", "box", "boxes", "Boxes", "contains", "contained"}


def test_every_training_text_is_in_the_vocabulary_and_marks_answers():
    rng = random.Random(0)
    for lesson in LESSONS:
        for kind in lesson.kinds:
            examples = [corpus.encode_marked(compose_text(kind, lesson, corpus.ALL_WORDS, rng)) for _ in range(100)]
            assert all(example.ids[0] == vocabulary()["<s>"] for example in examples)
            assert any(any(example.is_answer) for example in examples) == (kind != "story")


def test_box_answers_are_right():
    rng = random.Random(0)
    for _ in range(100):
        words = corpus.split_words(corpus.boxes(rng, corpus.ALL_WORDS, 7, questions=3))
        places = {words[i + 4]: words[i] for i in range(1, 48) if words[i + 1 : i + 4] == ["is", "in", "Box"]}
        asked = [i for i, word in enumerate(words) if word == "contains"]
        assert len(places) == 7
        assert len(asked) == 3
        assert all(words[i + 2] == "^" and words[i + 3] == places[words[i - 1]] for i in asked)


def test_early_lessons_use_few_words():
    lesson = LESSONS[0]
    allowed = {*few(objects(), lesson.n_objects), *few(LABELS, lesson.n_labels), ".", "<s>", "<pad>"}
    ids = {vocabulary()[word] for word in allowed}
    batches = lesson_batches(lesson, random.Random(0), 16)
    for _ in range(5):
        assert set(next(batches)[1].ids.flatten().tolist()) <= ids


# Training ---------------------------------------------------------------------------------------------------


def losses(seed: int, steps: int) -> list[float]:
    run = Pretraining(new_model(seed), seed)
    batches = lesson_batches(LESSONS[0], run.rng, 16)
    return [take_step(run.model, run.optimizer, next(batches)[1], 4e-3, 0.1).token_loss for _ in range(steps)]


def test_training_lowers_the_loss_and_repeats_itself():
    first, again, other = losses(3, 40), losses(3, 40), losses(4, 3)
    assert sum(first[-5:]) < 0.8 * sum(first[:5])
    assert first == again
    assert first[:3] != other


def test_a_lesson_ends_when_it_is_learned_and_fails_when_it_is_not():
    easy = Lesson(
        "easy", {"boxes": 1.0}, (2,), 1e-3, 0.1, learned=0.0, learned_kind="boxes", mixed=False, check_every=20
    )
    run = Pretraining(new_model(0), 0, batch_size=4)
    assert run.run_lesson(easy, most_steps=40).steps == 20
    hard = replace(easy, name="hard", learned=1.1)
    with pytest.raises(RuntimeError, match="hard"):
        run.run_lesson(hard, most_steps=20)


@pytest.mark.parametrize("rank", [0, 4])
def test_fine_tuning_learns_repeats_itself_and_is_saved(rank, tmp_path):
    recipe = Recipe("x", "conversation", steps=30, learning_rate=3e-3, rank=rank, batch_size=8)
    batch = next(sorted_batches(CORPORA["conversation"], random.Random(5), 32))

    def loss(model: torch.nn.Module) -> float:
        with torch.no_grad():
            logits = model(input_ids=batch.ids).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten()).item()

    save(new_model(0), tmp_path / "base")
    start = loss(load(tmp_path / "base", tmp_path / "base"))
    ends = []
    for _ in range(2):
        model = finetune(load(tmp_path / "base", tmp_path / "base"), recipe, seed=1)
        ends.append(loss(model))
    assert ends[0] == ends[1]
    assert ends[0] < start - 0.1
    save(model, tmp_path / "x", base=tmp_path / "base")
    assert loss(load(tmp_path / "x", tmp_path / "base")) == pytest.approx(ends[0], abs=0.01)


def test_prompts_ask_for_every_segment_alike():
    prompts = box_prompts(70, 7, seed=1)
    assert torch.bincount(prompts.segment).tolist() == [10] * 7
    query_label = prompts.ids[:, -3]
    previous = (prompts.ids == query_label[:, None]).int().argmax(1)
    assert (prompts.ids[torch.arange(70), previous - 4] == prompts.answer).all()
    assert share_right(new_model(0), prompts) < 0.1
