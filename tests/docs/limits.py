"""Where pages and proto comments state the limits and defaults of the code.

A new limit is a new row: the page, the words around the numbers with `{}` for each of them, and the
numbers as the code has them. Line breaks, comment marks and indentation do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.server.store import test_altered_files

from cellwire.exporter.export import parity
from cellwire.model_file import manifest
from cellwire.model_file.text_end import MAX_REREAD_CHARS, MAX_REREAD_TOKENS
from cellwire.server.batch import limits
from cellwire.server.engine import event_batcher, step_budget
from cellwire.server.host import expiry_sweep, session_record, store_writer, stored_sessions
from cellwire.server.host.config import Config
from cellwire.server.host.settings import _SEED_BITS
from cellwire.server.host.store_room import MOST_WAITING_BYTES
from cellwire.server.rpc import options
from cellwire.server.rpc.reading_symbols import _MAX_STOP_CHARS
from cellwire.server.session.operation_queue import Limits
from cellwire.server.state.change import REMEMBERED_OPERATIONS
from cellwire.server.store import redis_keys, sqlite, sqlite_file, sqlite_rows

GENERATION = "protos/cellwire/v1/generation.proto"
MODELS = "protos/cellwire/v1/models.proto"
OPERATIONS = "protos/cellwire/v1/operations.proto"
SESSIONS = "protos/cellwire/v1/sessions.proto"
CLIENT = "clients/python/cellwire/client/options.py"
PROTOCOL = "docs/protocol.md"
ARCHITECTURE = "docs/architecture.md"
OPERATION = "docs/operations.md"
RELIABILITY = "docs/reliability.md"
README = "README.md"

_CONFIG, _QUEUES = Config(), Limits()
_WEEK_S = limits.MAX_IDLE_TIMEOUT_S
_DURABLE_DAYS = limits.DEFAULT_DURABLE_IDLE_TIMEOUT_S // 86_400
_MESSAGE_MIB = limits.MAX_MESSAGE_BYTES // 2**20
_WAITING_MIB = MOST_WAITING_BYTES // 2**20


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of a page that has numbers of the code."""

    page: str
    words: str
    numbers: tuple[float, ...]


def _states(page: str, words: str, *numbers: float) -> Statement:
    return Statement(page, words, numbers)


_GENERATION = (
    _states(GENERATION, "a message of more than {} MiB", _MESSAGE_MIB),
    _states(GENERATION, "more than {} operations,", _QUEUES.waiting_operations),
    _states(GENERATION, "more than {} tokens of text, are waiting", _QUEUES.waiting_tokens),
)

_MODELS = (
    _states(MODELS, "0 means {};", limits.DEFAULT_PAGE_SIZE),
    _states(MODELS, "values above {} mean {};", *(limits.MAX_PAGE_SIZE,) * 2),
    _states(MODELS, "a vocabulary of the {} bytes", manifest.BYTES),
)

_SESSIONS = (
    _states(SESSIONS, "The end of its text: at most {} tokens", limits.TAIL_TOKENS),
    _states(SESSIONS, "the daemon draws one below 2**{}", _SEED_BITS),
)

