"""`cellwire serve`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellwire.server.host.config import Config, Setting, settings
from cellwire.server.host.config_sources import BadConfig, read_config

if TYPE_CHECKING:
    from cellwire.server.rpc.daemon import Daemon

_FAILED = 1
_MISUSED = 2
_KILLED = 130
_LAST_MOMENTS_S = 0.5
_SWITCH_INTERVAL_S = 0.0005
_OPEN = (
    "warning: {} is open to other machines, without encryption or authentication: whoever reaches "
    "it can use the daemon; put a proxy that has both in front, or listen on 127.0.0.1"
)


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each setting of the daemon, and one for a file of settings."""
    parameters = [
        Parameter(setting.name, Parameter.KEYWORD_ONLY, default=None, annotation=_flag_of(setting))
        for setting in settings()
    ]
    file = typer.Option(help="A TOML file of settings, named as their flags: max_batch = 64.")
    parameters.append(
        Parameter(
            "config", Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, file]
        )
    )
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # for typer
    return command


def _flag_of(setting: Setting) -> object:
    """Return what typer needs to know of a flag; its text is parsed with the other sources'."""
    switch = setting.kind == "switch"
    names = [f"{setting.flag}/--no-{setting.flag[2:]}"] if switch else [setting.flag]
    option = typer.Option(
        *names,
        help=f"{setting.help} Default: {setting.default}.",
        show_default=False,
        metavar=None if switch else "|".join(setting.choices) or setting.kind.upper(),
    )
    if switch:
        return Annotated[bool | None, option]
    return Annotated[list[str] | None if setting.repeated else str | None, option]


@_with_flags
def serve(*, config: Path | None, **flags: object) -> None:
    """Serve models over gRPC until SIGTERM or Ctrl-C.

    Each setting can also come from the environment, as in CELLWIRE_MAX_BATCH=64, or from a file
    (--config). A flag overrides the environment, and the environment the file.

    For example:

        cellwire serve
        cellwire serve --model mytext.onnx --model another.onnx --listen 127.0.0.1:50052
        cellwire serve --model-folder models    # for `cellwire load`
    """
    from cellwire.model_file.errors import BadModel
    from cellwire.server.errors import CannotListen, CannotOpenStore, NoCuda, TwoRuntimes
    from cellwire.server.host.own_thread import own_threads, threads_left
    from cellwire.server.runtime.builds import check_one_build

    earlier = own_threads()
    try:
        check_one_build()
        crash = asyncio.run(_serve(read_config(flags, os.environ, config)))
    except BadConfig as error:
        _say(str(error))
        raise typer.Exit(_MISUSED) from error
    except (BadModel, CannotListen, CannotOpenStore, NoCuda, TwoRuntimes) as error:
        _say(str(error))
        raise typer.Exit(_FAILED) from error
    if left := threads_left(_LAST_MOMENTS_S, earlier=earlier):
        # Nothing ends a thread that hangs in a file or a step; the interpreter would wait for it.
        _say(f"left behind: {', '.join(left)}")
        os._exit(_FAILED if crash is not None else 0)
    if crash is not None:
        raise typer.Exit(_FAILED)


async def _serve(config: Config) -> BaseException | None:
    """Run a daemon until a signal, or until an engine fails; return that failure."""
    from cellwire.server.rpc.address import check, is_open_to_others
    from cellwire.server.rpc.daemon import Daemon
    from cellwire.server.store.address import without_password

    # After each run an engine waits for the interpreter lock, which the event loop may hold.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    signals = _Signals(asyncio.get_running_loop())
    check(config.listen)  # before the models take their time
    daemon = Daemon(config)
    _say(daemon.placement.why)
    async with daemon:
        for model in daemon.registry:
            if model.note:
                _say(model.note)
        signals.ready = True
        if is_open_to_others(daemon.address):
            _say(_OPEN.format(daemon.address))
        if config.state is not None:
            place = config.state
            shown = without_password(place) if isinstance(place, str) else place
            _say(f"durable sessions are kept in {shown}")
        # What there is now stays. To look through it for garbage, again and again, would stop all
        # threads for 25 to 50 ms each time.
        gc.freeze()
        _say(_ready(daemon, config))
        daemon.crashed.add_done_callback(lambda _: signals.stop.set())
        await signals.stop.wait()
        if daemon.crashed.done():
            _say(f"an engine failed: {daemon.crashed.result()!r}")
        _say(f"draining, at most {config.drain_timeout_s:g} s; once more ends at once")
    _say("stopped")
    return daemon.crashed.result() if daemon.crashed.done() else None


class _Signals:
    """SIGINT and SIGTERM: the first drains, or ends a start; the second ends at once.

    Handled in the main thread whatever the event loop does, and on Windows, too.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop = asyncio.Event()
        self.ready = False
        self._loop = loop
        self._seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        if not self.ready:  # there are no sessions yet
            _say("stopped while starting")
            os._exit(0)
        if self._seen:
            os._exit(_KILLED)
        self._seen = True
        self._loop.call_soon_threadsafe(self.stop.set)


def _ready(daemon: Daemon, config: Config) -> str:
    from cellwire.server.runtime.compiled import VERSION

    models = ", ".join(f"{model.name} on {model.provider}" for model in daemon.registry)
    return (
        f"{version('cellwire')} ready on {daemon.address}; serving {models} "
        f"(onnxruntime {VERSION}, threads: {config.threads})"
    )


def _say(text: str) -> None:
    # A daemon goes on when whoever read its log has gone.
    with contextlib.suppress(OSError, ValueError):
        print(f"cellwire: {text}", file=sys.stderr, flush=True)  # noqa: T201  # its purpose
