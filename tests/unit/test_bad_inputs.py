"""What a wrong input gets: one clear sentence, soon, and before anything is written. One line a case."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from entity_mech.errors import UserError
from tests.helpers.entrances import FEW, Entrance, adapter, command, config, many, model, model_file, words
from tests.helpers.snakemake_runs import ROOT

SECONDS = 10


def task(**keys: Any) -> Entrance:
    return config({"task": keys})


def models(*entries: dict[str, Any], **keys: Any) -> Entrance:
    """Models of a config: the shipped base, and others made of it."""
    base = {"name": "base", "path": "demo_models/tiny/base"}
    return config({"models": [base, *({**base, "base": "base", **entry} for entry in entries)], **keys})


def search(name: str, letter: str, token: str, *receivers: Any, **more: Any) -> dict[str, Any]:
    found = [one if isinstance(one, str) else {"search": one[0], "input": one[1]} for one in receivers]
    return {"name": name, "letter": letter, "token": token, "receivers": found, **more}


def chain(*searches: dict[str, Any], **keys: Any) -> Entrance:
    return config({"searches": list(searches), "leave_out": ["probes"], **keys})


K_OF_C = search("b", "B", "last", ("c", "k"))
CIRCLE = [{"name": name, "path": name, "base": base} for name, base in ("ab", "ba")]
SMALL = {"boxes": 2, "objects": list("abcd"), "labels": "XYZ"}
WEIGHTS = (ROOT / "demo_models/tiny/base/model.safetensors").read_bytes()
A = search("a", "A", "last", "logits")
LONG = "x" * 70
ENDLESS = f'{{"weight_map": {{"a": "{LONG * 5}"}}}}'
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

CASES: list[tuple[str, Entrance, str]] = [
    # The config file as a file.
    ("empty file", config(""), "config.yaml is empty; it should hold keys with values"),
    ("only a comment", config("# nothing\n"), "is empty"),
    ("a list", config("- seed\n"), "holds ['seed']; it should hold keys with values"),
    ("a word", config("seed\n"), "holds 'seed'; it should hold keys"),
    ("a tab", config("task:\n\tboxes: 3\n"), "line 2: this is not YAML"),
    ("an open bracket", config("leave_out: [probes\n"), "this is not YAML"),
    ("key twice", config("seed: 1\nrun: x\nseed: 2\n"), "line 3: the key 'seed' is there already, in line 1"),
    ("inner key twice", config("dcm:\n  epochs: 1\n  epochs: 2\n"), "line 3: the key 'epochs' is there already"),
    ("key twice in one line", config("dcm: {epochs: 1, epochs: 2}\n"), "line 1: the key 'epochs' is there already"),
    ("not UTF-8", config("run: m\u00fcller\n".encode("latin-1")), "is not UTF-8 text (byte 7)"),
    ("UTF-16", config("run: x\n".encode("utf-16")), "is not UTF-8 text"),
    ("binary", config(bytes(range(256))), "is not UTF-8 text"),
    ("a NUL", config("run: a\0b\n"), "this is not YAML"),
    ("a number as key", config("3: x\n"), "the key 3 should be text"),
    ("a list as key", config("? [a]\n: x\n"), "config.yaml, line 1: this is not YAML"),
    ("a date that is none", config("run: 2001-99-99\n"), "a value cannot be read"),
    ("a Python object", config("run: !!python/object/apply:os.getcwd []\n"), "could not determine a constructor"),
    ("a value in itself", config("leave_out: &a [*a]\n"), "nested too deeply"),
    ("a bomb of anchors", config(BOMB), "nested too deeply, or too many"),
    ("nested lists", config("leave_out: " + "[" * 5000 + "]" * 5000), "cannot be read"),
    ("too large", config("task: {objects: [" + "word, " * 100_000 + "]}"), "put a long list of words into a file"),
    # Keys and kinds of values.
    ("unknown key", config({"serches": []}), "serches: there is no such key. Allowed here"),
    ("nearest key", config({"dcm": {"epoch": 3}}), "Did you mean 'epochs'?"),
    ("inner key", config({"dcm": {"pairs": {"trian": 3}}}), "dcm.pairs.trian: there is no such key"),
    ("not one of", config({"dcm": {"ties": "fever"}}), "dcm.ties: 'fever' is not one of: fewer, more. Did you"),
    ("half a number", config({"seed": 1.5}), "seed: 1.5 should be a whole number."),
    ("a number in quotes", config({"seed": "1"}), "seed: '1' should be a whole number."),
    ("no number", config({"dcm": {"learning_rate": "fast"}}), "dcm.learning_rate: 'fast' should be a number."),
    ("true for a number", config({"pruning": {"threshold": True}}), "pruning.threshold: True should be a number."),
    ("true for a count", config({"dcm": {"epochs": True}}), "dcm.epochs: True should be a whole number."),
    ("NaN", config("dcm: {learning_rate: .nan}"), "dcm.learning_rate: nan should be a finite number."),
    ("infinity", config("pruning: {threshold: .inf}"), "pruning.threshold: inf should be a finite number."),
    ("1 for true", config({"path_patching": {"null_map": 1}}), "path_patching.null_map: 1 should be true or"),
    ("null for a section", config({"dcm": None}), "dcm: None should be keys with values."),
    ("no models", config({"models": []}), "models: should not be empty."),
    ("no name", config({"models": [{"path": "x"}]}), "models[0].name: this key is missing."),
    ("nearly auto", config({"compute": {"batch_size": "aut"}}), "compute.batch_size: 'aut' is not one of: auto, a"),
    ("a template of keys", task(template={}), "task.template: {} should be text"),
    ("objects of 3", task(objects=3), "task.objects: 3 should be text or a list."),
    ("nearly knee", chain(A | {"keep": "kne"}), "Did you mean 'knee'?"),
    ("nearly last", chain(A | {"token": "lst"}), "searches[0].token: 'lst' is not a token role of this task"),
    ("nearly logits", chain(A | {"receivers": ["logit"]}), "searches[0].receivers[0]: 'logit'"),
    ("no input", chain(A | {"receivers": [{"search": "a"}]}), "searches[0].receivers[0].input: this key is"),
    # Bounds.
    ("seed below 0", config({"seed": -1}), "seed: -1 should be at least 0."),
    ("a huge seed", config({"seed": 10**30}), "seed: 1000000000000000000000000000000 should be at most"),
    ("threshold -5", config({"pruning": {"threshold": -5}}), "pruning.threshold: -5 should be at least 0."),
    ("threshold 5", config({"pruning": {"threshold": 5}}), "pruning.threshold: 5 should be at most 1."),
    ("learning rate 0", config({"dcm": {"learning_rate": 0}}), "dcm.learning_rate: 0 should be more than 0."),
    ("learning rate 1e6", config({"dcm": {"learning_rate": "1e6"}}), "dcm.learning_rate: '1e6' should be at most"),
    ("penalty 1e9", config({"dcm": {"penalty": 1e9}}), "dcm.penalty: 1000000000.0 should be at most 1000."),
    ("no batch", config({"compute": {"batch_size": 0}}), "compute.batch_size: 0 should be at least 1."),
    ("1e12 prompts", config({"prompts": {"discovery": 10**12}}), "prompts.discovery: 1000000000000 should be at"),
    ("1e9 resamples", config({"stability": {"resamples": 10**9}}), "stability.resamples: 1000000000 should be at"),
    ("1e9 circuits", config({"faithfulness": {"random_circuits": 10**9}}), "faithfulness.random_circuits:"),
    ("1e9 parts", config({"patching": {"resamples": 10**9}}), "patching.resamples: 1000000000 should be at most"),
    ("1e9 shards", config({"pruning": {"shards": 10**9}}), "pruning.shards: 1000000000 should be at most 1000."),
    ("1e9 threads", config({"compute": {"threads": 10**9}}), "compute.threads: 1000000000 should be at most 1024."),
    ("negative heads", chain(A | {"receiver_heads": -1}), "searches[0].receiver_heads: -1 should be at least 0."),
    ("negative size", models({"name": "m", "size_gb": -1}), "models[1].size_gb: -1 should be more than 0."),
    ("alpha 2", config({"findings": {"alpha": 2}}), "findings.alpha: 2 should be less than 1."),
    ("1 box", task(boxes=1), "task.boxes: 1 should be at least 2."),
    ("26 boxes", task(boxes=26), "task.boxes: 26 should be at most 25."),
    # Names, labels, paths.
    ("run of 3", config({"run": 3}), "run: 3 should be text"),
    ("run with a slash", config({"run": "../x"}), "run: '../x' should be letters and digits"),
    ("run with __", config({"run": "a__b"}), "run: 'a__b' should be letters and digits"),
    ("a long run", config({"run": "x" * 201}), "has 201 characters; at most 64 are allowed."),
    ("a long model", models({"name": LONG}), "models[1].name: "),
    ("a long search", chain(search(LONG, "A", "last", "logits")), "has 70 characters; at most 64 are allowed."),
    ("an endless label", models({"name": "m", "label": "x" * 500}), "has 500 characters; at most 100 are allowed."),
    ("a label of lines", models({"name": "m", "label": "a\nb"}), "should be printable text on one line."),
    ("a hidden label", models({"name": "m", "label": "_m"}), "should begin with neither a blank nor an"),
    ("an empty label", models({"name": "m", "label": ""}), "models[1].label: should not be empty."),
    ("{x} in a path", models({"name": "m", "path": "m/{x}"}), "'m/{x}' should be a path without any of { } < >."),
    ("{x} in a list's path", task(objects="{x}.txt"), "task.objects: '{x}.txt' should be a path without any of"),
    ("a script in a path", models({"name": "m", "path": "m</script>"}), "should be a path without any of { } < >."),
    ("a path of 300", models({"name": "m", "path": "m/" + "x" * 300}), "has a part of more than 255 bytes"),
    ("an unknown home", models({"name": "m", "path": "~nobody-here/m"}), "does not know that home folder"),
    ("a file for a folder", models({"name": "m", "path": "demo_models/tiny/README.md"}), "is a file, not a"),
    ("nearly a folder", models({"name": "m", "path": "demo_models/tiny/bse"}), "Did you mean"),
    ("no model there", models({"name": "m", "path": "./demo_models"}), "holds neither config.json (a model) nor"),
    ("a revision", models({"name": "m", "revision": "main"}), "revision 'main' is for hub ids"),
    # What does not fit together.
    ("base unknown", config({"base": "bas"}), "base: 'bas' is not a model's name: base, chat, lora, full. Did you"),
    ("two of a name", models({"name": "base"}), "models: two models are named 'base'."),
    ("two of a case", models({"name": "Base"}), "differ in case alone"),
    ("a base's typo", models({"name": "m", "base": "bse"}), "models[1].base: 'bse' is not another model's name"),
    ("its own base", models({"name": "m", "base": "m"}), "models[1].base: 'm' is not another model's name"),
    ("a tokenizer's typo", models({"name": "m", "tokenizer": "x"}), "models[1].tokenizer: 'x'"),
    ("adapter, no base", models({"name": "m", "adapter": True, "base": None}), "models[1].base: an adapter needs"),
    ("a circle", config({"models": CIRCLE, "base": "a"}), "models[0].base: following base from 'a' goes in a circle"),
    ("7 labels, 7 boxes", task(labels="ABCDEFG"), "7 letters are too few for 7 boxes"),
    ("A twice", task(labels="ABCDEFGHA"), "A stands there twice"),
    ("2 objects", task(objects=["a", "b"]), "2 objects are too few for 7 boxes"),
    ("two words", task(boxes=2, objects=["a", "b", "c", "two words"]), "task.objects[3]: 'two words' is not one"),
    ("an object twice", task(boxes=2, objects=["a", "b", "c", "a"]), "task.objects[3]: 'a' is there twice"),
    ("an object A", task(boxes=2, objects=["a", "b", "c", "A"]), "it is a label too"),
    ("no png", config({"figures": {"formats": ["pdf"]}}), "png must be there"),
    ("a palette", config({"figures": {"palette": "colourblind"}}), "Did you mean 'colorblind'?"),
    ("a colour map", config({"figures": {"colormap": "RdBl"}}), "matplotlib knows no colour map 'RdBl'"),
    ("refined shards", config({"path_patching": {"mode": "refined", "shards": 2}}), "2 with `mode: refined`"),
    ("a stage's typo", config({"leave_out": ["prbes"]}), "leave_out[0]: 'prbes' is not one of"),
    ("twice left out", config({"leave_out": ["probes", "probes"]}), "leave_out: 'probes' stands there twice"),
    ("2 boxes, label", config({"task": {"boxes": 2}}), "dcm.desiderata: 'label' needs three boxes"),
    ("2 boxes, known", config({"task": {"boxes": 2}, "dcm": {"desiderata": ["known_object"]}}), "needs three boxes"),
    ("a mask of few steps", config({"dcm": {"pairs": {"train": 96}}}), "0.1, and a weight has to fall from 1 to 0.5"),
    ("a slow mask", config({"dcm": {"learning_rate": 0.001}}), "dcm.pairs.train: 1000 pairs are too few for a mask"),
    ("few pairs of probes", config({"probes": {"pairs": {"train": 32}}}), "probes.pairs.train: 32 pairs are too few"),
    ("scores nowhere", models({"name": "m", "scores": "s.csv"}), "scores (m): s.csv: there is no such file"),
    ("{x} in scores", models({"name": "m", "scores": "{x}.csv"}), "models[1].scores: '{x}.csv' should be a path"),
    ("own threshold 5", models({"name": "m", "threshold": 5}), "models[1].threshold: 5 should be at most 1."),
    ("9 labels, probes", task(labels="ABCDEFGHI"), "for 'boxes_before_segment' 7 boxes need 10 labels, and there"),
    ("few scenes", config({**FEW, "task": SMALL, "prompts": {}}), "prompts.ablation: needs 500 different scenes;"),
    ("carries", chain(A | {"carries": "position"}, dcm={"desiderata": ["object"]}), "is not in dcm.desiderata:"),
    ("two searches a", chain(A, search("a", "B", "last", ("a", "q"))), "two searches are named 'a'"),
    ("two searches A", chain(A, search("b", "A", "last", ("a", "q"))), "two searches have the letter A"),
    ("receiver unknown", chain(A, search("b", "B", "last", ("c", "q"))), "searches[1].receivers[0].search: 'c'"),
    ("receiver too late", chain(search("b", "B", "last", ("a", "q")), A), "of which there are none here"),
    ("logits and more", chain(A | {"receivers": ["logits", {"search": "a", "input": "q"}]}), "`logits` stands"),
    ("logits elsewhere", chain(A | {"token": "query_label"}), "the logits are read at the last token"),
    ("q elsewhere", chain(A, search("b", "B", "label", ("a", "q"))), "q of a is read at its own token 'last'"),
    ("q twice", chain(A, search("b", "B", "last", ("a", "q"), ("a", "q"))), "q of a stands there twice"),
    ("k from behind", chain(A, search("c", "C", "label", ("a", "v")), K_OF_C), "cannot see k there."),
    ("the default's group", config({"searches": [A]}), "probes.group: 'position_transmitter' is not a search's"),
    ("a group's typo", config({"probes": {"group": "position_transmiter"}}), "Or put `probes` into leave_out."),
    ("counts of nobody", chain(A | {"models": [{"model": "ful"}]}), "searches[0].models[0].model: 'ful'"),
    ("counts twice", chain(A | {"models": [{"model": "full"}, {"model": "full"}]}), "'full' stands there twice"),
    # Lists of words.
    ("no list", task(objects="wrds.txt"), "task.objects: there is no file 'wrds.txt'; allowed: `builtin`"),
    ("a list is a folder", task(objects="demo_models"), "the list of words demo_models cannot be read: it is no"),
    ("an empty list", words(""), "the list of words words.txt is empty"),
    ("blank lines", words("\n \n\t\n"), "the list of words words.txt is empty"),
    ("a list in Latin-1", words("caf\u00e9\n".encode("latin-1")), "it is not UTF-8 text (byte 4)"),
    ("a word of two", words(many("two words")), "line 13: 'two words' is not one word"),
    ("a word twice", words(many("wa", "wb")), "line 13: 'wa' is there twice; line 14: 'wb' is there twice"),
    ("a quote", words(many('"cup')), "line 13: '\"cup' is not one word"),
    ("quotes", words('"cup"\n"key"\n'), "line 1: '\"cup\"' is not one word"),
    ("commas", words("cup,key,map\n"), "line 1: 'cup,key,map' is not one word"),
    ("a brace", words(many("{cup}")), "'{cup}' is not one word"),
    ("an endless word", words(many("x" * 101)), "is not one word"),
    ("a word of control", words(many("a\x07b")), "is not one word"),
    ("few words", words("a\nb\nc\n"), "task.objects: 3 objects are too few for 2 boxes"),
    ("a word that labels", words(many("A")), "'words.txt' has A, which are labels too"),
    ("too many words", words("\n".join(f"w{i}" for i in range(200_001))), "has 200,001 words; at most 200,000"),
    ("a huge list", words("x" * 10_000_001), "it has 10,000,001 bytes"),
    ("an empty CSV", words("", "words.csv"), "the list of words words.csv is empty"),
    ("a header alone", words("object,frequency\n", "words.csv"), "the list of words words.csv is empty"),
    ("no header", words("book,374\ncar,353\n", "words.csv"), "line 1: 'book' is no header"),
    ("semicolons", words("object;n\ncup;3\n", "words.csv"), "line 1: 'object;n' is no header"),
    ("an open quote", words('object\ncup\n"key\n', "words.csv"), "this is not CSV"),
    ("a CSV of two words", words("object\ncup\nmy key\n", "words.csv"), "line 3: 'my key' is not one word"),
    # A model's folder.
    ("config.json no JSON", model("{"), "config.json cannot be read"),
    ("config.json a list", model("[]"), "config.json should hold a JSON object"),
    ("config.json nested", model("[" * 100_000), "config.json cannot be read"),
    ("architectures as text", model(architectures="LlamaForCausalLM"), "architectures is 'LlamaForCausalLM'; it"),
    ("another architecture", model(architectures=["BertForMaskedLM"]), "its architecture is BertForMaskedLM"),
    ("1e9 layers", model(num_hidden_layers=10**9), "num_hidden_layers is 1000000000; it should be a whole number"),
    ("no layers", model(num_hidden_layers=0), "num_hidden_layers is 0; it should be a whole number"),
    ("layers missing", model(num_hidden_layers=...), "num_hidden_layers"),
    ("layers as text", model(num_hidden_layers="4"), "num_hidden_layers is '4'; it should be a whole number"),
    ("layers true", model(num_hidden_layers=True), "num_hidden_layers is True; it should be a whole number"),
    ("5 layers", model(num_hidden_layers=5), "weights are missing: model.layers.4"),
    ("no heads", model(num_attention_heads=0), "num_attention_heads is 0; it should be"),
    ("minus 4 heads", model(num_attention_heads=-4), "num_attention_heads is -4; it should be"),
    ("key/value heads", model(num_key_value_heads=3), "num_attention_heads 4 is no multiple of"),
    ("width as text", model(hidden_size="64"), "hidden_size is '64'; it should be a whole number"),
    ("another width", model(hidden_size=32), "config.json says"),
    ("epsilon as text", model(rms_norm_eps="small"), "rms_norm_eps is 'small'; it should be a number above 0"),
    ("epsilon NaN", model(rms_norm_eps=float("nan")), "rms_norm_eps is nan; it should be a number above 0"),
    ("rope_scaling as text", model(rope_scaling="linear"), "rope_scaling is 'linear'; it should be keys with"),
    ("rope type a number", model(rope_parameters={"rope_type": 3}), "rope_parameters.rope_type is 3; it should be"),
    ("rope factor as text", model(rope_parameters={"factor": "x"}), "rope_parameters.factor is 'x'; it should be"),
    ("quantized as text", model(quantization_config="awq"), "quantization_config is 'awq'; it should be keys"),
    ("activation a list", model(hidden_act=["silu"]), "hidden_act is ['silu']; it should be text"),
    ("tied as text", model(tie_word_embeddings="yes"), "tie_word_embeddings is 'yes'; it should be true or false"),
    ("20 positions", model(max_position_embeddings=20), "has 20 positions (max_position_embeddings), and a prompt"),
    ("no weights", model(without="model.safetensors"), "holds no model.safetensors"),
    ("weights of text", model(weights=b"not weights at all"), "is not a safetensors file"),
    ("weights cut short", model(weights=WEIGHTS[:9000]), "bytes long and has"),
    ("weights of git-lfs", model(weights=b"version https://git-lfs"), "is a git-lfs pointer"),
    ("no tokenizer", model(without="tokenizer.json"), "holds no tokenizer"),
    ("tokenizer no JSON", model_file("tokenizer.json", "{"), "tokenizer.json cannot be read"),
    ("an index of text", model_file("model.safetensors.index.json", '{"weight_map": "x/y"}'), "weight_map should"),
    ("a shard outside", model_file("model.safetensors.index.json", '{"weight_map": {"a": "../x"}}'), "not '../x'"),
    ("an endless shard", model_file("model.safetensors.index.json", ENDLESS), "weight_map should give"),
    ("adapter no JSON", adapter("{"), "adapter_config.json cannot be read"),
    ("rank as text", adapter(r="16"), "adapter_config.json: r is '16'; it should be a whole number from 1"),
    ("alpha a list", adapter(lora_alpha=[1]), "lora_alpha is [1]; it should be a number"),
    ("modules a number", adapter(target_modules=3), "target_modules is 3; it should be text or a list of text"),
    ("prompt tuning", adapter(peft_type="PROMPT_TUNING"), "its adapter is PROMPT_TUNING, which cannot be merged"),
    # The command line.
    ("no such config", command("--configfile", "nope.yaml"), "there is no config file 'nope.yaml'"),
    ("nearly a config", command("--configfile", "mime.yaml"), "Did you mean 'mine.yaml'?"),
    ("a folder", command("--configfile", "a folder"), "a folder is a folder; a config is a file of YAML"),
    ("a config in Latin-1", command("--configfile", "latin.yaml"), "latin.yaml is not UTF-8 text"),
    ("a table", command("--configfile", "data.csv"), "holds 'run,seed mine,1'; it should hold keys with values"),
    ("stage behind", command("--configfile", "mine.yaml", "prune_circuits"), "A stage comes first: snakemake"),
    ("rule behind", command("--config", "seed=1", "train_dcm"), "'train_dcm' stands behind --config"),
    ("--config seed", command("--config", "seed"), "--config seed: should be key=value"),
    ("--config sed=1", command("--config", "sed=1"), "Did you mean 'seed'?"),
    ("--config dcm.epochs=3", command("--config", "dcm.epochs=3"), "write --config 'dcm={epochs: 3}'"),
    ("--cores 0", command("--cores", "0"), "--cores 0: nothing can run on less than 1"),
    ("--cores -1", command("--cores=-1"), "--cores -1: nothing can run on less than 1"),
    ("--jobs 0", command("--jobs", "0"), "--jobs 0: nothing can run on less than 1"),
    ("a target's typo", command("prune_circuts"), "there is no stage or rule 'prune_circuts'. Did you mean"),
    ("a target's list", command("everything"), "Stages: dataset, prepare_models, behaviour"),
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the shipped models and a default config."""
    (tmp_path / "demo_models").symlink_to(ROOT / "demo_models")
    (tmp_path / "config").mkdir()
    shutil.copy(ROOT / "config/config.yaml", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("write", "said"), [pytest.param(*case, id=name) for name, *case in CASES])