_OPERATIONS = (
    _states(OPERATIONS, "RESOURCE_EXHAUSTED if it has {} checkpoints of", limits.MAX_CHECKPOINTS),
    _states(OPERATIONS, "The name: 1 to {} characters", limits.MAX_CHECKPOINT_NAME_CHARS),
    _states(OPERATIONS, "If unset, the daemon draws one below 2**{}; Opened", _SEED_BITS),
    _states(OPERATIONS, "if unset, the daemon draws one below 2**{}.", _SEED_BITS),
    _states(
        OPERATIONS,
        "can be rewound: 0 to {}; unset means {}.",
        limits.MAX_REWIND_WINDOW,
        limits.DEFAULT_REWIND_WINDOW,
    ),
    _states(
        OPERATIONS,
        "{} second to {} seconds (a week); unset means {} seconds",
        limits.MIN_IDLE_TIMEOUT_S,
        _WEEK_S,
        limits.DEFAULT_IDLE_TIMEOUT_S,
    ),
    _states(
        OPERATIONS,
        "at most {} seconds (ten years); unset means {} seconds ({} days)",
        limits.MAX_DURABLE_IDLE_TIMEOUT_S,
        limits.DEFAULT_DURABLE_IDLE_TIMEOUT_S,
        _DURABLE_DAYS,
    ),
    _states(OPERATIONS, "as {} hexadecimal digits", limits.SESSION_ID_DIGITS),
    _states(OPERATIONS, "takes more than {} seconds, the stream", limits.SAFE_FIRST_TIMEOUT_S),
    _states(
        OPERATIONS,
        "the last {} appends, accepts, generates, rewinds, checkpoints",
        REMEMBERED_OPERATIONS,
    ),
    _states(
        OPERATIONS,
        "At most the last {} tokens and {} characters that clients have appended are read again",
        MAX_REREAD_TOKENS,
        MAX_REREAD_CHARS,
    ),
    _states(OPERATIONS, "(Vocabulary.rereads), it is {} at least", MAX_REREAD_TOKENS),
    _states(OPERATIONS, "continue for {} tokens, which are kept", limits.REMEMBERED_TOKENS),
    _states(
        OPERATIONS,
        "at least the last {} tokens are; of a durable session, {})",
        limits.REMEMBERED_TOKENS,
        limits.STORED_TOKENS,
    ),
    _states(
        OPERATIONS,
        "1 to {} characters, and at most {} tokens",
        *(limits.MAX_APPEND_TOKENS,) * 2,
    ),
    _states(OPERATIONS, "1 to {} bytes", limits.MAX_APPEND_TOKENS),
    _states(OPERATIONS, "How many tokens to generate: 1 to {}.", limits.MAX_GENERATE_TOKENS),
    _states(OPERATIONS, "for each of its tokens: 0 to {}.", limits.MAX_ALTERNATIVES),
    _states(OPERATIONS, "at most {} strings", limits.MAX_STOP_STRINGS),
    _states(OPERATIONS, "most probable symbol. 0 to {}; unset means 1.", limits.MAX_TEMPERATURE),
    _states(OPERATIONS, "1 to {}; unset means 1, which changes nothing", limits.MAX_PENALTY),
    _states(
        OPERATIONS,
        "looks back: 1 to {}; 0 means {}.",
        limits.MAX_REPETITION_WINDOW,
        limits.DEFAULT_REPETITION_WINDOW,
    ),
    _states(OPERATIONS, "on a card takes at most {} for a model with", limits.MAX_TOP_K_ON_CARD),
    _states(OPERATIONS, "at most {}, each symbol once", limits.MAX_BIASES),
    _states(OPERATIONS, "-{} (practically never) to {}.", *(limits.MAX_BIAS,) * 2),
    _states(
        OPERATIONS,
        "follows at once: 1 to {}; 0 means {}.",
        limits.MAX_BEAM_WIDTH,
        limits.DEFAULT_BEAM_WIDTH,
    ),
    _states(
        OPERATIONS,
        "tokens in a completion: 1 to {}; 0 means {}.",
        limits.MAX_COMPLETE_TOKENS,
        limits.DEFAULT_COMPLETE_TOKENS,
    ),
    _states(OPERATIONS, "1 the most probable per token. 0 to {}.", limits.MAX_LENGTH_PENALTY),
)

_CLIENT = (
    _states(CLIENT, "let them continue for {} tokens", limits.REMEMBERED_TOKENS),
    _states(
        CLIENT,
        "can be rewound, 0 to {}; None means {}.",
        limits.MAX_REWIND_WINDOW,
        limits.DEFAULT_REWIND_WINDOW,
    ),
    _states(
        CLIENT,
        "{} to {} seconds; None, the default, means {}.",
        limits.MIN_IDLE_TIMEOUT_S,
        _WEEK_S,
        limits.DEFAULT_IDLE_TIMEOUT_S,
    ),
    _states(
        CLIENT,
        "A durable session: {} to {} seconds; None means {} ({} days).",
        limits.MIN_IDLE_TIMEOUT_S,
        limits.MAX_DURABLE_IDLE_TIMEOUT_S,
        limits.DEFAULT_DURABLE_IDLE_TIMEOUT_S,
        _DURABLE_DAYS,
    ),
    _states(CLIENT, "How many tokens to generate, 1 to {}.", limits.MAX_GENERATE_TOKENS),
    _states(CLIENT, "Divides the logits, 0 to {};", limits.MAX_TEMPERATURE),
    _states(CLIENT, "less probable: 1, the default, to {}.", limits.MAX_PENALTY),
    _states(
        CLIENT,
        "looks back, 1 to {}; 0, the default, means {}.",
        limits.MAX_REPETITION_WINDOW,
        limits.DEFAULT_REPETITION_WINDOW,
    ),
    _states(CLIENT, "-{} to {}; at most {} symbols", *(limits.MAX_BIAS,) * 2, limits.MAX_BIASES),
    _states(CLIENT, "Stop before any of these, at most {};", limits.MAX_STOP_STRINGS),
    _states(CLIENT, "for each of its tokens, 0 to {}.", limits.MAX_ALTERNATIVES),
    _states(
        CLIENT,
        "follows at once, 1 to {}; 0, the default, means {}.",
        limits.MAX_BEAM_WIDTH,
        limits.DEFAULT_BEAM_WIDTH,
    ),
    _states(
        CLIENT,
        "tokens in a completion, 1 to {}; 0, the default, means {}.",
        limits.MAX_COMPLETE_TOKENS,
        limits.DEFAULT_COMPLETE_TOKENS,
    ),
    _states(CLIENT, "length ** length_penalty, 0 to {};", limits.MAX_LENGTH_PENALTY),
)

