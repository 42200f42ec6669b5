"""Where each group's strongest heads look: on average, and in one prompt."""

from _run import job
from entity_mech.engine.stage import open_model
from entity_mech.files import write_table
from entity_mech.methods.attention_patterns import PatternOptions, mean_patterns, prompt_patterns
from entity_mech.methods.circuits import read_circuit
from entity_mech.task.tokens import read_pieces, read_prompts

with job(snakemake):
    given, options, machine = snakemake.input, snakemake.params.options, snakemake.params.machine
    decoder, _ = open_model(given.model, machine["device"])
    circuit, prompts = read_circuit(given.circuit), read_prompts(given.tokens, "prompts")
    chosen = PatternOptions(options["heads"], machine["batch_size"])
    write_table(snakemake.output.means, mean_patterns(decoder, circuit, prompts, chosen))
    one = prompt_patterns(decoder, circuit, prompts, 0, read_pieces(given.tokens), chosen)
    write_table(snakemake.output.prompt, one)
