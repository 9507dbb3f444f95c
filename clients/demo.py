"""`make demo`: start the daemon on its built-in model, and stream text to the terminal."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from cellwire.client import Client, connect

CELLWIRE = Path(sys.executable).parent / "cellwire"
PROMPT = "It is a truth universally acknowledged, that "
CROWD = 16

_console = Console(highlight=False)


@contextmanager
def daemon() -> Iterator[tuple[str, str]]:
    """Run a daemon on a free port; the values are its address and what it has said."""
    command = [str(CELLWIRE), "serve", "--listen", "127.0.0.1:0"]
    started_s = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  # ours
        assert process.stderr is not None  # noqa: S101  # it is a pipe
        output, ready = "", None
        while ready is None:
            line = process.stderr.readline()
            if not line:
                sys.exit(output)
            output += line
            ready = re.search(r"ready on (\S+);", line)
        took_s = time.perf_counter() - started_s
        _console.print(f"[dim]$ {' '.join(['cellwire', *command[1:]])}\n{output.strip()}")
        _console.print(f"[dim](ready after {took_s:.1f} s)\n")
        try:
            yield ready[1], output
        finally:
            process.terminate()
            process.communicate()


async def one_stream(client: Client) -> None:
    """Show one session's text as it arrives."""
    model = (await client.models())[0]
    _console.print(
        f"[bold]One session[/bold], {model.name}: {model.layer_count} x {model.hidden_size} "
        f"{model.cell_kind}, {model.state_bytes:,} bytes of state\n"
    )
    _console.print(f"[bold cyan]{PROMPT}", end="")
    async with client.session(seed=7) as session:
        await session.append(PROMPT)
        async for text in session.generate(max_tokens=500, temperature=0.6):
            _console.out(text, end="")
            sys.stdout.flush()
    _console.print("\n")


async def crowd(client: Client) -> None:
    """Show many sessions that the daemon advances together."""
    _console.print(f"[bold]{CROWD} sessions at once[/bold], each with its own seed\n")

    async def line(seed: int) -> str:
        generation = client.generate("She was ", max_tokens=300, temperature=0.6, seed=seed)
        return await generation.text()

    started_s = time.perf_counter()
    texts = await asyncio.gather(*(line(seed) for seed in range(CROWD)))
    took_s = time.perf_counter() - started_s
    for seed, text in enumerate(texts[:4]):
        beginning = textwrap.shorten(f"She was {text}", 80, placeholder=" ...")
        _console.out(f"  seed {seed}: {beginning}")
    characters = sum(map(len, texts))
    rate = characters / took_s
    _console.print(f"\n{characters:,} characters in {took_s:.2f} s: {rate:,.0f} per second\n")


def gpu_hint(output: str) -> str:
    """Return how to use a GPU that this machine has and the daemon does not; else ""."""
    if " on CUDA" in output or shutil.which("nvidia-smi") is None:
        return ""
    return (
        "This machine has an NVIDIA GPU. To use it:\n"
        "      .venv/bin/pip install -e '.[gpu]' && .venv/bin/cellwire serve --provider cuda\n"
    )


async def main() -> None:
    """Run the demo."""
    with daemon() as (address, output):
        async with connect(address) as client:
            await one_stream(client)
            await crowd(client)
    if hint := gpu_hint(output):
        _console.print(hint, markup=False)
    _console.print("Next: [bold]make serve[/bold] here, and in another terminal")
    _console.print("      [bold].venv/bin/cellwire chat[/bold]")


if __name__ == "__main__":
    asyncio.run(main())
