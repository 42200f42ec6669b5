"""A study of one shipped model on a few prompts, for tests that run the workflow."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
MODEL = ROOT / "demo_models" / "tiny" / "base"
RESULTS = Path("results/small")


def config_text(model: str | Path = MODEL) -> str:
    """The study's config file; batches of one prompt, so that path patching has a middle to be stopped in."""
    return f"""
run: small
base: base
models: [{{name: base, path: {model}}}]
prompts: {{discovery: 14, pruning: 14, ablation: 14, evaluation: 14}}
path_patching: {{prompts: all}}
faithfulness: {{random_circuits: 1}}
dcm: {{pairs: {{train: 16, validation: 8, test: 8}}, epochs: 1, batch_size: 2, validate_every: 1}}
figures: {{formats: [png], dpi: 60}}
compute: {{batch_size: 1}}
"""
