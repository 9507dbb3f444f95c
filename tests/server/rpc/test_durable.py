"""Durable sessions: the same text as if the daemon had never been stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from tests.server.rpc.conftest import Stream
from tests.server.rpc.durable import FIRST, LATER, SESSION_ID, serving, stream_to

from cellwire.server.host.config import Config

SAMPLING = {"temperature": 0.8}


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


async def begin(channel: aio.Channel, **settings: Any) -> Stream:  # noqa: ANN401
    stream = stream_to(channel)
    opened = await stream.open(seed=7, session_id=SESSION_ID, **settings)
    assert opened.opened.session_id == SESSION_ID
    return stream


async def attach(channel: aio.Channel, offset: int | None = None) -> tuple[Stream, Any]:
    stream = stream_to(channel)
    attached = await stream.ask(attach={"session_id": SESSION_ID, "offset": offset})
    return stream, attached


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_session_goes_on_over_a_restart(
    config: Config, tmp_path: Path, durability: str
) -> None:
    config = replace(config, state=tmp_path / "state")
    async with serving(config) as (_, channel):
        stream = await begin(channel)
        await stream.ask(append={"text": "abacab"})
        expected = await stream.generated(2, 90, sampling=SAMPLING)
    async with serving(config) as (_, channel):
        stream = await begin(channel, durability=durability)
        await stream.ask(append={"text": "abacab"})
        text = await stream.generated(2, 40, sampling=SAMPLING)
    for _ in range(2):
        async with serving(config) as (_, channel):
            stream, attached = await attach(channel, 0)
            assert attached.attached.offset == 6 + len(text)
            assert attached.attached.missed.text == "abacab" + text
            text += await stream.generated(3, 25, sampling=SAMPLING)
    assert text == expected
