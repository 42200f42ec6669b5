"""The study on SLURM without a fault: what was asked for, that nothing ran twice, and that a rerun does nothing."""

from collections import Counter

from entity_mech.stages.derived import rules_by_kind
from tests.helpers.slurm_study import WHOLE, Run, Study

LOCAL = {"behaviour"}  # a stage's name is no job


def test_every_job_ran_through_slurm_and_nothing_ran_twice(study: Study, whole_run: Run):
    planned = whole_run.planned()
    jobs = whole_run.jobs()
    kinds = rules_by_kind()
    alone = Counter({rule: planned[rule] for rule in (*kinds["model"], *kinds["between"]) if planned[rule]})
    groups = [job for job in jobs if job.rule not in alone]
    assert alone["prepare_model"] == alone["path_patch"] == alone["resolve_candidates"] == 2
    assert (alone["prune_pairs"], alone["measure_faithfulness"]) == (4, 1)
    assert Counter(job.rule for job in jobs if job.rule in alone) == alone
    assert sorted(job.rule.split("_")[0] for job in groups) == ["dataset", "tables"]
    assert set(planned) - LOCAL <= {rule for rules in kinds.values() for rule in rules}
    assert {job.state for job in jobs} == {"COMPLETED"}
    done = f"{planned.total()} of {planned.total()} steps (100%) done"
    assert done in whole_run.text
    for name in (
        "tables/behaviour.csv",
        "faithfulness/chat/base.csv",
        "circuits/chat.json",
        "figures/circuits/base.png",
    ):
        assert study.path(name).is_file(), name


def test_jobs_of_models_asked_for_a_card_and_others_for_none(whole_run: Run):
    on_cards = {job.rule for job in whole_run.jobs() if job.gpus}
    assert {"prepare_model", "path_patch", "prune_pairs"} <= on_cards <= set(rules_by_kind()["model"])
    for job in whole_run.jobs():
        runs_a_model = job.rule in rules_by_kind()["model"]
        assert (job.gpus, job.partition) == ((1, "gpu") if runs_a_model else (0, "cpu")), job
        assert job.minutes >= 5
        assert job.memory_mb >= 1500


def test_a_rerun_does_nothing(study: Study, whole_run: Run):
    again = study.start(*WHOLE).expect()
    assert "Nothing to be done" in again.text
    assert not again.jobs()
