"""Models one by one and in pages, with and without the symbols of their vocabularies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio
from tests.server.rpc.conftest import OpenStream, running
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1.models_pb2 import (
    MODEL_VIEW_BASIC,
    MODEL_VIEW_FULL,
    GetModelRequest,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    Model,
)
from cellwire.v1.models_pb2_grpc import ModelsServiceStub

if TYPE_CHECKING:
    from cellwire.v1.models_pb2_grpc import ModelsServiceAsyncStub

NAMES = ["tiny", "one", "two", "three", "four"]


@pytest.fixture
async def daemon(model: Path, tmp_path: Path) -> AsyncIterator[Daemon]:
    paths = [write_cell(tmp_path / f"{name}.onnx", lstm_cell(2)) for name in NAMES[1:]]
    write_cell(tmp_path / "five.onnx", lstm_cell(2))
    config = Config(
        listen="127.0.0.1:0",
        models=(model, *paths),
        model_folder=tmp_path,
        sessions=4,
        max_batch=4,
        threads=1,
    )
    async with running(config) as daemon:
        yield daemon


@pytest.fixture
def models(channel: aio.Channel) -> ModelsServiceAsyncStub:
    return ModelsServiceStub(channel)


def names_of(page: ListModelsResponse) -> list[str]:
    return [model.name for model in page.models]


def symbols_of(model: Model) -> list[str]:
    return list(model.vocabulary.characters.symbols)


@pytest.mark.parametrize(("page_size", "lengths"), [(2, [2, 2, 1]), (5, [5]), (0, [5]), (99, [5])])
async def test_pages_hold_every_model_once(
    models: ModelsServiceAsyncStub, page_size: int, lengths: list[int]
) -> None:
    pages = [await models.ListModels(ListModelsRequest(page_size=page_size))]
    while token := pages[-1].next_page_token:
        request = ListModelsRequest(page_size=page_size, page_token=token)
        pages.append(await models.ListModels(request))
    assert [len(page.models) for page in pages] == lengths
    assert [name for page in pages for name in names_of(page)] == NAMES


async def refused(models: ModelsServiceAsyncStub, request: ListModelsRequest) -> bool:
    with pytest.raises(aio.AioRpcError) as caught:
        await models.ListModels(request)
    return caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_page_token_is_refused_unless_it_fits(models: ModelsServiceAsyncStub) -> None:
    first = await models.ListModels(ListModelsRequest(page_size=3))
    token = first.next_page_token
    for bad in ("x", "-", "3", f"x{token}", f"{token}9", f"{token}{'0' * 5_000}", token[:-1]):
        assert await refused(models, ListModelsRequest(page_token=bad)), bad
    second = await models.ListModels(ListModelsRequest(page_size=1, page_token=token))
    assert names_of(second) == ["three"]
    await models.LoadModel(LoadModelRequest(name="five"))
    assert await refused(models, ListModelsRequest(page_token=token))


async def test_what_a_list_cannot_be_asked_for(models: ModelsServiceAsyncStub) -> None:
    assert await refused(models, ListModelsRequest(page_size=-1))
    assert await refused(models, ListModelsRequest(view=7))  # type: ignore[arg-type]


async def test_symbols_are_in_the_full_view_only(
    models: ModelsServiceAsyncStub, open_stream: OpenStream
) -> None:
    full = (await models.GetModel(GetModelRequest(view=MODEL_VIEW_FULL))).model
    basic = (await models.GetModel(GetModelRequest(view=MODEL_VIEW_BASIC))).model
    assert (full.name, symbols_of(full)) == ("tiny", list(SYMBOLS))
    assert (full.vocabulary.size, basic.vocabulary.size) == (len(SYMBOLS), len(SYMBOLS))
    assert basic.vocabulary.WhichOneof("kind") == "characters"
    del full.vocabulary.characters.symbols[:]
    assert full == basic == (await models.GetModel(GetModelRequest(name="tiny"))).model
    (listed, *_) = (await models.ListModels(ListModelsRequest(view=MODEL_VIEW_FULL))).models
    assert symbols_of(listed) == list(SYMBOLS)
    assert (await models.ListModels(ListModelsRequest())).models[0] == basic
    stream = open_stream()
    opened = (await stream.open()).opened
    assert opened.model == basic
    assert opened.seed < 2**53
    await stream.ask(close={"keep": True})
    again = open_stream()
    attach = {"session_id": opened.session_id}
    assert (await again.ask(attach=attach)).attached.model == basic


async def test_a_model_that_is_not_served_is_not_found(models: ModelsServiceAsyncStub) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await models.GetModel(GetModelRequest(name="five"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
