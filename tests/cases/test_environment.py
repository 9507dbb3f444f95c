"""E: whatever the arguments, bytes, locale, proxies and ports: a result, or one line."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases.command_line import run
from tests.client.real.daemon import RealDaemon

from cellwire.client import InvalidArgument, Unreachable, connect
from cellwire.client.wire import channel, diagnosis
from cellwire.client.wire.target import Target

CELLWIRE = Path(sys.executable).parent / "cellwire"
ELSEWHERE = "192.0.2.1:50051"  # an address for documentation: nobody's
GUARD_S = 60


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    daemon = RealDaemon(tmp_path_factory.mktemp("models"))
    yield daemon.target
    daemon.stop()


# Arguments.

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # surrogates, too
NUMBERS = ("-1", "0", "1", "2.5", "nan", "inf", "-inf", "1e999", "9" * 30, "٣", "0x10", "")
OPTIONS = {
    "generate": ("--prompt", "--temperature", "--top-k", "--top-p", "--seed", "--stop", "--model"),
    "complete": ("--prompt", "--completions", "--beam-width", "--max-tokens", "--end", "--scores"),
    "classify": ("--as-it-grows", "--model", "judge", "--unknown", "a"),
    "score": ("--prompt", "--model", "a", "-e", "--escapes"),
    "load": ("spare/", "..", "a"),
    "unload": ("nobody", "alphabet"),
    "models": ("-h",),
    "sessions": ("show", "import", "delete", "export", "-"),
}


def arguments_of(options: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    one = st.one_of(ANY_TEXT, st.sampled_from(options + NUMBERS + ("\\n", "\\q", "-", "--", "-h")))
    return st.lists(one, max_size=5)


@pytest.mark.parametrize("command", OPTIONS)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_arguments_give_a_result_or_one_line(
    data: st.DataObject, target: str, command: str
) -> None:
    given_arguments = data.draw(arguments_of(OPTIONS[command]))
    ran = run([command, "--target", target, *given_arguments], stdin=b"ab")
    assert ran.status in (0, 1, 2)
    assert "Traceback" not in ran.err
    assert "fault of Cellwire" not in ran.err
    assert ran.is_one_line if ran.status else ran.err.count("\n") <= 1


@given(arguments=arguments_of(("--model", "--sessions", "--config", "--listen", "--slots")))
@settings(max_examples=40)
def test_any_arguments_of_serve_that_cannot_be_served_give_one_line(arguments: list[str]) -> None:
    ran = run(["serve", *arguments, "--listen", "nowhere"])
    helps = "-h" in arguments and not ran.status
    assert helps or (ran.status in (1, 2) and ran.is_one_line), ran
    assert "fault of Cellwire" not in ran.err


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="of the train extra")
@pytest.mark.parametrize("command", ["train", "export", "embed"])
@given(data=st.data())
@settings(max_examples=15)
def test_any_arguments_of_training_end_without_a_traceback(
    data: st.DataObject, command: str
) -> None:
    options = ("--out", "--set", "--epochs", "--recipe", "--weights", "neighbours", "analogy")
    ran = run([command, *data.draw(arguments_of(options))])
    assert ran.status in (0, 1, 2)
    assert "fault of Cellwire" not in ran.err


@given(text=ANY_TEXT)
def test_any_first_argument_gives_the_help_or_one_line(text: str) -> None:
    ran = run([text])
    if text == "models":  # needs no arguments, but a daemon
        return
    assert ran.status == 0 or (ran.status == 2 and ran.is_one_line)


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--prompt", "caf\udce9"),
        ("generate", "--stop", "caf\udce9"),
        ("generate", "--model", "caf\udce9"),
        ("classify", "caf\udce9"),
        ("serve", "--model", "caf\udce9.onnx"),
    ],
)
def test_an_argument_that_is_not_utf_8_is_named_with_its_byte(arguments: tuple[str, ...]) -> None:
    ran = run(arguments)
    assert (ran.status, ran.is_one_line) == (2, True)
    assert rf"argument {len(arguments)} is not UTF-8: caf\xe9" in ran.err


def test_a_variable_that_is_not_utf_8_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWIRE_TARGET", "caf\udce9:1")
    assert "CELLWIRE_TARGET is not UTF-8" in run(["models"]).err


def test_utf_8_in_a_locale_of_ascii_is_utf_8(target: str) -> None:
    as_ascii = "é".encode().decode("ascii", "surrogateescape")
    assert "'é' (U+00E9)" in run(["score", as_ascii, "--target", target]).err


# Locales, and streams as a shell gives them.


def ended(
    *arguments: str, rest: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the script as a process; `rest` is what follows the command line."""
    command = " ".join([str(CELLWIRE), *(f"'{one}'" for one in arguments), rest])
    return subprocess.run(
        ["/bin/bash", "-c", command],
        input=b"",
        capture_output=True,
        timeout=GUARD_S,
        check=False,
        env=os.environ | (environment or {}),
    )


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, ASCII])
def test_every_help_can_be_read_in_every_locale(locale: dict[str, str]) -> None:
    done = ended("--help", environment=locale)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"generate" in done.stdout


