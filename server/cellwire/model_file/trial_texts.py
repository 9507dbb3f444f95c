"""What a trial says of a cell: what was found, what is right, and how to mend it."""

from __future__ import annotations

from collections.abc import Collection

_RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}

BAKED_BATCH = (
    "a step with {rows} text(s) fails at {reason}; a step must take any number of texts, and one "
    "is built in: export with the first dimension of every input dynamic, torch.onnx.export(..., "
    'dynamic_shapes=({{0: "batch"}}, ...)), with two texts in the example, and without sizes of '
    "the example in reshape, view or expand"
)
NOT_FINITE = (
    "{name!r} is not finite after token {token}: its weights hold NaN or infinity, or a logarithm "
    "or division of the cell meets 0; give numbers, -1e9 for a symbol that must not be chosen"
)
HEARS_OTHERS = (
    "{name!r} of a text changes with the other texts of its batch, so that one session would hear "
    "another; every row must be computed by itself: "
    "call model.eval() before the export (BatchNorm in training), reduce over the last axis only, "
    "and quantise without dynamic scales (cellwire's own int8 has none)"
)
PROBABILITIES = (
    "'logits' are probabilities: in every step of the trial none is negative and each row sums to "
    "1; take the Softmax off the end of the network, or take the logarithm (LogSoftmax)"
)
ROUNDING = (
    "an operator of this model rounds a row differently in company, so a seed may give another "
    "text when other sessions run beside it; docs/model-file.md lists the operators that do"
)
CHANGES_NOTHING = (
    "input {name!r} changes nothing in the outputs; use it in the cell's computation, or take it "
    "out of the graph"
)
MEMORYLESS = (
    "its state has no effect on what it computes, so each symbol depends on the one before alone; "
    "if the network has a memory, its export has lost it"
)
PERHAPS_PROBABILITIES = (
    "all its logits in the trial were between 0 and 1; if they are probabilities, take the Sigmoid "
    "or Softmax off the end of the network"
)


def token_fails(token: int, size: int, reason: object) -> str:
    """Return the fault of a cell that fails at a token."""
    return (
        f"a step with token {token} alone fails at {reason}; the vocabulary has {size:,} symbols, "
        f"so tokens are 0 to {size - 1}: give tables as many rows, or mend the list of symbols"
    )


def wrong_shape(name: str, found: tuple[int, ...], right: tuple[int, ...]) -> str:
    """Return the fault of an output that has not the shape of the contract in a run."""
    rows = right[0]
    texts = "1 text" if rows == 1 else f"{rows} texts"
    if found[1:] == right[1:]:
        reason = "one row for each text: the example's batch is built in; give it a dynamic batch"
    else:
        reason = "as docs/model-file.md says"
    return f"output {name!r} is {[*found]} in a step with {texts}; it must be {[*right]}, {reason}"


def not_repeated(operators: Collection[str]) -> str:
    """Return the fault of a cell whose step gives something else each time."""
    random = sorted(_RANDOM.intersection(operators))
    because = f" ({', '.join(random)} in its graph)" if random else ""
    return (
        f"the same step gives something else the second time{because}; a step must depend on its "
        "inputs alone: call model.eval() before the export, and leave chance to the daemon"
    )
