"""The command `cellwire chat`."""

from __future__ import annotations

import os
import sys

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import run
from cellwire.client.commands.parameters import MaxTokens, Model, Seed, Target, Temperature, TopK
from cellwire.client.options import GenerateOptions


def chat(
    *,
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    seed: Seed = None,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Write a text in turns with the model, in one session.

    In a terminal, a screen to write in: F1 shows its keys. Otherwise the model continues each line
    of stdin.
    """
    options = GenerateOptions(max_tokens=max_tokens, temperature=temperature, top_k=top_k)
    if _in_terminal():
        # Before anything else, so that a missing package is named first.
        from cellwire.client.commands.chat.program import edit

        run(edit(target, model, seed, options), target)
    else:
        run(_take_turns(target, model, seed, options), target)


async def _take_turns(
    target: str, model: str | None, seed: int | None, options: GenerateOptions
) -> None:
    from cellwire.client.commands.chat.turns import take_turns

    async with connect(target) as client, client.session(model=model, seed=seed) as session:
        await take_turns(session, options)


def _in_terminal() -> bool:
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb
