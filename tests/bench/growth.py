"""growth: more sessions, larger vocabularies, other kinds of sampling; model M.

- Tokens per second over the wire against the number of generating sessions, with one load process
  as in `served`.
- The time of a step at batch 64 against the vocabulary, with each kind of sampling, the same for
  all rows. A step is a run of one step as the engine makes it, copies to and from the runtime's
  buffers included; without engine and network. All kinds take turns.

growth.tokens_per_s.<sessions>          for each number of sessions
growth.step_ms.<kind>.<vocabulary>      for each kind of sampling
growth.<kind>_ratio.<vocabulary>        over the step with plain temperature
"""

from __future__ import annotations

from tests.bench.child import daemon, serving
from tests.bench.load import measured
from tests.bench.pace import figure, in_turns, ratios, runs_per_s
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop
from tests.bench.texts import VOCABULARY

from cellwire.server.batch.sampling import Sampling

SIZE = "M"
SESSIONS = (1, 4, 16, 64, 256, 1_024)
VOCABULARIES = (VOCABULARY, 1_000, 3_000, 10_000, 50_000)
BATCH = 64

PLAIN = "temperature"
KINDS = {
    PLAIN: Sampling(),
    "greedy": Sampling(temperature=0),
    "topk": Sampling(top_k=40),
    "topp": Sampling(top_p=0.9),
    "minp": Sampling(min_p=0.05),
    "topk_topp": Sampling(top_k=40, top_p=0.9),
    "penalty": Sampling(repetition_penalty=1.2),
}
_OTHERS = tuple(kind for kind in KINDS if kind != PLAIN)

FIGURES = (
    *(f"growth.tokens_per_s.{sessions}" for sessions in SESSIONS),
    *(f"growth.step_ms.{kind}.{vocabulary}" for vocabulary in VOCABULARIES for kind in KINDS),
    *(f"growth.{kind}_ratio.{vocabulary}" for vocabulary in VOCABULARIES for kind in _OTHERS),
)


def run(setting: Setting) -> dict[str, float]:
    """Measure both."""
    figures = _more_sessions(setting)
    for vocabulary in VOCABULARIES:
        setting.say(f"growth: sampling from {vocabulary:,} symbols")
        figures |= _sampling(setting, vocabulary)
    return figures


def _more_sessions(setting: Setting) -> dict[str, float]:
    effort = setting.effort
    paces: dict[int, list[float]] = {sessions: [] for sessions in SESSIONS}
    with serving(daemon("--model", str(setting.models.path(SIZE)))) as server:
        for number in range(effort.load_rounds):
            setting.say(f"growth: sessions, round {number + 1} of {effort.load_rounds}")
            for sessions, values in paces.items():
                load = measured(server.address, sessions, effort.warm_up_s, effort.load_s)
                values.append(load.tokens_per_s)
    return {
        key: value
        for sessions, values in paces.items()
        for key, value in figure(f"growth.tokens_per_s.{sessions}", values).items()
    }


def _sampling(setting: Setting, vocabulary: int) -> dict[str, float]:
    model, effort = setting.models.path(SIZE, vocabulary), setting.effort
    stepping = ProgramLoop(model, setting.threads, BATCH)
    loops = {kind: stepping.sampling_loop(BATCH, sampling) for kind, sampling in KINDS.items()}
    times_ms = in_turns(
        {
            kind: lambda loop=loop: 1_000 / runs_per_s(loop, effort.slice_s)  # type: ignore[misc]
            for kind, loop in loops.items()
        },
        effort.rounds,
    )
    figures: dict[str, float] = {}
    for kind, values in times_ms.items():
        figures |= figure(f"growth.step_ms.{kind}.{vocabulary}", values)
        if kind != PLAIN:
            over = ratios(values, times_ms[PLAIN])
            figures |= figure(f"growth.{kind}_ratio.{vocabulary}", over)
    return figures
