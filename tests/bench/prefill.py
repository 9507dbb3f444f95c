"""prefill: an append of 10,000 tokens; model M.

Alone: the append's tokens per second, from sending it to its `appended`, over those of raw's bare
loop at batch 1 in the same round.

Beside 16 sessions that generate in another process: the times between two messages of one of these
sessions, recorded by that process. Their p99 while an append runs, over their p99 while none does.
(Gaps between messages, not between tokens: tokens of one message have no gap, and would only make
the p99 better.) Both take turns within one run of the 16 sessions.

prefill.ratio                     append / raw at batch 1, in tokens per second
prefill.tokens_per_s              of the append alone
prefill.gap_ratio                 p99 with the append / p99 without
prefill.gap_p99_ms.quiet, .busy   without, and with
prefill.tokens_per_s.beside       of the append, beside the 16 sessions
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.bench.child import beside, daemon, serving
from tests.bench.load import command
from tests.bench.pace import figure, ratios
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop
from tests.bench.texts import text_of
from tests.bench.wire import opened

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

SIZE = "M"
TOKENS = 10_000
SESSIONS = 16

FIGURES = (
    "prefill.ratio",
    "prefill.tokens_per_s",
    "prefill.gap_ratio",
    "prefill.gap_p99_ms.quiet",
    "prefill.gap_p99_ms.busy",
    "prefill.tokens_per_s.beside",
)

_OPEN = StreamSessionRequest(open=operations_pb2.Open(seed=1))
_APPEND = StreamSessionRequest(append=operations_pb2.Append(text=text_of(TOKENS)))
_SLICES = 3


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when something was going on, on the monotonic clock."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


def run(setting: Setting) -> dict[str, float]:
    """Append alone, then beside others."""
    model = setting.models.path(SIZE)
    with serving(daemon("--model", str(model))) as server:
        return _alone(setting, model, server.address) | _beside(setting, server.address)


def _append(address: str) -> _Span:
    """Append in a new session."""
    with opened(address, _OPEN) as wire:
        start_s = time.monotonic()
        answer = wire.ask(_APPEND)
        span = _Span(start_s, time.monotonic())
        assert answer.appended.offset == TOKENS, answer
        return span


def _alone(setting: Setting, model: Path, address: str) -> dict[str, float]:
    effort = setting.effort
    stepping = ProgramLoop(model, setting.threads, 1)
    raw, prefill = [], []
    for number in range(effort.load_rounds):
        setting.say(f"prefill: alone, round {number + 1} of {effort.load_rounds}")
        raw.append(stepping.tokens_per_s(1, _SLICES * effort.slice_s))
        prefill.append(TOKENS / _append(address).seconds)
    return {
        **figure("prefill.ratio", ratios(prefill, raw)),
        **figure("prefill.tokens_per_s", prefill),
    }


def _beside(setting: Setting, address: str) -> dict[str, float]:
    effort = setting.effort
    quiet, busy = [], []
    with tempfile.TemporaryDirectory() as folder:
        arrivals = str(Path(folder) / "arrivals.npy")
        with beside(command(address, SESSIONS, arrivals=arrivals)):
            time.sleep(effort.warm_up_s)
            for number in range(effort.load_rounds):
                setting.say(f"prefill: beside others, round {number + 1} of {effort.load_rounds}")
                start_s = time.monotonic()
                time.sleep(effort.load_s)
                quiet.append(_Span(start_s, time.monotonic()))
                busy.append(_append(address))
        rows: npt.NDArray[np.float64] = np.load(arrivals)
    quiet_ms, busy_ms = ([_gap_p99_ms(rows, span) for span in spans] for spans in (quiet, busy))
    return {
        **figure("prefill.gap_ratio", ratios(busy_ms, quiet_ms)),
        **figure("prefill.gap_p99_ms.quiet", quiet_ms),
        **figure("prefill.gap_p99_ms.busy", busy_ms),
        **figure("prefill.tokens_per_s.beside", [TOKENS / span.seconds for span in busy]),
    }


def _gap_p99_ms(rows: npt.NDArray[np.float64], span: _Span) -> float:
    """Return the p99 of the times between messages of the same session within a span."""
    of_span = rows[(rows[:, 1] >= span.start_s) & (rows[:, 1] <= span.end_s)]
    gaps = [np.diff(of_span[of_span[:, 0] == index, 1]) for index in np.unique(of_span[:, 0])]
    return float(1_000 * np.quantile(np.concatenate(gaps), 0.99))
