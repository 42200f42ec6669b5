# Before anything runs, or "Nothing to be done" is said: results that are kept are held against the config.

# Rules whose params decide how something looks, and no number.
LOOKS = {"write_config", "write_index", *(f"draw_{figure.name}" for figure in FIGURES)}


def build_checked(build=workflow._build_dag):
    """Build the graph of jobs, and stop where it keeps a file that the config would make otherwise.

    Snakemake has no hook between planning and running: it tells nobody when it plans nothing.
    """
    build()
    runs = workflow._executor_plugin is not None and workflow.exec_mode.name == "DEFAULT" and not workflow.touch
    if not runs:
        return
    dag, known = workflow.dag, workflow.persistence.has_metadata
    try:
        check_kept(
            (
                KeptJob(list(job.output), dict(job.params.items()), known(job))
                for job in dag.jobs
                if job.output and job.rule.name not in LOOKS and not dag.needrun(job)
            ),
            CONFIG.model_dump(),
            Path("results") / CONFIG.run / "config.resolved.yaml",
        )
    except UserError as error:
        raise WorkflowError(str(error)) from None


workflow._build_dag = build_checked