@pytest.mark.slow
def test_bytes_of_another_encoding_are_one_line_as_a_process() -> None:
    command = [os.fsencode(CELLWIRE), b"classify", b"caf\xe9"]
    done = subprocess.run(command, capture_output=True, timeout=GUARD_S, check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "err"),
    [
        (">&-", 0, b""),
        ("| head -c 3", 0, b""),
        ("> /dev/full", 1, b"cellwire: cannot read or write: No space left on device\n"),
        ("2>&-", 0, b""),
    ],
)
def test_a_stdout_that_takes_nothing_ends_quietly_or_with_its_reason(
    target: str, shell: str, status: int, err: bytes
) -> None:
    done = ended(
        "generate", "--prompt", "a", "--max-tokens", "9999", "--target", target, rest=shell
    )
    assert (done.returncode, done.stderr) == (status, err)


@pytest.mark.slow
def test_a_help_that_is_not_read_to_its_end_is_quiet() -> None:
    assert ended("--help", rest="| head -1").stderr == b""


@pytest.mark.slow
def test_a_closed_stdin_holds_no_text(target: str) -> None:
    done = ended("generate", "--prompt", "-", "--target", target, rest="<&-")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"stdin holds no text" in done.stderr


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"ab", "cd"),
        (b"ab\r\n", "cd"),
        ("ab".encode("utf-8-sig"), "cd"),
        ("ab".encode("utf-16"), "cd"),
        ("\ufeffab".encode("utf-16-be"), "cd"),
        ("ab\n".encode("utf-32"), "cd"),
    ],
)
def test_stdin_is_read_in_the_encoding_that_its_mark_names(
    target: str, data: bytes, read: str
) -> None:
    arguments = ["generate", "--prompt", "-", "--max-tokens", "2", "--temperature", "0"]
    ran = run([*arguments, "--target", target], stdin=data)
    assert (ran.status, ran.out) == (0, read)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\nb\ncaf\xe9!", "stdin is not UTF-8: invalid continuation byte at byte 7, in line 3"),
        ("ab".encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8"),
        ("ab".encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8"),
        (b"\xff\xfea", "stdin is not UTF-16: truncated data at byte 2"),
        (b"", "stdin holds no text"),
    ],
)
def test_a_stdin_that_is_no_text_is_one_line(data: bytes, said: str) -> None:
    ran = run(["generate", "--prompt", "-"], stdin=data)
    assert (ran.status, ran.is_one_line) == (2, True)
    assert said in ran.err


