"""Studies of any size and with any models, for the tests of reporting."""

from entity_mech.reporting.study import Study

CHAIN = (
    ("value_fetcher", "A", "last", ()),
    ("position_transmitter", "B", "last", (("value_fetcher", "q"),)),
    ("position_detector", "C", "query_label", (("position_transmitter", "v"),)),
    (
        "structure_reader",
        "D",
        "previous_label",
        (("position_detector", "v"), ("value_fetcher", "k"), ("value_fetcher", "v")),
    ),
)
PAPER = ("llama-7b", "vicuna-7b", "goat-7b", "float-7b")


def make_study(
    n_models: int = 4, names: tuple[str, ...] | None = None, boxes: int = 7, others: tuple[str, ...] = (), **more
) -> Study:
    """A study of n models: short names, or long ones when there are many.

    others: models that are not fine-tuned from the base, after the rest. more: other values of `Study.from_dict`.
    """
    if names is None:
        names = tuple(["base", "chat", "lora", "full"][:n_models])
        names += tuple(f"binding-lora-rank{i}-seed{i}" for i in range(n_models - len(names)))
    groups = [{"name": n, "letter": a, "token": t, "receivers": r} for n, a, t, r in CHAIN]
    labels = {"chat": "chat (control)", "lora": "LoRA fine-tune", "full": "full fine-tune"}
    values = {
        "models": (*names, *others),
        "base": names[0],
        "fine_tuned": names[1:],
        "groups": groups,
        "boxes": boxes,
    }
    shown = {name: labels.get(name, name) for name in values["models"]}
    return Study.from_dict({**values, "labels": shown, **more})
