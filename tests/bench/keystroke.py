"""keystroke: append one character, then complete (beam 5, 12 tokens), over the wire; model M.

Timed by a client in another process, from sending the append to receiving the completed; the
complete is sent directly after the append. Keystrokes follow each other without a pause, in
`paused` with one. In `loaded`, another process generates in 32 sessions.

The denominator is the time of the keystroke's 13 raw steps, one step a run, in raw's bare loop in
the same round while the daemon is idle: one at batch 1 for the append and 12 at the beam's batch
of 5; in `loaded`, each with 32 rows more. (The greedy hypothesis is mostly one of the 5, and the
beam's first step has one row only; both are neglected.)

keystroke.p50_ratio.alone, keystroke.p99_ratio.loaded   over the raw steps; all six are reported
keystroke.p50_ms.alone, ...                             the time; with pauses: .paused
keystroke.raw_ms.alone, .loaded                         the raw steps
"""

from __future__ import annotations

import statistics

from tests.bench.child import beside, daemon, serving
from tests.bench.load import command
from tests.bench.pace import figure, quantile
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop
from tests.bench.typist import BEAM_WIDTH, TOKENS, keystrokes_s

SIZE = "M"
BACKGROUND = 32
PAUSE_S = 0.03

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_PAUSED_SHARE = 3  # of the keystrokes of a round, so many times fewer

FIGURES = (
    *(f"keystroke.{q}_ratio.{where}" for where in ("alone", "loaded") for q in _QUANTILES),
    *(f"keystroke.{q}_ms.{where}" for where in ("alone", "loaded", "paused") for q in _QUANTILES),
    "keystroke.raw_ms.alone",
    "keystroke.raw_ms.loaded",
)


def run(setting: Setting) -> dict[str, float]:
    """Type alone, in company, and slowly."""
    model, effort = setting.models.path(SIZE), setting.effort
    stepping = ProgramLoop(model, setting.threads, BACKGROUND + BEAM_WIDTH)
    rounds: dict[str, list[float]] = {name: [] for name in FIGURES}
    with serving(daemon("--model", str(model))) as server:
        for number in range(effort.load_rounds):
            setting.say(f"keystroke: round {number + 1} of {effort.load_rounds}")
            raw_s = _raw_s(setting, stepping, 0)
            _note(rounds, "alone", keystrokes_s(server.address, effort.keystrokes), raw_s)
            raw_s = _raw_s(setting, stepping, BACKGROUND)
            with beside(command(server.address, BACKGROUND)):
                _note(rounds, "loaded", keystrokes_s(server.address, effort.keystrokes), raw_s)
            paused = keystrokes_s(server.address, effort.keystrokes // _PAUSED_SHARE, PAUSE_S)
            _note(rounds, "paused", paused, None)
    return {key: value for name in FIGURES for key, value in figure(name, rounds[name]).items()}


def _raw_s(setting: Setting, stepping: ProgramLoop, others: int) -> float:
    """Return the time of a keystroke's steps in a bare loop."""
    slice_s = setting.effort.slice_s
    append, beam = (
        statistics.median(stepping.step_s(others + rows, slice_s) for _ in range(3))
        for rows in (1, BEAM_WIDTH)
    )
    return append + TOKENS * beam


def _note(
    rounds: dict[str, list[float]], where: str, times_s: list[float], raw_s: float | None
) -> None:
    for name, share in _QUANTILES.items():
        time_s = quantile(times_s, share)
        rounds[f"keystroke.{name}_ms.{where}"].append(1_000 * time_s)
        if raw_s is not None:
            rounds[f"keystroke.{name}_ratio.{where}"].append(time_s / raw_s)
    if raw_s is not None:
        rounds[f"keystroke.raw_ms.{where}"].append(1_000 * raw_s)
