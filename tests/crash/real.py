"""`cellwire serve --state DIR` as processes, one after the other on the same folder."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import deque
from pathlib import Path

from tests.crash.disk import Disk
from tests.crash.violation import Violation

CELLWIRE = Path(sys.executable).parent / "cellwire"
_GUARD_S = 30.0
_LINES_KEPT = 100


class DoesNotStart(Exception):
    """A daemon has ended instead of listening; with what it said."""


class RealDaemon:
    """The daemon that a service starts and ends; its folder stays."""

    def __init__(self, model: Path, *arguments: str, disk: Disk | None = None) -> None:
        serve = ["serve", "--listen", "127.0.0.1:0", "--model", str(model), "--threads", "1"]
        self._command = [str(CELLWIRE), *serve, *arguments]
        self._disk = disk
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)

    @property
    def log(self) -> str:
        """The last lines that its processes have written."""
        ended = self._process is not None and self._process.returncode
        return "".join(self._lines) + (f"(ended with {ended})" if ended else "")

    async def start(self) -> str:
        """Start a process; return its address. DoesNotStart."""
        process = await self._spawn()
        assert process.stderr is not None
        async with asyncio.timeout(_GUARD_S):
            while line := (await process.stderr.readline()).decode():
                self._lines.append(line)
                if ready := re.search(r"ready on (\S+);", line):
                    self._reading = asyncio.create_task(self._read(process.stderr))
                    return ready[1]
            await process.wait()
        raise DoesNotStart(self.log)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, -signal.SIGKILL)

    async def terminate(self) -> None:
        await self._end(signal.SIGTERM, 0)

    async def stop(self) -> None:
        """Kill what runs, if anything does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def pause(self, seconds: float) -> None:
        self.freeze()
        await asyncio.sleep(seconds)
        self.go_on()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def fill_disk(self, seconds: float) -> None:
        assert self._process is not None
        if self._disk is not None:
            self._disk.fill(self._process.pid)
            await asyncio.sleep(seconds)
            self._disk.free(self._process.pid)

    async def kill_while_starting(self, after_s: float) -> None:
        process = await self._spawn()
        await asyncio.sleep(after_s)
        process.kill()
        await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=nothing,
            stderr=pipe,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},  # says where it was, if it is a fault
        )
        return self._process

    async def _end(self, number: int, expected: int) -> None:
        process = self._process
        assert process is not None
        if process.returncode is not None:
            raise Violation(f"the daemon has ended by itself: {self.log}")
        process.send_signal(number)
        async with asyncio.timeout(_GUARD_S):
            status = await process.wait()
        if status != expected:
            raise Violation(f"the daemon ends with {status}: {self.log}")

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        while line := (await stderr.readline()).decode():
            self._lines.append(line)
