"""The exchanges of docs/protocol.md, played again.

    python -m tests.docs.exchanges    # writes what a daemon answers now into the page

The page holds the requests. In a block ```exchange, a line without a mark names a call, `>` is what
the client sends, and each `<` stands for one answer; a new exchange needs a bare `<` for each. In a
block ```console, `$ buf ...` is run.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from grpc import aio
from tests.docs.call import Call
from tests.docs.layout import elided, laid_out
from tests.server.tiny_cell import labelled_cell, write_cell

from cellwire.model_file.cell import BUILT_IN_MODEL
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon
from cellwire.v1.sessions_pb2 import GetSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BLOCK = re.compile(r"^```(exchange|console)( loose)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STEP = re.compile(r"^[<>].*(?:\n .*)*|^[^<>\n].*|^$", re.MULTILINE)

_ADDRESS = "127.0.0.1:50051"  # the page's
_HEADING = re.compile(r'(?:(\w+):)? ?(?:([\w.]+/\w+)(?:, after (".*"))?)?')
_NAMES = re.compile(r'"(?:sessionId|snapshot)": "([^"]+)"')  # different in each run
_COMMAND = re.compile(r"\$ (?:.*\\\n)*.*\n")
_GUARD_S = 240


class Player:
    """Plays one block, and maps the page's session ids to the daemon's."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._calls: dict[str, Call] = {}
        self._label = ""
        self._names: dict[str, str] = {}  # the daemon's, by the page's

    async def play(self, text: str) -> str:
        """Return a block with the present answers."""
        steps = STEP.findall(text.removesuffix("\n"))
        played = [await self._step(*pair) for pair in pairwise([*steps, ""])]
        for call in self._calls.values():
            call.abort_stream()
        return "\n".join(played) + "\n"

    async def _step(self, step: str, then: str) -> str:
        if step.startswith("<"):
            answer = await self._calls[self._label].receive(joined=then.startswith("<"))
            return "< " + self._shown(answer, step)
        if step.startswith(">"):
            await self._send(step.removeprefix(">").strip())
        elif step:
            await self._turn_to(step)
        return step

    async def _turn_to(self, heading: str) -> None:
        """Turn to another call: begin it if it is new, and append the text of its heading."""
        match = _HEADING.fullmatch(heading)
        assert match, heading
        self._label, name, text = match[1] or "", match[2], match[3]
        if name:
            self._calls[self._label] = Call(self._channel, name)
        if text:
            for operation in ('{"open": {"seed": 7}}', f'{{"append": {{"text": {text}}}}}'):
                await self._calls[self._label].send(operation)
                await self._calls[self._label].receive(joined=False)

    async def _send(self, text: str) -> None:
        call = self._calls[self._label]
        if text == "half-close":
            await call.half_close()
        elif text == "break off":
            call.abort_stream()
            await self._until_detached()
        else:
            for page, name in self._names.items():
                text = text.replace(f'"{page}"', f'"{name}"')
            await call.send(text)

    async def _until_detached(self) -> None:
        """Wait until the daemon knows that the stream of the block's last session broke."""
        request = GetSessionRequest(session_id=list(self._names.values())[-1])
        while (await SessionsServiceStub(self._channel).GetSession(request)).session.attached:
            pass

    def _shown(self, answer: str | dict[str, Any], before: str) -> str:
        """Return an answer as the page shows it, which shows it like `before` already."""
        if isinstance(answer, dict):
            names, pages = _NAMES.findall(json.dumps(answer)), _NAMES.findall(before)
            known = pages if len(pages) == len(names) else map(elided, names)
            self._names.update(zip(known, names, strict=True))
            answer = laid_out(elided(answer))
        for page, name in self._names.items():
            answer = answer.replace(elided(name), page)
        return answer


async def run(text: str, address: str) -> str:
    """Return a block that is a command, with its present output."""
    command = _COMMAND.match(text)
    assert command, text
    words = shlex.split(command[0][1:].replace("\\\n", "").replace(_ADDRESS, address))
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(words[0]),
        *words[1:],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return command[0] + output.decode().strip() + "\n"


@asynccontextmanager
async def daemon() -> AsyncIterator[tuple[str, aio.Channel]]:
    """Run the page's daemon; yield its address, and a channel to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = BUILT_IN_MODEL, write_cell(folder / "judge.onnx", labelled_cell())
        config = Config(
            listen="127.0.0.1:0",
            models=models,
            model_folder=folder,
            sessions=64,
            state=folder / "state",
            threads=1,
        )
        async with Daemon(config) as running, aio.insecure_channel(running.address) as channel:
            yield running.address, channel


async def play(page: str) -> str:
    """Return a page with the present answers."""
    parts, end = [], 0
    async with daemon() as (address, channel), asyncio.timeout(_GUARD_S):
        for block in BLOCK.finditer(page):
            kind, _, text = block.groups()
            player = Player(channel)
            played = await (run(text, address) if kind == "console" else player.play(text))
            parts += [page[end : block.start(3)], played]
            end = block.end(3)
    return "".join(parts) + page[end:]


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(play(PAGE.read_text(encoding="utf-8"))), encoding="utf-8")
