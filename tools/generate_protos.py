"""Writes the protobuf modules of the kubelet's interfaces from their .proto files; --check compares only."""

from __future__ import annotations

import pathlib
import sys
import tempfile

from grpc_tools import protoc

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ROOT / "operator"
PROTOS = sorted(SOURCES.glob("gpufleet/**/*.proto"))


def generate(target: pathlib.Path) -> list[pathlib.Path]:
    """Modules and stubs of every .proto under `target`, relative to it. Raises RuntimeError."""
    command = ["protoc", f"--proto_path={SOURCES}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main([*command, *map(str, PROTOS)]) != 0:
        raise RuntimeError("protoc refused a .proto file; its message is above")
    return [
        path.relative_to(SOURCES).with_name(path.stem + suffix)
        for path in PROTOS
        for suffix in ("_pb2.py", "_pb2.pyi")
    ]


def stale_modules() -> list[pathlib.Path]:
    """Generated files that differ from what the .proto files say."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = pathlib.Path(folder)
        return [
            name
            for name in generate(fresh)
            if not (SOURCES / name).exists() or (SOURCES / name).read_bytes() != (fresh / name).read_bytes()
        ]


def main() -> int:
    if "--check" not in sys.argv[1:]:
        generate(SOURCES)
        return 0
    stale = stale_modules()
    for name in stale:
        print(f"operator/{name} does not match its .proto file: run `make generate`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
