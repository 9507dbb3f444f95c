"""Which answers wait until they are safe, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from cellwire.server.host import answer_gate
from cellwire.server.host.answer_gate import AnswerGate
from cellwire.server.host.safe_revisions import SafeRevisions
from cellwire.server.session.events import Cancelled, Event, Saved


class Gate:
    """A gate, and what has passed it."""

    def __init__(self, *, all_wait: bool) -> None:
        self.safe = SafeRevisions()
        self.safe.advance(0)
        self.passed: list[int | None] = []
        self.timeouts = asyncio.Event()
        self.gate = AnswerGate(self.safe, self._pass, self.timeouts.set, all_wait=all_wait)

    def _pass(self, event: Event) -> None:
        self.passed.append(event.operation_id)

    def put(self, number: int, revision: int, copy: SafeRevisions | None = None) -> None:
        self.safe.add(revision, 0)
        self.gate.put(Cancelled("a", number), revision, copy)

    def advance(self, revision: int) -> None:
        self.safe.advance(revision)
        self.gate.open()


async def test_every_answer_waits_for_its_revision() -> None:
    gate = Gate(all_wait=True)
    for number, revision in ((1, 0), (2, 1), (3, 1), (4, 2)):
        gate.put(number, revision)
    assert gate.passed == [1]
    gate.advance(1)
    assert gate.passed == [1, 2, 3]
    gate.advance(2)
    assert gate.passed == [1, 2, 3, 4]
    gate.put(5, 2)
    assert gate.passed[-1] == 5


async def test_only_the_answer_to_a_save_waits() -> None:
    gate = Gate(all_wait=False)
    gate.put(1, 3)
    gate.gate.put(Saved("a", 2), 3)
    gate.put(3, 4)
    assert gate.passed == [1, 3]
    gate.advance(3)
    assert gate.passed == [1, 3, 2]


async def test_a_report_of_a_copy_waits_for_the_copy_and_holds_up_the_rest() -> None:
    gate, copy = Gate(all_wait=True), SafeRevisions()
    gate.put(1, 0, copy)
    gate.put(2, 0)
    gate.advance(0)
    assert gate.passed == []
    copy.advance(1)
    gate.gate.open()
    assert gate.passed == [1, 2]


async def test_the_first_to_wait_waits_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_gate, "SAFE_FIRST_TIMEOUT_S", 0.01)
    gate = Gate(all_wait=True)
    gate.put(1, 1)
    await asyncio.wait_for(gate.timeouts.wait(), 5)
    assert gate.gate.waiting == 1


async def test_a_closed_gate_leaves_no_timer() -> None:
    gate = Gate(all_wait=True)
    gate.put(1, 1)
    gate.gate.close()
    assert gate.gate._timer is None
    assert gate.passed == []