_PROTOCOL = (
    _states(
        PROTOCOL, "bytes that are not a message or a message of more than {} MiB", _MESSAGE_MIB
    ),
    _states(PROTOCOL, "at most {} tokens ahead", _QUEUES.read_ahead_tokens),
    _states(
        PROTOCOL,
        "{} operations may wait in a session, with {} tokens",
        _QUEUES.waiting_operations,
        _QUEUES.waiting_tokens,
    ),
    _states(PROTOCOL, "While {} operations of a stream", 2 * _QUEUES.waiting_operations),
    _states(PROTOCOL, "| continue for {} tokens, then pause |", limits.REMEMBERED_TOKENS),
    _states(PROTOCOL, "at least the last {} tokens. A durable", limits.REMEMBERED_TOKENS),
    _states(
        PROTOCOL,
        "as far as a message can: {} tokens or {} MiB",
        limits.STORED_TOKENS,
        _MESSAGE_MIB,
    ),
    _states(PROTOCOL, "and its last {} tokens", limits.TAIL_TOKENS),
    _states(PROTOCOL, "a message of more than {} MiB (a status of gRPC", _MESSAGE_MIB),
    _states(
        PROTOCOL,
        "| `open.rewind_window` | 0 to {} | unset: {};",
        limits.MAX_REWIND_WINDOW,
        limits.DEFAULT_REWIND_WINDOW,
    ),
    _states(
        PROTOCOL,
        "| `open.idle_timeout` | {} s to {} s (a week) | {} s |",
        limits.MIN_IDLE_TIMEOUT_S,
        _WEEK_S,
        limits.DEFAULT_IDLE_TIMEOUT_S,
    ),
    _states(
        PROTOCOL,
        "| the same, if it is durable | {} s to {} s (ten years) | {} s ({} days) |",
        limits.MIN_IDLE_TIMEOUT_S,
        limits.MAX_DURABLE_IDLE_TIMEOUT_S,
        limits.DEFAULT_DURABLE_IDLE_TIMEOUT_S,
        _DURABLE_DAYS,
    ),
    _states(PROTOCOL, "or {} days if it is durable", _DURABLE_DAYS),
    _states(
        PROTOCOL,
        "| `append.text`, `score.text` | 1 to {} characters, and as many tokens |",
        limits.MAX_APPEND_TOKENS,
    ),
    _states(PROTOCOL, "| `generate.max_tokens` | 1 to {} |", limits.MAX_GENERATE_TOKENS),
    _states(PROTOCOL, "| `generate.top_alternatives` | 0 to {} |", limits.MAX_ALTERNATIVES),
    _states(
        PROTOCOL,
        "| `generate.stop_strings` | {} strings, none of more tokens than the rewind window, "
        "nor of more than {} characters |",
        limits.MAX_STOP_STRINGS,
        _MAX_STOP_CHARS,
    ),
    _states(
        PROTOCOL,
        "| the end of a text that is read again | {} tokens, {} characters | |",
        MAX_REREAD_TOKENS,
        MAX_REREAD_CHARS,
    ),
    _states(PROTOCOL, "no stop strings; {} at least if the model rereads", MAX_REREAD_TOKENS),
    _states(
        PROTOCOL,
        "At most the last {} tokens and {} characters of what clients",
        MAX_REREAD_TOKENS,
        MAX_REREAD_CHARS,
    ),
    _states(PROTOCOL, "| `sampling.temperature` | 0 to {} |", limits.MAX_TEMPERATURE),
    _states(PROTOCOL, "| `sampling.repetition_penalty` | 1 to {} |", limits.MAX_PENALTY),
    _states(
        PROTOCOL,
        "| `sampling.repetition_window` | 1 to {} | {} |",
        limits.MAX_REPETITION_WINDOW,
        limits.DEFAULT_REPETITION_WINDOW,
    ),
    _states(
        PROTOCOL,
        "| `sampling.top_k` | on a card, of a model with more than {} symbols: {} |",
        *(limits.MAX_TOP_K_ON_CARD,) * 2,
    ),
    _states(
        PROTOCOL,
        "| `sampling.logit_bias` | {} symbols, each from -{} to {} |",
        limits.MAX_BIASES,
        *(limits.MAX_BIAS,) * 2,
    ),
    _states(
        PROTOCOL,
        "| `complete.beam_width` | 1 to {} | {} |",
        limits.MAX_BEAM_WIDTH,
        limits.DEFAULT_BEAM_WIDTH,
    ),
    _states(
        PROTOCOL,
        "| `complete.max_tokens` | 1 to {} | {} |",
        limits.MAX_COMPLETE_TOKENS,
        limits.DEFAULT_COMPLETE_TOKENS,
    ),
    _states(PROTOCOL, "| `complete.length_penalty` | 0 to {} |", limits.MAX_LENGTH_PENALTY),
    _states(
        PROTOCOL,
        "| `list_models.page_size` | 1 to {}; more means {} | 0: {} |",
        *(limits.MAX_PAGE_SIZE,) * 2,
        limits.DEFAULT_PAGE_SIZE,
    ),
    _states(
        PROTOCOL,
        "{} by default and {} at most. If",
        limits.DEFAULT_PAGE_SIZE,
        limits.MAX_PAGE_SIZE,
    ),
    _states(
        PROTOCOL,
        "| operations waiting in a session | {}, with {} tokens |",
        _QUEUES.waiting_operations,
        _QUEUES.waiting_tokens,
    ),
    _states(PROTOCOL, "stops reading it | {} |", 2 * _QUEUES.waiting_operations),
    _states(
        PROTOCOL,
        "| tokens generated ahead of the reader | {}; {} with `CONTINUE`",
        _QUEUES.read_ahead_tokens,
        limits.REMEMBERED_TOKENS,
    ),
    _states(
        PROTOCOL,
        "| text that a session keeps for attach | at least the last {} tokens; a durable one {},",
        limits.REMEMBERED_TOKENS,
        limits.STORED_TOKENS,
    ),
    _states(PROTOCOL, "| `open.session_id` | {} hexadecimal digits |", limits.SESSION_ID_DIGITS),
    _states(PROTOCOL, "random bits as {} hexadecimal digits", limits.SESSION_ID_DIGITS),
    _states(PROTOCOL, "waits until it is safe | {} s |", limits.SAFE_FIRST_TIMEOUT_S),
    _states(PROTOCOL, "waits for the store up to {} s", limits.SAFE_FIRST_TIMEOUT_S),
    _states(PROTOCOL, "`attached.done` remembers | {} |", REMEMBERED_OPERATIONS),
    _states(PROTOCOL, "The last {} appends, accepts, generates", REMEMBERED_OPERATIONS),
    _states(
        PROTOCOL,
        "| checkpoints of a session | {}, of names of 1 to {} characters |",
        limits.MAX_CHECKPOINTS,
        limits.MAX_CHECKPOINT_NAME_CHARS,
    ),
    _states(PROTOCOL, "A name has 1 to {} characters", limits.MAX_CHECKPOINT_NAME_CHARS),
    _states(PROTOCOL, "A session has up to {} checkpoints", limits.MAX_CHECKPOINTS),
    _states(PROTOCOL, "the store does not answer for {} s, it is", limits.SAFE_FIRST_TIMEOUT_S),
    _states(PROTOCOL, "before texts stop growing | {} MiB |", _WAITING_MIB),
    _states(PROTOCOL, "While more than {} MiB wait", _WAITING_MIB),
    _states(PROTOCOL, "| a message to the daemon | {} MiB |", _MESSAGE_MIB),
    _states(PROTOCOL, "| first message of a call | within {} s |", limits.FIRST_MESSAGE_TIMEOUT_S),
    _states(PROTOCOL, "`cellwire serve --sessions`, {} |", _CONFIG.sessions),
    _states(PROTOCOL, "| at least {} s apart |", options.PINGS_APART_MS / 1_000 + 1),
    _states(PROTOCOL, "| twice as many, and {} |", options.OTHER_CALLS),
    _states(PROTOCOL, "`--text-memory`, {} MiB |", _CONFIG.text_memory),
    _states(PROTOCOL, "`--drain-timeout-s`, {} s |", _CONFIG.drain_timeout_s),
)

