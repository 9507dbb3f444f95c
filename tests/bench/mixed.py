"""mixed: 64 plain sessions alone, and beside one session whose sampling needs single steps.

A repetition penalty or alternatives limit a session to runs of one step; the sessions beside it
should not lose by that. Every ratio is the plain sessions' tokens per second beside such a session
/ alone. Alone and beside take turns within one run.

`raw` drives an engine and its runtime in this process, without event loop and socket; its runs have
as many steps as the daemon's budget allows for the plain sessions alone. `served` measures a daemon
whose plain sessions and single-step session belong to two other processes.

mixed.raw.<model>                   beside a session with a repetition penalty
mixed.raw_alternatives.<model>      beside a session with top_alternatives
mixed.raw_tokens_per_s.<model>      of the plain sessions alone
mixed.raw_penalty_share.<model>     tokens per second of the session with the penalty / those of
                                    one plain session beside it: whether it is starved
mixed.served.<model>                as mixed.raw, over the wire
mixed.served_alternatives.<model>   as mixed.raw_alternatives, over the wire
mixed.served_tokens_per_s.<model>   of the plain sessions alone
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.bench.child import beside, daemon, serving
from tests.bench.figures import names
from tests.bench.load import command, measured
from tests.bench.mixed_engine import MixedEngine
from tests.bench.pace import figure, in_turns, ratios
from tests.bench.setting import Setting

from cellwire.server.batch.limits import MAX_GENERATE_TOKENS
from cellwire.server.batch.sampling import Sampling
from cellwire.server.session.operations import Generate

SIZES = ("S", "M", "L")
SESSIONS = 64

FIGURES = (
    *names("mixed", ("raw", "raw_alternatives", "raw_tokens_per_s", "raw_penalty_share"), SIZES),
    *names("mixed", ("served", "served_alternatives", "served_tokens_per_s"), SIZES),
)

_PENALTY = 1.2
_ALTERNATIVES = 5
_SLICES = 3  # a slice of an engine is this many times as long as one of a bare loop


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, sessions: int = SESSIONS
) -> dict[str, float]:
    """Measure every model, first its engine, then a daemon."""
    figures: dict[str, float] = {}
    for size in sizes:
        model = setting.models.path(size)
        setting.say(f"mixed: {size}, {sessions} sessions in an engine")
        figures |= _raw(setting, model, size, sessions)
        setting.say(f"mixed: {size}, {sessions} sessions over the wire")
        figures |= _served(setting, model, size, sessions)
    return figures


def _raw(setting: Setting, model: Path, size: str, sessions: int) -> dict[str, float]:
    engine = MixedEngine(model, setting.threads, sessions)
    penalty = Generate(2, MAX_GENERATE_TOKENS, Sampling(repetition_penalty=_PENALTY))
    alternatives = Generate(2, MAX_GENERATE_TOKENS, Sampling(), alternatives=_ALTERNATIVES)
    slice_s = _SLICES * setting.effort.slice_s
    shares: list[float] = []

    def beside_penalty() -> float:
        paces = engine.beside(penalty, slice_s)
        shares.append(paces.single_step / (paces.plain / sessions))
        return paces.plain

    paces = in_turns(
        {
            "alone": lambda: engine.alone(slice_s),
            "penalty": beside_penalty,
            "alternatives": lambda: engine.beside(alternatives, slice_s).plain,
        },
        setting.effort.rounds,
    )
    return {
        **figure(f"mixed.raw.{size}", ratios(paces["penalty"], paces["alone"])),
        **figure(f"mixed.raw_alternatives.{size}", ratios(paces["alternatives"], paces["alone"])),
        **figure(f"mixed.raw_tokens_per_s.{size}", paces["alone"]),
        **figure(f"mixed.raw_penalty_share.{size}", shares),
    }


def _served(setting: Setting, model: Path, size: str, sessions: int) -> dict[str, float]:
    effort = setting.effort
    with serving(daemon("--model", str(model))) as server:

        def pace(penalty: float = 1, alternatives: int = 0) -> float:
            """Return the plain sessions' tokens per second, beside one with these options."""
            single_step = command(
                server.address, 1, repetition_penalty=penalty, top_alternatives=alternatives
            )
            plain = penalty == 1 and not alternatives
            with nullcontext() if plain else beside(single_step):
                load = measured(server.address, sessions, effort.warm_up_s, effort.load_s)
            return load.tokens_per_s

        paces = in_turns(
            {
                "alone": pace,
                "penalty": lambda: pace(penalty=_PENALTY),
                "alternatives": lambda: pace(alternatives=_ALTERNATIVES),
            },
            effort.load_rounds,
        )
    return {
        **figure(f"mixed.served.{size}", ratios(paces["penalty"], paces["alone"])),
        **figure(
            f"mixed.served_alternatives.{size}", ratios(paces["alternatives"], paces["alone"])
        ),
        **figure(f"mixed.served_tokens_per_s.{size}", paces["alone"]),
    }
