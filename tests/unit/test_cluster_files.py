"""What the cluster's profile reads from the rule files, and which pairs of models are compared."""

from entity_mech.config.schema import Config, Model
from entity_mech.rule_files import rules_by_kind


def test_rules_by_what_they_want():
    kinds = rules_by_kind()
    assert {"path_patch", "prepare_model", "train_dcm"} <= set(kinds["model"])
    assert {"choose_words", "make_prompts", "make_pairs"} <= set(kinds["dataset"])
    assert {"merge_tables", "draw_circuits", "tabulate_behaviour"} <= set(kinds["figures"])
    names = [rule for rules in kinds.values() for rule in rules]
    assert len(names) == len(set(names))
    assert not {"all", "write_config", "download_model", "figures", "join_shards"} & set(names)
    assert {"path_patch_shard", "prune_pairs"} <= set(kinds["model"])


def test_kinds_are_read_from_the_rules(tmp_path):
    (tmp_path / "a.smk").write_text(
        "rule run:\n    resources:\n        gpu=gpu,\n    script:\n        1\n\n"
        "rule make_it:\n    resources:\n        gpu=0,\n    script:\n        1\n\n"
        "rule draw:\n    resources:\n        gpu=0,\n    script:\n        1\n\n"
        "if True:\n\n    rule:\n        localrule: True\n\n"
        "rule names:\n    input:\n        1\n    localrule: True\n"
    )
    assert rules_by_kind(tmp_path) == {"model": ["run"], "dataset": ["make_it"], "figures": ["draw"]}


def test_pairs_are_all_or_with_the_base():
    models = [Model(name=name, path=name, base=None if name == "base" else "base") for name in ("a", "base", "b")]
    assert len(Config(models=models).pairs()) == 9
    near = Config(models=models, cross_models="base").pairs()
    assert set(near) == {
        ("a", "a"),
        ("b", "b"),
        ("base", "base"),
        ("a", "base"),
        ("base", "a"),
        ("b", "base"),
        ("base", "b"),
    }
