"""served: generating sessions over the wire, against the bare loop at the same batch.

A daemon in one process, the load in another: sessions that generate without end, on one channel.
Each round first measures raw's bare loop while the daemon is idle, then the load.

served.ratio.<model>.<sessions>           served / raw at that batch, in tokens per second
served.tokens_per_s.<model>.<sessions>    of all sessions together
served.messages_per_s.<model>.<sessions>  likewise; a message carries all text that is ready
served.client_cores.<model>.<sessions>    processor time of the load per second
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.child import daemon, serving
from tests.bench.figures import names
from tests.bench.load import Load, measured
from tests.bench.pace import figure, ratios
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop

SIZES = ("S", "M", "L")
SESSIONS = (1, 16, 64, 256)

_RAW_SLICES = 3  # a round's raw part is so many slices long: as a rule, there are fewer rounds

_KINDS = ("ratio", "tokens_per_s", "messages_per_s", "client_cores")
FIGURES = names("served", _KINDS, SIZES, SESSIONS)


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, numbers: Sequence[int] = SESSIONS
) -> dict[str, float]:
    """Measure every model with every number of sessions."""
    figures: dict[str, float] = {}
    for size in sizes:
        model = setting.models.path(size)
        stepping = ProgramLoop(model, setting.threads, max(numbers))
        with serving(daemon("--model", str(model))) as server:
            for sessions in numbers:
                setting.say(f"served: {size}, {sessions} sessions")
                figures |= _figures(setting, stepping, server.address, f"{size}.{sessions}")
    return figures


def _figures(setting: Setting, stepping: ProgramLoop, address: str, at: str) -> dict[str, float]:
    effort, sessions = setting.effort, int(at.rpartition(".")[2])
    raw: list[float] = []
    loads: list[Load] = []
    for _ in range(effort.load_rounds):
        raw.append(stepping.tokens_per_s(sessions, _RAW_SLICES * effort.slice_s))
        loads.append(measured(address, sessions, effort.warm_up_s, effort.load_s))
    chars = [load.tokens_per_s for load in loads]
    return {
        **figure(f"served.ratio.{at}", ratios(chars, raw)),
        **figure(f"served.tokens_per_s.{at}", chars),
        **figure(f"served.messages_per_s.{at}", [load.messages_per_s for load in loads]),
        **figure(f"served.client_cores.{at}", [load.client_cores for load in loads]),
    }
