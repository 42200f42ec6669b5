"""Names in the stages' tables: parts of a circuit beside its groups, and what is patched across models of a part."""

UNION, WHOLE = "full", "whole_circuit"  # the chosen heads of all groups; every head of the circuit
# The donor's clean outputs (as published), or what the donor's heads make of the target's own clean inputs.
OUTPUTS, DIRECT = "outputs", "direct"
