"""Fail unless the committed stubs are what the generator makes of the protos today."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PLUGINS = Path(sys.executable).parent
WELL_KNOWN = files("grpc_tools") / "_proto"


def main() -> int:
    """Generate into a temporary folder and compare byte by byte; return the exit status."""
    protos = [str(path.relative_to(HERE)) for path in sorted(HERE.glob("cellwire/v1/*.proto"))]
    with tempfile.TemporaryDirectory() as out:
        kinds = ("python", "grpc_python", "mypy", "mypy_grpc")
        plugins = [f"--plugin=protoc-gen-{n}={PLUGINS / f'protoc-gen-{n}'}" for n in kinds[2:]]
        outs = [f"--{kind}_out={out}" for kind in kinds]
        if protoc.main(["protoc", f"-I{HERE}", f"-I{WELL_KNOWN}", *plugins, *outs, *protos]):
            return 1
        fresh = {p.relative_to(out): p.read_bytes() for p in Path(out).rglob("*.py*")}
    stale = sorted(
        str(path)
        for path, content in fresh.items()
        if not (HERE / path).is_file() or (HERE / path).read_bytes() != content
    )
    known = {path.name for path in fresh}
    stale += sorted(
        f"cellwire/v1/{p.name}" for p in HERE.glob("cellwire/v1/*_pb2*") if p.name not in known
    )
    for path in stale:
        print(f"protos/{path} is not what its proto generates; run: make protos", file=sys.stderr)  # noqa: T201  # its purpose
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
