"""alternatives: simpler servers under the same load; 64 generating sessions, L and M.

- naive: a gRPC server with one `session.run` of the same cell per client and step (naive_grpc.py)
- torch: the same server with PyTorch's nn.LSTM and the same weights
- litserve: a LitServe server that streams and keeps each session's state between requests, as the
  two above do; a request is a turn of 64 characters (litserve_server.py)
- litserve_batch: LitServe without sessions: endless requests that arrive together and are one batch
  of the cell

Each is tried in a few settings (steps in the event loop or in a pool, threads; LitServe's two
queues). Only the fastest setting is compared, with sessions that generate without end in another
process, in turns with Cellwire.

alternatives.<which>.<model>.64                 Cellwire / the alternative, in tokens per second
alternatives.tokens_per_s.<which>.<model>.64    of each, Cellwire included
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.bench import load, load_http
from tests.bench.child import daemon, module, serving
from tests.bench.pace import figure, ratios
from tests.bench.setting import Effort, Setting

SIZES = ("L", "M")
SESSIONS = 64

WHICH = ("naive", "torch", "litserve", "litserve_batch")
_TURN_CHARS = 64
FIGURES = (
    *(f"alternatives.{which}.{size}.{SESSIONS}" for which in WHICH for size in SIZES),
    *(
        f"alternatives.tokens_per_s.{which}.{size}.{SESSIONS}"
        for which in ("cellwire", *WHICH)
        for size in SIZES
    ),
)


@dataclass(frozen=True, slots=True)
class _Contender:
    """A server in one of its settings."""

    setting: str  # for people
    command: Sequence[str]
    http: bool = False
    turn_chars: int = 0  # of a request over HTTP, which otherwise has no end

    def tokens_per_s(self, address: str, effort: Effort) -> float:
        """Put it under load."""
        common = address, SESSIONS, effort.warm_up_s, effort.load_s
        if self.http:
            return load_http.measured(*common, self.turn_chars).tokens_per_s
        return load.measured(*common).tokens_per_s


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, which: Sequence[str] = WHICH
) -> dict[str, float]:
    """Compare with each of them, for each model."""
    figures: dict[str, float] = {}
    for size in sizes:
        contenders = {"cellwire": _cellwire(setting, size)}
        for name in which:
            contenders[name] = _fastest(setting, name, _candidates(setting, name, size))
        setting.say(f"alternatives: {size}, all in turns")
        figures |= _figures(size, _in_turns(setting.effort, contenders))
    return figures


def _cellwire(setting: Setting, size: str) -> _Contender:
    return _Contender("as it comes", daemon("--model", str(setting.models.path(size))))


def _candidates(setting: Setting, name: str, size: str) -> list[_Contender]:
    model, threads = setting.models.path(size), setting.threads
    if name.startswith("litserve"):
        batch, turn_chars = (SESSIONS, 0) if name == "litserve_batch" else (0, _TURN_CHARS)
        options: tuple[object, ...] = (model, "--threads", threads, "--batch", batch)
        return [
            _Contender(
                f"{queue} queue",
                module("litserve_server", *options, "--fast-queue", number),
                http=True,
                turn_chars=turn_chars,
            )
            for number, queue in enumerate(("usual", "fast"))
        ]
    cell = "onnx" if name == "naive" else "torch"
    ways = {
        "steps in the event loop, 1 thread": (0, 1),
        f"steps in the event loop, {threads} threads": (0, threads),
        f"steps in a pool of {threads}, 1 thread each": (threads, 1),
    }
    options = (model, "--cell", cell)
    return [
        _Contender(
            way, module("naive_grpc", *options, "--workers", workers, "--threads", own_threads)
        )
        for way, (workers, own_threads) in ways.items()
    ]


def _fastest(setting: Setting, name: str, candidates: Sequence[_Contender]) -> _Contender:
    """Try each for a short time."""
    paces = {}
    for candidate in candidates:
        with _served(candidate) as address:
            try:
                paces[candidate.setting] = candidate.tokens_per_s(address, setting.effort)
            except subprocess.CalledProcessError:  # too slow to let all sessions in
                paces[candidate.setting] = 0.0
        setting.say(
            f"alternatives: trial of {name}, {candidate.setting}: "
            f"{paces[candidate.setting]:,.0f} characters/s"
        )
    return max(candidates, key=lambda candidate: paces[candidate.setting])


@contextmanager
def _served(contender: _Contender) -> Iterator[str]:
    with serving(contender.command) as server:
        yield server.address


def _in_turns(effort: Effort, contenders: dict[str, _Contender]) -> dict[str, list[float]]:
    """Measure each of them once a round."""
    paces: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        addresses = {
            name: stack.enter_context(_served(contender))
            for name, contender in contenders.items()
            if not contender.http
        }
        for _ in range(effort.load_rounds):
            for name, contender in contenders.items():
                if contender.http:
                    # It goes on generating for clients that have gone, so each round has its own.
                    with _served(contender) as address:
                        paces[name].append(contender.tokens_per_s(address, effort))
                else:
                    paces[name].append(contender.tokens_per_s(addresses[name], effort))
    return paces


def _figures(size: str, paces: dict[str, list[float]]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, values in paces.items():
        figures |= figure(f"alternatives.tokens_per_s.{name}.{size}.{SESSIONS}", values)
        if name != "cellwire":
            over = ratios(paces["cellwire"], values)
            figures |= figure(f"alternatives.{name}.{size}.{SESSIONS}", over)
    return figures