def test_a_character_that_stdout_lacks_is_named_and_not_altered(tmp_path: Path) -> None:
    daemon = RealDaemon(tmp_path)
    try:
        arguments = ["classify", "é", "--as-it-grows", "--model", "judge"]
        ran = run([*arguments, "--target", daemon.target], encoding="ascii")
        assert (ran.status, ran.is_one_line) == (2, True)
        assert "stdout's encoding, ascii, has no U+00E9; set PYTHONUTF8=1" in ran.err
        seen = run([*arguments, "--target", daemon.target], encoding="ascii", terminal=True)
        assert (seen.status, "\\xe9" in seen.out) == (0, True)
    finally:
        daemon.stop()


# Targets and proxies.


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http://127.0.0.1:50051", "begins with http://"),
        ("grpc://127.0.0.1:50051/", "begins with grpc://"),
        ("localhost", "has no port"),
        ("localhost:", "has no port"),
        (":50051", "has no host"),
        ("", "has no host"),
        ("  ", "has no host"),
        ("host:port", "has no port in 'port'"),
        ("host:0", "has no port in '0'"),
        ("host:65536", "has no port in '65536'"),
        ("host:٣", "has no port in '٣'"),
        ("127.0.0.1:50051/path", "has no port in '50051/path'"),
        ("user@host:1", "has no host in 'user@host'"),
        ("::1", "is an IPv6 address; in brackets, with a port: [::1]:50051"),
        ("::1:50051", "needs brackets"),
        ("[::1]", "has no port"),
        ("[nonsense]:1", "has no IPv6 address between its brackets"),
        ("a\nb:1", "holds a control character"),
        ("caf\udce9:1", "is not UTF-8"),
    ],
)
async def test_what_is_no_target_is_named_with_what_is_one(text: str, fault: str) -> None:
    with pytest.raises(InvalidArgument, match="give HOST:PORT, for example 127") as no:
        async with connect(text):
            pass
    assert fault in str(no.value)


@given(text=ANY_TEXT)
def test_any_text_is_a_target_or_said_not_to_be(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert Target.of(text).name


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("localhost:1", True),
        ("LOCALHOST.:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/socket", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("[2001:db8::1]:1", False),
    ],
)
def test_what_is_on_this_machine_is_known(text: str, *, local: bool) -> None:
    assert Target.of(text).is_local is local


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_this_machine_is_reached_whatever_proxy_is_set(
    monkeypatch: pytest.MonkeyPatch, target: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    for name in (target, target.replace("127.0.0.1", "localhost")):
        async with connect(name) as daemon:
            assert await daemon.models()


@asynccontextmanager
async def listening(answer: bytes, *, closes: bool = True) -> AsyncIterator[int]:
    """Listen on a port; answer each connection so."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if closes:
            await reader.read(3)
        writer.write(answer)
        if not closes:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        over.set()


async def cause(target: str) -> str:
    """Return why a target cannot be reached."""
    with pytest.raises(Unreachable) as failed:
        async with connect(target):
            pass
    begin = f"cannot reach a daemon at {target}: "
    assert str(failed.value).startswith(begin)
    return str(failed.value).removeprefix(begin)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for what does not answer."""
    monkeypatch.setattr(channel, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(diagnosis, "PROBE_TIMEOUT_S", 0.3)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


async def test_a_port_that_nothing_listens_on_is_said_with_how_to_start_a_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        assert await cause(f"{host}:{port}") == (
            "nothing listens there; start one with: cellwire serve"
        )


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "it speaks TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server (HTTP/1) listens there"),
        (b"SSH-2.0-OpenSSH_10.0\r\n", "something else than a daemon listens there"),
        (b"", "something listens there and ends the connection"),
    ],
)
async def test_what_else_listens_there_is_named(answer: bytes, said: str) -> None:
    async with listening(answer) as port:
        assert (await cause(f"127.0.0.1:{port}")).startswith(said)


@pytest.mark.usefixtures("soon")
async def test_a_port_that_does_not_answer_is_said() -> None:
    async with listening(b"", closes=False) as port:
        assert await cause(f"127.0.0.1:{port}") == (
            "something listens there, and has not answered within 0.3 s"
        )