_PAGES = (
    _states(ARCHITECTURE, "as many steps as take {} ms;", step_budget._MANY_STEPS_S * 1_000),
    _states(ARCHITECTURE, "if these take up to {} ms;", step_budget._RUN_S * 1_000),
    _states(
        ARCHITECTURE,
        "(`engine/event_batcher.py`), {} ms or a millisecond for each session",
        event_batcher._TEXT_WAITS_S * 1_000,
    ),
    _states(
        ARCHITECTURE,
        "| operations waiting in a session | {}, and {} tokens",
        _QUEUES.waiting_operations,
        _QUEUES.waiting_tokens,
    ),
    _states(
        ARCHITECTURE,
        "stops reading its client while {} of its operations are unanswered",
        2 * _QUEUES.waiting_operations,
    ),
    _states(ARCHITECTURE, "{} generated tokens (read-ahead)", _QUEUES.read_ahead_tokens),
    _states(ARCHITECTURE, "| what waits for the store | {} MiB:", _WAITING_MIB),
    _states(
        ARCHITECTURE,
        "in rows of {} bytes (SQLite) or {} tokens (Redis)",
        sqlite_rows.TEXT_BYTES,
        redis_keys.TEXT_TOKENS,
    ),
    _states(
        ARCHITECTURE,
        "Each time {} tokens were added, and when {} were and the session leaves",
        session_record.STATE_INTERVAL,
        session_record.LEAVING_INTERVAL,
    ),
    _states(
        ARCHITECTURE,
        "at most every {} s or {} tokens",
        session_record.STATE_PAUSE_S,
        session_record.MOST_UNREAD,
    ),
    _states(ARCHITECTURE, "at least its last {} tokens", limits.REMEMBERED_TOKENS),
    _states(ARCHITECTURE, "both run {} steps in float32", parity.STEPS),
    _states(ARCHITECTURE, "in batches of {}, {} and {},", *parity.BATCHES),
    _states(README, "side by side for {} steps", parity.STEPS),
)