def test_a_wrong_input_is_refused_in_a_sentence_and_leaves_nothing(write: Entrance, said: str, place: Path) -> None:
    take_in = write(place)
    before, start = files(place), time.monotonic()
    with pytest.raises(UserError) as refused:
        take_in()
    assert time.monotonic() - start < SECONDS
    assert said in str(refused.value)
    assert files(place) == before


def test_the_cases_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({name for name, *_ in CASES}) == len(CASES) >= 80


GOOD: dict[str, Entrance] = {
    "quoted CSV": words('object,n\n"cup",1\n' + "".join(f"w{letter},1\n" for letter in "abcdefgh"), "words.csv"),
    "a list with a mark of its order": words("\ufeff" + many()),
    "Windows line ends": words(many().replace("\n", "\r\n")),
    "an apostrophe and a hyphen": words(many("o'clock", "t-shirt")),
    "100,000 words": words("\n".join(f"w{i}" for i in range(100_000))),
    "an anchor": config("dcm: &a {epochs: 1}\nstability: {<<: {resamples: 5}}\n"),
    "a hostile label": models({"name": "m", "label": "</script><b>$x^{$ {{ 7 }}"}),
    "another palette": config({"figures": {"palette": "Set2", "colormap": "coolwarm"}}),
    "a number as YAML's text": config({"dcm": {"learning_rate": "2e-1"}}),
    "the shipped model": model(),
    "a command line": command("prune_circuits", "--cores", "2", "--configfile", "mine.yaml", "--config", "seed=2"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken_in(name: str, place: Path) -> None:
    take_in = GOOD[name](place)
    start = time.monotonic()
    take_in()
    assert time.monotonic() - start < SECONDS
