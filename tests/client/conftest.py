"""The daemons that the client is tested with.

A test that takes `daemon` or `target` runs twice: with the fake daemon and with a real one. A test
that also takes `fake` scripts or inspects the fake daemon, and runs with that one alone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.real.daemon import RealDaemon

from cellwire.client import Client, connect


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        scripted = "fake" in inspect.signature(metafunc.function).parameters
        metafunc.parametrize("backend", ["fake"] if scripted else ["fake", "real"])


@pytest.fixture
async def fake() -> AsyncIterator[FakeDaemon]:
    """A fake daemon; when the test is over, no task of the client may be left."""
    before = asyncio.all_tasks()
    fake = FakeDaemon()
    await fake.start()
    yield fake
    await fake.stop()
    left = asyncio.all_tasks() - before
    assert [task for task in left if "cellwire/client" in repr(task)] == []


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealDaemon]:
    real = RealDaemon(tmp_path_factory.mktemp("models"))
    yield real
    real.stop()


@pytest.fixture
async def target(backend: str, fake: FakeDaemon, real: RealDaemon) -> str:
    """The address of a daemon."""
    return real.target if backend == "real" else fake.target


@pytest.fixture
async def daemon(target: str) -> AsyncIterator[Client]:
    async with connect(target) as daemon:
        yield daemon
