"""What the stand-in allows, and what it takes for a fault: as a card would."""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tests.server.card.card import Card, CardFault
from tests.server.card.memory import garbage
from tests.server.card.native_session import NativeSession
from tests.server.card.options import Ort
from tests.server.card.stand_in import StandIn

CUDA = "CUDAExecutionProvider"
ASYNCHRONOUS = "disable_synchronize_execution_providers"


class Owner:
    """The lock's owner, and what it does with the card: all of it under the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.card = Card(self.lock)
        self.ort: Ort = StandIn(self.card)

    def session(self, model: bytes, *, captured: bool = False, **given: Ort) -> Ort:
        options = self.ort.SessionOptions()
        for name, value in given.items():
            options.add_initializer(name, value)
        settings = {"enable_cuda_graph": str(int(captured))}
        return self.ort.InferenceSession(model, options, providers=[(CUDA, settings)])

    def value(self, *values: float) -> Ort:
        return self.ort.OrtValue.ortvalue_from_numpy(numbers(*values), "cuda", 0)

    def options(self, **entries: str) -> Ort:
        options = self.ort.RunOptions()
        for key, value in entries.items():
            options.add_run_config_entry(key, value)
        return options

    @property
    def only_session(self) -> NativeSession:
        (session,) = self.card.sessions
        return session


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    with owner.lock:
        yield owner
        gc.collect()
    assert owner.card.faults == []


def model_of(node: str, *inputs: str, weight: onnx.TensorProto | None = None) -> bytes:
    """A node of two numbers."""
    graph = helper.make_graph(
        [helper.make_node(node, inputs, ["out"])],
        "graph",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [weight] if weight is not None else [],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    return model.SerializeToString()


DOUBLE = model_of("Add", "in", "in")


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def bind(binding: Ort, given: Ort, result: Ort) -> None:
    for name, value in (("in", given), ("out", result)):
        binder = binding.bind_input if name == "in" else binding.bind_output
        if isinstance(value, np.ndarray):
            binder(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        else:
            binder(name, "cuda", 0, np.float32, tuple(value.shape()), value.data_ptr())


def bound(session: Ort, given: Ort, result: Ort) -> Ort:
    binding = session.io_binding()
    bind(binding, given, result)
    return binding


@contextmanager
def fault(owner: Owner, words: str) -> Iterator[None]:
    """Expect a fault."""
    with pytest.raises(CardFault, match=words):
        yield
    assert len(owner.card.faults) == 1
    owner.card.faults.clear()


def test_memory_of_the_card_is_not_the_hosts(owner: Owner) -> None:
    host = numbers(1, 2)
    value = owner.ort.OrtValue.ortvalue_from_numpy(host, "cuda", 0)
    host[:] = 5
    copy = value.numpy()
    copy[:] = 7
    assert value.numpy().tolist() == [1, 2]
    value.update_inplace(host)
    assert value.numpy().tolist() == [5, 5]
    value.update_inplace(owner.value(3, 4))
    assert value.numpy().tolist() == [3, 4]


def test_an_array_of_the_host_is_copied_when_it_is_bound(owner: Owner) -> None:
    session, given, result = owner.session(DOUBLE), numbers(1, 2), numbers(0, 0)
    binding = bound(session, given, result)
    given[:] = 9
    session.run_with_iobinding(binding)
    assert result.tolist() == [2, 4]


def test_memory_is_garbage_until_it_is_written(owner: Owner) -> None:
    session = owner.session(DOUBLE)
    value = session.create_ortvalue_from_shape_and_type([2, 3], np.int64, "cuda", 0)
    assert (value.numpy() == garbage((2, 3), np.int64)).all()
    assert owner.only_session.allocator.used_bytes == 48
    del value
    assert owner.only_session.allocator.used_bytes == 0


@pytest.mark.parametrize(
    ("name", "element", "shape"),
    [("in", np.float64, (2,)), ("in", np.float32, (1,)), ("other", np.float32, (2,))],
)
def test_a_wrong_binding_is_refused(
    owner: Owner, name: str, element: type[np.generic], shape: tuple[int, ...]
) -> None:
    binding, value = owner.session(DOUBLE).io_binding(), owner.value(1, 2)
    with pytest.raises((ValueError, RuntimeError)):
        binding.bind_input(name, "cuda", 0, element, shape, value.data_ptr())


def test_an_address_of_the_other_side_is_refused(owner: Owner) -> None:
    binding, value, array = owner.session(DOUBLE).io_binding(), owner.value(1, 2), numbers(1, 2)
    with pytest.raises(RuntimeError, match="no address of the card"):
        binding.bind_input("in", "cuda", 0, np.float32, (2,), array.ctypes.data)
    with fault(owner, "as one of the host"):
        binding.bind_input("in", "cpu", 0, np.float32, (2,), value.data_ptr())


def test_memory_that_was_freed_cannot_be_used(owner: Owner) -> None:
    session, given = owner.session(DOUBLE), owner.value(1, 2)
    binding = bound(session, given, owner.value(0, 0))
    with pytest.raises(RuntimeError, match="freed"):
        session.run_with_iobinding(binding)


def test_a_graph_is_captured_once_and_replayed_on_what_was_bound(owner: Owner) -> None:
    session = owner.session(DOUBLE, captured=True)
    given, result, other = owner.value(1, 2), owner.value(0, 0), owner.value(8, 8)
    binding = bound(session, given, result)
    session.run_with_iobinding(binding, owner.options(gpu_graph_id="1"))
    assert owner.only_session.runs == 3, "two before the capture, and the first replay"
    bind(binding, other, result)
    given.update_inplace(numbers(5, 5))
    session.run_with_iobinding(binding, owner.options(gpu_graph_id="1"))
    assert owner.only_session.runs == 4
    assert result.numpy().tolist() == [10, 10]
    session.run_with_iobinding(binding, owner.options(gpu_graph_id="2"))
    assert result.numpy().tolist() == [16, 16]
    assert owner.only_session.graph_count == 2
    session.run_with_iobinding(binding, owner.options(gpu_graph_id="-1"))
    assert owner.only_session.graph_count == 2


def test_a_graph_belongs_to_the_thread_that_captured_it(owner: Owner) -> None:
    session = owner.session(DOUBLE, captured=True)
    given, result = owner.value(1, 2), owner.value(0, 0)
    binding = bound(session, given, result)
    session.run_with_iobinding(binding)

    def run() -> None:
        with owner.lock:
            session.run_with_iobinding(binding)

    owner.lock.release()
    with ThreadPoolExecutor(1) as other:
        other.submit(run).result()
    owner.lock.acquire()
    assert owner.only_session.graph_count == 2


def test_a_graph_with_an_array_of_the_host_is_a_fault(owner: Owner) -> None:
    session = owner.session(DOUBLE, captured=True)
    given, result = numbers(1, 2), owner.value(0, 0)
    binding = bound(session, given, result)
    with fault(owner, r"would not read or write the host's memory: \['in'\]"):
        session.run_with_iobinding(binding)


def test_a_use_without_the_lock_is_a_fault(owner: Owner) -> None:
    value = owner.value(1, 2)
    with ThreadPoolExecutor(1) as other, fault(owner, "memory is read, and .* does not hold"):
        other.submit(value.numpy).result()


def test_a_session_that_ends_without_the_lock_is_a_fault(owner: Owner) -> None:
    session = owner.session(DOUBLE)
    owner.lock.release()
    del session
    owner.lock.acquire()
    assert owner.card.faults == ["a session ends, and MainThread does not hold the lock"]
    owner.card.faults.clear()


def test_a_run_that_was_started_is_done_when_it_is_waited_for(owner: Owner) -> None:
    session, given, result = owner.session(DOUBLE), owner.value(1, 2), owner.value(1, 2)
    binding = bound(session, given, result)
    session.run_with_iobinding(binding, owner.options(**{ASYNCHRONOUS: "1"}))
    assert np.isnan(result.numpy()).all()
    given.update_inplace(numbers(3, 3))  # too early: the run has not read it
    binding.synchronize_outputs()
    assert result.numpy().tolist() == [6, 6]


def test_runs_of_one_session_are_carried_out_in_their_order(owner: Owner) -> None:
    session, first, second = owner.session(DOUBLE), owner.value(1, 2), owner.value(0, 0)
    third = owner.value(0, 0)
    bindings = bound(session, first, second), bound(session, second, third)
    session.run_with_iobinding(bindings[0], owner.options(**{ASYNCHRONOUS: "1"}))
    session.run_with_iobinding(bindings[1])
    assert third.numpy().tolist() == [4, 8]


def test_a_run_is_ended_by_its_options(owner: Owner) -> None:
    session, options = owner.session(DOUBLE), owner.options()
    options.terminate = True
    with pytest.raises(RuntimeError, match="terminate"):
        session.run(["out"], {"in": numbers(1, 2)}, options)


def test_weights_are_shared_where_they_are_given(owner: Owner) -> None:
    """In the card's memory: a weight that a session is given in the host's is copied."""
    weight = TensorProto(
        name="weight",
        dims=[2],
        data_type=TensorProto.FLOAT,
        data_location=TensorProto.EXTERNAL,
    )
    model = model_of("Add", "in", "weight", weight=weight)
    on_card = owner.ort.OrtValue.from_dlpack(owner.value(1, 2))
    in_host = owner.ort.OrtValue.from_dlpack(numbers(1, 2))
    sessions = [owner.session(model, weight=given) for given in (on_card, on_card, in_host)]
    for session in sessions:
        assert session.run(["out"], {"in": numbers(1, 1)})[0].tolist() == [2, 3]
    assert owner.card.session_bytes == 8
    with pytest.raises(RuntimeError, match="nowhere"):
        owner.session(model)


def test_the_modules_arena_grows_in_doubles_and_is_never_given_back(owner: Owner) -> None:
    value = owner.value(*[0] * (3 * 2**18))
    assert owner.card.module.reserved_bytes == 4 * 2**20
    del value
    assert owner.card.module.used_bytes == 0
    assert owner.card.module.reserved_bytes == 4 * 2**20


def test_a_session_gives_its_memory_back_when_it_ends(owner: Owner) -> None:
    session = owner.session(DOUBLE)
    value = session.create_ortvalue_from_shape_and_type([1000], np.float32, "cuda", 0)
    assert owner.card.memory.reserved_bytes == 4000
    del session, value
    assert owner.card.memory.reserved_bytes == 0


def test_a_card_without_room_says_so(owner: Owner) -> None:
    with pytest.raises(RuntimeError, match="Failed to allocate memory"):
        owner.session(DOUBLE).create_ortvalue_from_shape_and_type([2**50], np.int8, "cuda", 0)


def test_sessions_on_the_cpu_are_onnxruntimes_own(owner: Owner) -> None:
    session = owner.ort.InferenceSession(
        DOUBLE, owner.ort.SessionOptions(), providers=["CPUExecutionProvider"]
    )
    assert isinstance(session, onnxruntime.InferenceSession)
    assert inspect.getfile(type(session)) == inspect.getfile(onnxruntime.InferenceSession)
    value = owner.ort.OrtValue.ortvalue_from_numpy(numbers(1, 2))
    assert isinstance(value, onnxruntime.OrtValue)
