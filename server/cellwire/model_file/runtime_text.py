"""ONNX Runtime's messages in a reader's terms: the node, and what it found.

Its own text names places in its source code, and may name folders of the machine.
"""

from __future__ import annotations

import re

_MAX_CHARS = 200

_CATEGORY = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_RUNNING = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' ")
_ASSERTION = re.compile(r"^.* was (?:false|true)\. ?", re.DOTALL)
_SOURCE = re.compile(r"\S+\.(?:cc|cpp|h|hpp|cu|cuh)[:(]\d+\S*(?: [\w:~<>]+\([^()]*\))?")
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+){2,}")


def plain(text: str) -> str:
    """Return what a message of ONNX Runtime says, without its codes, sources and paths."""
    text = _CATEGORY.sub("", text.strip())
    text, *inner = reversed(text.split("Status Message: "))
    node = next((found for part in inner if (found := _RUNNING.search(f"{part} "))), None)
    text = _PATH.sub("...", _SOURCE.sub("", _ASSERTION.sub("", text)))
    text = " ".join(text.split()) or "for a reason that ONNX Runtime does not name"
    if len(text) > _MAX_CHARS:
        text = text[:_MAX_CHARS] + "..."
    if node is None:
        return text
    operator, name = node.groups()
    return f"node {name!r} ({operator}): {text}" if name else f"a node {operator}: {text}"