@pytest.mark.usefixtures("no_proxies")
async def test_a_host_that_is_none_is_said() -> None:
    assert await cause("nowhere.invalid:50051") == (
        "there is no host 'nowhere.invalid'; is the name right?"
    )


async def test_a_socket_of_unix_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "no daemon listens on unix:" in await cause(f"unix:{tmp_path}/socket")


@pytest.mark.usefixtures("soon", "no_proxies")
async def test_a_proxy_that_refuses_is_quoted_and_how_to_go_round_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening(b"HTTP/1.1 403 Forbidden\r\n\r\n") as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert await cause(ELSEWHERE) == (
            "the proxy 127.0.0.1 (from http_proxy) answers 403 Forbidden; for a direct "
            "connection, unset http_proxy or set no_proxy=192.0.2.1"
        )


@pytest.mark.usefixtures("soon", "no_proxies")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("http://127.0.0.1:1", "the proxy 127.0.0.1 (from https_proxy) cannot be reached"),
        ("http://127.0.0.1:nonsense", "https_proxy is 'http://127.0.0.1:nonsense'"),
        ("http://", "https_proxy is 'http://', which is no proxy's address"),
    ],
)
async def test_a_proxy_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("https_proxy", value)
    assert (await diagnosis.cause_of_failure(Target.of(ELSEWHERE))).startswith(said)


@pytest.mark.usefixtures("soon", "no_proxies")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "reaches it, and no daemon answers behind it"),
        (b"", "does not answer"),
    ],
)
async def test_a_proxy_with_nothing_behind_it_is_said(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    async with listening(answer) as port:
        monkeypatch.setenv("grpc_proxy", f"127.0.0.1:{port}")
        assert said in await diagnosis.cause_of_failure(Target.of(ELSEWHERE))


@pytest.mark.usefixtures("no_proxies")
def test_the_proxy_of_a_target_is_the_one_that_grpc_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target.of("daemon.example:50051")
    assert diagnosis.proxy_for(target) is None
    monkeypatch.setenv("http_proxy", "http://a:1")
    monkeypatch.setenv("grpc_proxy", "http://b:1")
    assert diagnosis.proxy_for(target) == ("grpc_proxy", "http://b:1")
    monkeypatch.setenv("no_proxy", "other,.example")
    assert diagnosis.proxy_for(target) is None


# Serving.


@pytest.mark.parametrize(
    ("listen", "open_to_others"),
    [
        ("127.0.0.1:50051", False),
        ("localhost:50051", False),
        ("[::1]:50051", False),
        ("0.0.0.0:50051", True),
        ("[::]:50051", True),
        ("10.1.2.3:50051", True),
        ("daemon.example:50051", True),
    ],
)
def test_an_address_that_other_machines_reach_is_known(
    listen: str, *, open_to_others: bool
) -> None:
    from cellwire.server.rpc.address import is_open_to_others

    assert is_open_to_others(listen) is open_to_others


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("nowhere.invalid:0", "there is no host 'nowhere.invalid'"),
        ("192.0.2.1:0", "the address is not one of this machine's"),
        ("::1:0", "an IPv6 address needs brackets"),
        ("127.0.0.1", "give HOST:PORT"),
        ("127.0.0.1:99999", "give HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_one_line(listen: str, said: str) -> None:
    ran = run(["serve", "--listen", listen])
    assert (ran.status, ran.is_one_line) == (1, True)
    assert said in ran.err


def test_two_builds_of_onnx_runtime_are_refused_with_how_to_mend_it() -> None:
    from importlib.metadata import PackageNotFoundError

    from cellwire.server.errors import TwoRuntimes
    from cellwire.server.runtime.builds import check_one_build

    def only(*names: str) -> Callable[[str], str]:
        def version_of(name: str) -> str:
            if name not in names:
                raise PackageNotFoundError(name)
            return "1.0"

        return version_of

    check_one_build(only("onnxruntime"))
    check_one_build(only("onnxruntime-gpu"))
    with pytest.raises(TwoRuntimes, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        check_one_build(only("onnxruntime", "onnxruntime-gpu"))
