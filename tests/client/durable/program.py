"""What a program does in a session: operations that are drawn, and all that they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from cellwire.client import CellwireError, Session
from cellwire.client.values import Forked

STEPS = 40


async def program(
    session: Session, random: Random, before: Callable[[int], object] = lambda _: None
) -> list[object]:
    """Carry out operations that are drawn; return all that they tell.

    `before` is called with the number of each step.
    """
    told: list[object] = []
    await session.append("ab" * 50)
    for step in range(STEPS):
        before(step)
        match random.randrange(6):
            case 0:
                texts = ["abc"[: random.randint(1, 3)] for _ in range(random.randint(1, 20))]
                told += await asyncio.gather(*map(session.append, texts))
            case 1:
                generation = session.generate(max_tokens=random.randint(1, 2000), seed=3)
                told += [await generation.text(), generation.finished]
            case 2:
                told.append(await session.rewind(random.randint(0, 3)))
            case 3:
                told.append(await session.score("bca"))
            case 4:
                completed = await session.complete(max_tokens=5, completion_count=2)
                told += [completed, await session.accept(1, tokens=random.randint(0, 5) or None)]
            case _:
                told.append(await session.fork(seed=5))
        told.append(session.offset)
    told.append(await rejected(session))
    return [(one.seed, one.offset) if isinstance(one, Forked) else one for one in told]


async def rejected(session: Session) -> str:
    try:
        await session.append("\0")
    except CellwireError as error:
        return type(error).__name__
    return "nothing"
