"""One row of the benchmark's table, and what is asked of it."""

from benchmarks.timing import Turns

# what -> (pass, excellent), as ratios against the literal way; the four searches on the 135M shape.
TARGETS = {
    "four searches": (40, 55),
    "search A": (100, 130),
    "search B": (130, 180),
    "search C": (90, 125),
    "search D": (15, 20),
    "50 circuits": (17, 25),
    "pairs A": (40, 60),
    "pairs B": (40, 60),
    "DCM step A": (30, 60),
    "DCM step B": (30, 60),
    "DCM step C": (15, 30),
    "DCM step D": (3, 5),
}


def verdict(what: str, ratio: float) -> str:
    """Which target a ratio reaches; empty where none was set."""
    if what not in TARGETS:
        return ""
    enough, excellent = TARGETS[what]
    return "excellent" if ratio >= excellent else "pass" if ratio >= enough else "missed"


def row(
    what: str, engine_s: float, literal_s: float, *, ran: str, gap: float, sgemm: float, flops: float | None = None
) -> dict[str, object]:
    """A row of the table.

    ran: what the literal way was timed on, before scaling. gap: largest difference of the results there.
    sgemm: FLOP a second; flops: the least that an exact method needs, where that is known.
    """
    made: dict[str, object] = {
        "what": what,
        "engine_s": engine_s,
        "literal_s": literal_s,
        "ratio": literal_s / engine_s,
        "target": verdict(what, literal_s / engine_s),
        "literal_ran": ran,
        "gap": gap,
        "sgemm_gflops": sgemm / 1e9,
    }
    if flops is not None:
        limit = flops / sgemm
        made |= {
            "least_tflop": flops / 1e12,
            "time_over_limit": engine_s / limit,
            "ratio_at_limit": literal_s / limit,
        }
    return made


def turns_row(
    what: str, turns: Turns, scale: float, *, ran: str, gap: float, flops: float | None = None
) -> dict[str, object]:
    """A row from sides that took turns; the literal way's median is multiplied by `scale`."""
    return row(what, turns.fast_s, turns.slow_s * scale, ran=ran, gap=gap, sgemm=turns.sgemm, flops=flops)