_STORE = (
    _states(OPERATION, "half of `--sessions`, which is {} |", _CONFIG.sessions),
    _states(OPERATION, "when the daemon is stopped | {} s |", _CONFIG.drain_timeout_s),
    _states(
        OPERATION,
        "has set, {} days by default and ten years at most",
        limits.DEFAULT_DURABLE_IDLE_TIMEOUT_S / 86_400,
    ),
    _states(OPERATION, "looks for expired sessions every {} s", expiry_sweep.SWEEP_S),
    _states(OPERATION, "are kept {} minutes longer", stored_sessions.EXPIRY_MARGIN_S / 60),
    _states(OPERATION, "It is kept at some {} MiB.", sqlite_file._WAL_BYTES / 2**20),
    _states(OPERATION, "above {} MiB the log says so", sqlite._MOST_WAL_BYTES / 2**20),
    _states(
        OPERATION,
        "the drain timeout and some {} s before",
        3 * stored_sessions._CLOSE_TIMEOUT_S,
    ),
    _states(OPERATION, "waits for {} s and then fails", limits.SAFE_FIRST_TIMEOUT_S),
    _states(OPERATION, "tries again, every {} s at last", store_writer._MOST_RETRY_S),
    _states(OPERATION, "When {} MiB wait, texts stop", _WAITING_MIB),
    _states(OPERATION, "sessions of one that has died | {} |", _CONFIG.lease_s),
    _states(OPERATION, "(`--lease-s`, {} s by default)", _CONFIG.lease_s),
    _states(OPERATION, "replicas of the server have them, too | {} |", _CONFIG.state_replicas),
    _states(OPERATION, "PRAGMA user_version = {};", sqlite_file.VERSION),
    _states(
        RELIABILITY,
        "{} random alterations of a store of {} sessions",
        test_altered_files.TRIALS,
        test_altered_files.SESSIONS,
    ),
    _states(RELIABILITY, "When more than {} MiB wait", _WAITING_MIB),
)

STATEMENTS = (
    *(*_GENERATION, *_MODELS, *_SESSIONS, *_OPERATIONS),
    *(*_CLIENT, *_PROTOCOL, *_PAGES, *_STORE),
)

# Numbers in proto comments, and in the protocol's table of limits, that no code defines.
OTHER_NUMBERS = (
    "SHA-256",
    "UTF-8",
    "UAX 29",
    "Keskar et al. 2019",
    "2 * sqrt(rewind_window)",
    "/ ln 2",
    "128 random bits",
)
