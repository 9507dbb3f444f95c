from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cellwire.client import Client, connect

from tests.client.fake.daemon import FakeDaemon


@pytest.fixture
async def fake() -> AsyncIterator[FakeDaemon]:
    """A daemon; when the test is over, no task of the client may be left."""
    before = asyncio.all_tasks()
    fake = FakeDaemon()
    await fake.start()
    yield fake
    await fake.stop()
    left = asyncio.all_tasks() - before
    assert [task for task in left if "cellwire/client" in repr(task)] == []


@pytest.fixture
async def daemon(fake: FakeDaemon) -> AsyncIterator[Client]:
    async with connect(fake.target) as daemon:
        yield daemon
