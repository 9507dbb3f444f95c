"""The settings of a daemon, each described once.

`cellwire serve` takes them from its flags, the environment and a file; see host/config_sources.py.
This module imports nothing heavy, so that `cellwire --help` is quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from cellwire.server.batch.limits import DEFAULT_REWIND_WINDOW, MAX_BEAM_WIDTH
from cellwire.server.host.machine import cores
from cellwire.server.runtime.device import Provider

if TYPE_CHECKING:
    from cellwire.server.session.operation_queue import Limits

Kind = Literal["text", "path", "place", "integer", "number", "switch"]
"""A place is a folder, or an address as in redis://HOST:PORT/DB."""

StateSync = Literal["full", "normal"]
StateOnNetwork = Literal["refuse", "warn"]

_SETTING = "setting"
_KINDS: dict[object, Kind] = {
    str: "text",
    Path: "path",
    int: "integer",
    float: "number",
    bool: "switch",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a daemon: `--max-batch`, `CELLWIRE_MAX_BATCH`, or `max_batch` in a file."""

    name: str  # as in a file
    field: str  # of Config
    kind: Kind
    help: str
    default: str  # for people
    minimum: float | None = None
    choices: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def flag(self) -> str:
        """The flag of `cellwire serve`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "CELLWIRE_" + self.name.upper()


def _about(help: str, **facts: Any) -> dict[str, Any]:  # noqa: A002, ANN401  # as of Setting
    """Return the metadata of a field of Config that is a setting: fields of Setting."""
    return {_SETTING: {"help": help, **facts}}


def _built_in_model() -> tuple[Path, ...]:
    from cellwire.model_file.cell import BUILT_IN_MODEL

    return (BUILT_IN_MODEL,)


def _default_limits() -> Limits:
    from cellwire.server.session.operation_queue import Limits

    return Limits()


def _cores_for_steps() -> int:
    """Return how many cores this process may use, less one for everything but the steps."""
    return max(1, cores() - 1)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a daemon."""

    listen: str = field(
        default="127.0.0.1:50051",
        metadata=_about("The address to listen on, HOST:PORT; port 0 takes a free one."),
    )
    models: tuple[Path, ...] = field(
        default_factory=_built_in_model,
        metadata=_about(
            "A model file to serve; repeat for several.", name="model", default="the built-in model"
        ),
    )
    model_folder: Path | None = field(
        default=None,
        metadata=_about("The folder that clients may load further models from.", default="none"),
    )
    sessions: int = field(
        default=4096, metadata=_about("The most sessions of each model.", minimum=1)
    )
    max_slots: int | None = field(
        default=None,
        metadata=_about(
            "The most states of each model that are kept ready: seven a session at the default "
            "rewind window. Beyond them, idle sessions are parked in the host's memory.",
            name="slots",
            default="enough for all sessions, or as many as fit into half of a card's free memory, "
            "or a quarter of the host's",
            minimum=7,
        ),
    )
    max_batch: int = field(
        default=256, metadata=_about("The most sessions in one step.", minimum=1)
    )
    provider: Provider = field(
        default="auto",
        metadata=_about("What to run on: auto takes CUDA if it can be used, and says why if not."),
    )
    device: int = field(default=0, metadata=_about("The number of the CUDA card.", minimum=0))
    fixed_batch: bool = field(
        default=False,
        metadata=_about(
            "Pad every batch to --max-batch. Slower, but on CUDA a seed then gives the same text "
            "at any load, except for completions.",
            default="no",
        ),
    )
    threads: int = field(
        default_factory=_cores_for_steps,
        metadata=_about(
            "The threads of a step on the CPU.", default="all cores but one", minimum=1
        ),
    )
    text_memory: int = field(
        default=1_024,
        metadata=_about(
            "The most memory for texts, in MiB: those that sessions remember, and those that wait "
            "in operations.",
            minimum=1,
        ),
    )
    state: Path | str | None = field(
        default=None,
        metadata=_about(
            "Where durable sessions are kept: a folder, which is made if need be and used by one "
            "daemon at a time, or a Redis server that daemons share, redis://HOST:PORT/DB.",
            kind="place",
            default="none: no session outlives the daemon",
        ),
    )
    state_sync: StateSync = field(
        default="full",
        metadata=_about(
            "What a safe session in a folder survives: full, a loss of power; normal, which is "
            "quicker, the death of the daemon."
        ),
    )
    state_on_network: StateOnNetwork = field(
        default="refuse",
        metadata=_about(
            "Whether the state folder may be on a network's file system, where locks and syncs may "
            "not hold and sessions may be lost: refuse, or warn and go on."
        ),
    )
    state_replicas: int = field(
        default=0,
        metadata=_about(
            "The replicas of the Redis server that must have a session's changes before these are "
            "safe.",
            minimum=0,
        ),
    )
    lease_s: float = field(
        default=5.0,
        metadata=_about(
            "The seconds after which other daemons take over the sessions of one that has died.",
            minimum=0.5,
        ),
    )
    max_resident: int | None = field(
        default=None,
        metadata=_about(
            "The most durable sessions in memory. Beyond them, those without a client leave it, "
            "the longest idle first, and come back when they are used.",
            name="resident",
            default="half of --sessions",
            minimum=0,
        ),
    )
    drain_timeout_s: float = field(
        default=10.0,
        metadata=_about(
            "How long running operations may go on when the daemon is stopped, in seconds.",
            minimum=0,
        ),
    )
    limits: Limits = field(default_factory=_default_limits)

    @property
    def resident(self) -> int:
        """The most durable sessions in memory, unless more have clients."""
        return self.sessions // 2 if self.max_resident is None else self.max_resident

    @property
    def slots(self) -> int:
        """The most states of each model that are kept ready.

        Unless `max_slots` says fewer: enough for all sessions at the default rewind window, and for
        the beams of two steps.
        """
        from cellwire.server.state.rewind_window import slots_for

        widest_step = max(self.max_batch, MAX_BEAM_WIDTH)
        return self.max_slots or self.sessions * slots_for(DEFAULT_REWIND_WINDOW) + 2 * widest_step


def settings() -> Iterator[Setting]:
    """Yield the settings that Config describes, in its order."""
    types = get_type_hints(Config, localns={"Limits": object})
    for described in dataclasses.fields(Config):
        if _SETTING in described.metadata:
            facts: dict[str, Any] = described.metadata[_SETTING]
            value_type = _value_type(types[described.name])
            found: dict[str, Any] = {
                "name": described.name,
                "field": described.name,
                "kind": _KINDS.get(value_type, "text"),
                "default": str(described.default),
                "choices": get_args(value_type),
                "repeated": get_origin(types[described.name]) is tuple,
            }
            yield Setting(**(found | facts))


def _value_type(annotation: Any) -> Any:  # noqa: ANN401  # any type, or a Literal
    """Return the type of one value: without None, and of a tuple the type of its members."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        return annotation
    return get_args(annotation)[0]
