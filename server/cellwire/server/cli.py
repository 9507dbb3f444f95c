"""`cellwire serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellwire.server.runtime.device import Provider

if TYPE_CHECKING:
    from cellwire.server.host.config import Config
    from cellwire.server.rpc.daemon import Daemon

_FAILED = 1
_SWITCH_INTERVAL_S = 0.0005


def serve(
    model: Annotated[
        list[Path] | None,
        typer.Option(help="A model file to serve; repeat for several. Default: the built-in one."),
    ] = None,
    model_folder: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="A folder that clients may load models from."
        ),
    ] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = (
        "127.0.0.1:50051"
    ),
    sessions: Annotated[int, typer.Option(min=1, help="Most sessions of each model.")] = 4096,
    slots: Annotated[
        int | None,
        typer.Option(
            min=7,
            help="Most states of each model that are kept ready, seven a session at the usual "
            "rewind window; beyond, sessions that rest are parked in the host's memory. Default: "
            "enough for all, or as many as a quarter of the card's free memory holds.",
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Most sessions in one step.")] = 256,
    provider: Annotated[
        Provider,
        typer.Option(help="What to run on; auto takes CUDA if it can be used, and says why not."),
    ] = "auto",
    *,
    device: Annotated[int, typer.Option(min=0, help="The number of the CUDA card.")] = 0,
    fixed_batch: Annotated[
        bool,
        typer.Option(
            "--one-size",
            help="Fill every batch up to --max-batch: slower, but on CUDA a seed then gives the "
            "same text at any load, but for completions.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads for a step on the CPU; default: all cores but one."),
    ] = None,
    drain_timeout_s: Annotated[
        float, typer.Option(min=0, help="How long running operations may go on when stopped.")
    ] = 10.0,
) -> None:
    """Serve models over gRPC until SIGTERM or Ctrl-C."""
    from cellwire.model_file.errors import BadModel
    from cellwire.server.errors import CannotListen, NoCuda
    from cellwire.server.host.config import Config

    defaults = Config()
    config = Config(
        listen=listen,
        models=tuple(model) if model else defaults.models,
        model_folder=model_folder,
        sessions=sessions,
        max_slots=slots,
        provider=provider,
        device=device,
        fixed_batch=fixed_batch,
        max_batch=max_batch,
        threads=threads or defaults.threads,
        drain_timeout_s=drain_timeout_s,
    )
    try:
        crash = asyncio.run(_serve(config))
    except (BadModel, CannotListen, NoCuda) as error:
        _say(str(error))
        raise typer.Exit(_FAILED) from error
    if crash is not None:
        raise typer.Exit(_FAILED)


async def _serve(config: Config) -> BaseException | None:
    """Run a daemon until it is told to stop, or an engine crashes; return the crash."""
    from cellwire.server.rpc.daemon import Daemon

    # An engine that has made a stride must not wait long for the event loop to let Python go on.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, _on_signal, stop)
    daemon = Daemon(config)
    _say(daemon.placement.why)
    async with daemon:
        for model in daemon.registry:
            if model.note:
                _say(model.note)
        _say(_ready(daemon, config))
        daemon.crashed.add_done_callback(lambda _: stop.set())
        await stop.wait()
        if daemon.crashed.done():
            _say(f"an engine failed: {daemon.crashed.result()!r}")
        _say(f"draining, at most {config.drain_timeout_s:g} s; once more ends at once")
    _say("stopped")
    return daemon.crashed.result() if daemon.crashed.done() else None


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(130)  # asked for twice: no draining
    stop.set()


def _ready(daemon: Daemon, config: Config) -> str:
    from cellwire.server.runtime.compiled import VERSION

    models = ", ".join(f"{model.name} on {model.provider}" for model in daemon.registry)
    return (
        f"{version('cellwire')} ready on {daemon.address}; serving {models} "
        f"(onnxruntime {VERSION}, threads: {config.threads})"
    )


def _say(text: str) -> None:
    print(f"cellwire: {text}", file=sys.stderr, flush=True)  # noqa: T201  # its purpose
