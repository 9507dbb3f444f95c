"""Three daemons behind each proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.fleet import Fleet, fleet_of
from tests.deploy.proxy import PROXIES, Proxy
from tests.server.tiny_cell import lstm_cell, write_cell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as slow: each waits for processes to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_of(3, write_cell(folder / "tiny.onnx", lstm_cell(16)), folder) as fleet:
        yield fleet


@pytest.fixture(params=PROXIES, ids=lambda proxy: proxy.name)
def proxy(request: pytest.FixtureRequest) -> Proxy:
    proxy = request.param
    assert isinstance(proxy, Proxy)
    proxy.need()
    return proxy
