"""The google.rpc details of a status reach the caller."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, RetryInfo
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.refused import Refused

from cellwire import client
from cellwire.client import Client, FieldViolation
from cellwire.client.wire.status import error_of_call, error_of_status

RETRY = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
INFO = ErrorInfo(reason="NO_ROOM", domain="cellwire", metadata={"sessions": "64"})
BAD_REQUEST = BadRequest(
    field_violations=[BadRequest.FieldViolation(field="text", description="no", reason="UNKNOWN")]
)


def full(*details: Message) -> Refused:
    return Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "it is full", *details)


async def test_an_unknown_symbol_names_its_field(daemon: Client) -> None:
    async with daemon.session() as session:
        with pytest.raises(client.InvalidArgument) as caught:
            await session.append("aB")
    (violation,) = caught.value.field_violations
    assert (violation.field, violation.reason) == ("text", "UNKNOWN_SYMBOL")
    assert violation.description == caught.value.message
    assert caught.value.reason == "UNKNOWN_SYMBOL"
    assert caught.value.metadata == {"field": "text", "symbol": "B", "offset": "1"}
    assert caught.value.retry_delay_s is None


async def test_an_unknown_symbol_of_a_call_names_its_field(daemon: Client) -> None:
    with pytest.raises(client.InvalidArgument) as caught:
        await daemon.score("aB")
    assert caught.value.field_violations[0].reason == "UNKNOWN_SYMBOL"


async def test_every_status_has_a_reason(daemon: Client) -> None:
    with pytest.raises(client.NotFound) as caught:
        await daemon.get_session("nobody")
    assert caught.value.reason == "NOT_FOUND"
    with pytest.raises(client.NotFound) as caught:
        async with daemon.session(model="x"):
            pytest.fail("it opened")
    assert caught.value.reason == "NOT_FOUND"


async def test_a_rejected_operation_says_when_to_retry(daemon: Client, fake: FakeDaemon) -> None:
    async with daemon.session() as session:
        fake.refusal = full(RETRY, INFO)
        with pytest.raises(client.ResourceExhausted, match="it is full") as caught:
            await session.fork()
    assert caught.value.retry_delay_s == 2.5
    assert (caught.value.reason, caught.value.metadata) == ("NO_ROOM", {"sessions": "64"})


async def test_a_call_says_when_to_retry(daemon: Client, fake: FakeDaemon) -> None:
    fake.refusal = full(RETRY, BAD_REQUEST)
    for call in (daemon.score("a"), daemon.generate("a", max_tokens=1).text()):
        with pytest.raises(client.ResourceExhausted) as caught:
            await call
        assert caught.value.retry_delay_s == 2.5
        assert caught.value.field_violations == (FieldViolation("text", "no", "UNKNOWN"),)


async def test_an_open_that_fails_says_when_to_retry(daemon: Client, fake: FakeDaemon) -> None:
    fake.opening_refusal = full(RETRY)
    with pytest.raises(client.ResourceExhausted) as caught:
        async with daemon.session():
            pytest.fail("it opened")
    assert caught.value.retry_delay_s == 2.5


def test_details_of_other_kinds_are_skipped() -> None:
    error = error_of_status(full(Help(), RETRY).status)
    assert (error.retry_delay_s, error.field_violations, error.metadata) == (2.5, (), {})


def test_details_that_cannot_be_read_are_skipped() -> None:
    trailer = (("grpc-status-details-bin", b"\xff"), ("other", "x"))
    error = error_of_call(grpc.StatusCode.UNAVAILABLE, "gone", trailer)
    assert isinstance(error, client.Unavailable)
    assert (error.message, error.retry_delay_s) == ("gone", None)


def test_a_status_that_a_proxy_hides_is_read_from_its_details() -> None:
    """HAProxy 2.6 resets a stream behind its status, and gRPC keeps the trailing metadata alone."""
    trailer = (("grpc-status-details-bin", full(RETRY, INFO).status.SerializeToString()),)
    error = error_of_call(grpc.StatusCode.CANCELLED, "Stream removed", trailer)
    assert isinstance(error, client.ResourceExhausted)
    assert (error.message, error.retry_delay_s) == ("it is full", 2.5)
    hidden = error_of_call(grpc.StatusCode.CANCELLED, "Stream removed", ())
    assert isinstance(hidden, client.Cancelled)
    assert hidden.reason == ""
