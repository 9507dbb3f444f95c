"""Stop strings and biased symbols, from the contract's messages."""

from __future__ import annotations

from collections.abc import Sequence

from cellwire.model_file import errors as model_file
from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.server.batch.limits import MAX_REWIND_WINDOW
from cellwire.server.batch.sampling import Bias
from cellwire.server.errors import InvalidArgument, UnknownSymbol
from cellwire.server.host.settings import Settings
from cellwire.server.session.operations import check_stop_strings
from cellwire.v1 import operations_pb2

# Longer ones are refused before they are read. A symbol, and a stop string that fits into a rewind
# window, may have many characters: symbols can be words.
_MAX_SYMBOL_CHARS = 1_024
_MAX_STOP_CHARS = 16 * MAX_REWIND_WINDOW

_NAMED = 1e-30  # too little to change a logit
_SHOWN_CHARS = 40


def read_stops(
    texts: Sequence[str], vocabulary: Vocabulary, settings: Settings
) -> dict[tuple[int, ...], str]:
    """Return the tokens that spell stop strings; each sequence with the first string it spells.

    InvalidArgument if the model can never write a stop string, or if it is too long.
    """
    check_stop_strings(texts)
    stops: dict[tuple[int, ...], str] = {}
    for text in texts:
        for tokens in _spellings(text, vocabulary, settings):
            stops.setdefault(tokens, text)
    return stops


def _spellings(text: str, vocabulary: Vocabulary, settings: Settings) -> Sequence[tuple[int, ...]]:
    """Return how a stop string may be spelled; unknown symbols, if they are skipped, spell none."""
    if len(text) > _MAX_STOP_CHARS:
        raise _too_long(text, f"{len(text):,} characters", settings)
    where = f"stop string {_shown(text)}: "
    try:
        spellings = vocabulary.stops(text)
    except model_file.UnknownSymbol as error:
        if settings.unknown_symbols is not Unknown.REJECT:
            return ()
        raise UnknownSymbol(error, field="stop_strings", where=where) from error
    except model_file.TextError as error:
        raise InvalidArgument(f"{where}{error}", field="stop_strings") from error
    fitting = [tokens for tokens in spellings if len(tokens) <= settings.rewind_window]
    if not fitting:
        raise _too_long(text, f"{min(map(len, spellings)):,} tokens", settings)
    return fitting


def _too_long(text: str, length: str, settings: Settings) -> InvalidArgument:
    return InvalidArgument(
        f"the stop string {_shown(text)} has {length}, and the session was opened with a "
        f"rewind_window of {settings.rewind_window}; give a shorter one, or open the session with "
        f"a longer window, {MAX_REWIND_WINDOW:,} at most",
        field="stop_strings",
    )


def read_bias(message: operations_pb2.LogitBias, vocabulary: Vocabulary) -> Bias:
    """Return the bias of a symbol, or of a text that is read as a single one; InvalidArgument."""
    token = vocabulary.token_of(message.symbol)
    if token is None:
        token = _token_of_text(message.symbol, vocabulary)
    bias = message.bias
    if token == vocabulary.unknown_token and bias == 0:
        bias = _NAMED  # a symbol that is not written is, if a bias other than 0 names it
    return Bias(token, bias)


def _token_of_text(text: str, vocabulary: Vocabulary) -> int:
    try:
        tokens = vocabulary.encode(text[: _MAX_SYMBOL_CHARS + 1])
    except model_file.UnknownSymbol as error:
        raise UnknownSymbol(error, field="logit_bias") from error
    if len(tokens) != 1 or len(text) > _MAX_SYMBOL_CHARS:
        raise InvalidArgument(
            f"logit_bias takes single symbols; {_shown(text)} is not one: give each symbol of the "
            "vocabulary its own bias",
            field="logit_bias",
        )
    return int(tokens[0])


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")
