"""What the stand-in allows, and what it takes for a fault: as a card would."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.server.card.card import Card
from tests.server.card.memory import garbage
from tests.server.card.native_session import NativeSession
from tests.server.card.stand_in import StandIn

from cellwire.server.errors import StepFailed
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Compiled, device_array, on_device
from cellwire.server.runtime.device import Device

FLOAT = TensorProto.FLOAT


def doubling() -> bytes:
    """Twice an input of two numbers."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["in", "in"], ["out"])],
        "double",
        [helper.make_tensor_value_info("in", FLOAT, [2])],
        [helper.make_tensor_value_info("out", FLOAT, [2])],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    return model.SerializeToString()


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@contextmanager
def program(device: Device, *, captured: bool = False) -> Iterator[Compiled]:
    """A program that ends under the lock."""
    made = Compiled(doubling(), device=device, captured=captured)
    yield made
    with on_device(device):
        getattr(made, "close", lambda: setattr(made, "session", None))()
        gc.collect()


def only_session(card: Card) -> NativeSession:
    (session,) = card.sessions
    return session


def test_memory_of_the_card_is_not_the_hosts(cuda: Device) -> None:
    host = numbers(1, 2)
    buffer = Buffer(host, cuda)
    host[0] = 5
    assert buffer.download().tolist() == [1, 2]
    buffer.host[:] = 7
    assert buffer.download().tolist() == [1, 2]
    buffer.host[:] = 7
    buffer.upload()
    assert buffer.download().tolist() == [7, 7]


def test_an_array_of_the_host_is_copied_when_it_is_bound(cuda: Device) -> None:
    with program(cuda) as double, on_device(cuda):
        given, result = numbers(1, 2), numbers(0, 0)
        binding = double.session.io_binding()
        binding.bind_input("in", "cpu", 0, np.float32, (2,), given.ctypes.data)
        binding.bind_output("out", "cpu", 0, np.float32, (2,), result.ctypes.data)
        given[:] = 9
        double.session.run_with_iobinding(binding)
        assert result.tolist() == [2, 4]
        del binding


def test_memory_is_garbage_until_it_is_written(card: Card, cuda: Device) -> None:
    with program(cuda) as double, on_device(cuda):
        value = double.session.create_ortvalue_from_shape_and_type([2, 3], np.int64, "cuda", 0)
        assert (value.numpy() == garbage((2, 3), np.int64)).all()
        assert only_session(card).allocator.used_bytes == 48
        del value
        gc.collect()
        assert only_session(card).allocator.used_bytes == 0


@pytest.mark.parametrize("wrong", ["type", "name", "length"])
def test_a_wrong_binding_is_refused(cuda: Device, wrong: str) -> None:
    buffer = Buffer(np.zeros(3 if wrong == "length" else 2, np.float64), cuda)
    if wrong != "type":
        buffer = Buffer(buffer.host.astype(np.float32), cuda)
    with program(cuda) as double:
        binding = Binding(double)
        with pytest.raises(StepFailed):
            binding.read("other" if wrong == "name" else "in", buffer)
        del binding


def test_memory_that_was_freed_cannot_be_used(cuda: Device) -> None:
    with program(cuda) as double, on_device(cuda):
        given, result = (device_array(numbers(1, 2), cuda) for _ in range(2))
        binding = double.session.io_binding()
        binding.bind_input("in", "cuda", 0, np.float32, (2,), given.data_ptr())
        binding.bind_output("out", "cuda", 0, np.float32, (2,), result.data_ptr())
        del given
        with pytest.raises(RuntimeError, match="freed"):
            double.session.run_with_iobinding(binding)
        del binding


def bound(double: Compiled, device: Device, *values: float) -> tuple[Binding, Buffer, Buffer]:
    given, result = Buffer(numbers(*values), device), Buffer(numbers(0, 0), device)
    binding = Binding(double)
    binding.read("in", given)
    binding.write("out", result)
    return binding, given, result


def test_a_graph_is_captured_once_and_replayed_on_what_was_bound(card: Card, cuda: Device) -> None:
    with program(cuda, captured=True) as double:
        binding, given, result = bound(double, cuda, 1, 2)
        binding.run()
        assert only_session(card).runs == 3, "two before the capture, and the first replay"
        other = Buffer(numbers(8, 8), cuda)
        binding.read("in", other)
        given.host[:] = 5
        given.upload()
        binding.run()
        assert only_session(card).runs == 4
        assert result.download().tolist() == [10, 10]
        del binding


def test_a_graph_belongs_to_the_thread_that_captured_it(card: Card, cuda: Device) -> None:
    with program(cuda, captured=True) as double:
        binding, *_ = bound(double, cuda, 1, 2)
        binding.run()
        with ThreadPoolExecutor(1) as other:
            other.submit(binding.run).result()
        assert only_session(card).runs == 6
        del binding


def test_a_graph_with_an_array_of_the_host_is_a_fault(card: Card, cuda: Device) -> None:
    with program(cuda, captured=True) as double:
        binding = Binding(double)
        given = numbers(1, 2)
        binding.input("in", given)
        binding.write("out", Buffer(numbers(0, 0), cuda))
        with pytest.raises(StepFailed, match="would not read or write the host's memory"):
            binding.run()
        del binding
    assert len(card.faults) == 1
    card.faults.clear()


def test_a_use_without_the_lock_is_a_fault(card: Card, cuda: Device) -> None:
    value = device_array(numbers(1, 2), cuda)
    with pytest.raises(AssertionError, match="memory is read, and MainThread does not hold"):
        value.numpy()
    assert len(card.faults) == 1
    card.faults.clear()


def test_a_session_that_ends_without_the_lock_is_a_fault(card: Card, cuda: Device) -> None:
    with on_device(cuda):
        session = StandIn(card).InferenceSession(
            doubling(), StandIn.SessionOptions(), providers=["CUDAExecutionProvider"]
        )
    del session
    gc.collect()
    assert card.faults == ["a session ends, and MainThread does not hold the lock"]
    card.faults.clear()


def test_a_run_that_was_started_is_done_when_it_is_waited_for(cuda: Device) -> None:
    options = StandIn.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    with program(cuda) as double, on_device(cuda):
        given, result = (device_array(numbers(1, 2), cuda) for _ in range(2))
        binding = double.session.io_binding()
        binding.bind_input("in", "cuda", 0, np.float32, (2,), given.data_ptr())
        binding.bind_output("out", "cuda", 0, np.float32, (2,), result.data_ptr())
        double.session.run_with_iobinding(binding, options)
        assert np.isnan(result.numpy()).all()
        given.update_inplace(numbers(3, 3))  # too early: the run has not read it
        binding.synchronize_outputs()
        assert result.numpy().tolist() == [6, 6]
        del binding


def test_the_modules_arena_grows_in_doubles_and_is_never_given_back(
    card: Card, cuda: Device
) -> None:
    buffer = Buffer(np.zeros(3 * 2**18, np.float32), cuda)
    assert card.module.reserved_bytes == 4 * 2**20
    del buffer
    gc.collect()
    assert (card.module.used_bytes, card.module.reserved_bytes) == (0, 4 * 2**20)


def test_a_card_without_room_says_so(card: Card, cuda: Device) -> None:
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        Buffer(np.zeros(card.memory.total_bytes + 1, np.int8), cuda)
