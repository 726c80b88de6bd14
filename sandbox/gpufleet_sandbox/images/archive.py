"""Docker archives: what `ctr images import` and `docker load` read, written without a container engine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Config:
    """What a container of the image runs unless told otherwise."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    user: str = ""
    working_directory: str = "/"

    def to_json(self, layers: Iterable[str]) -> bytes:
        """The image's configuration; its hash is the image's id, so it holds no time of day."""
        variables = {"PATH": PATH, **self.environment}
        config = {
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "User": self.user,
            "WorkingDir": self.working_directory,
        }
        document = {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {key: value for key, value in config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": list(layers)},
        }
        return json.dumps(document, sort_keys=True).encode()


@dataclasses.dataclass(frozen=True)
class Layer:
    """An uncompressed tar file and its digest, `sha256:…`."""

    path: pathlib.Path
    digest: str


def write_layer(source: pathlib.Path, target: pathlib.Path, prefix: str = "") -> Layer:
    """Packs the tree `source` below `prefix`: sorted, owned by root, with times that never change."""
    part = target.with_suffix(".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in _walk(source):
            inside = pathlib.PurePosixPath(prefix, path.relative_to(source).as_posix())
            _add(tar, path, inside.as_posix())
    digest_path(target).unlink(missing_ok=True)
    part.replace(target)
    return read_layer(target)


def read_layer(path: pathlib.Path) -> Layer:
    """A layer that was written before; its digest is kept beside it, for hashing takes seconds."""
    kept = digest_path(path)
    if not kept.is_file():
        part = kept.with_suffix(".part")
        part.write_text(_hash(path))
        part.replace(kept)
    return Layer(path, f"sha256:{kept.read_text()}")


def digest_path(layer: pathlib.Path) -> pathlib.Path:
    return layer.with_suffix(".sha256")


def _hash(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(target: pathlib.Path, name: str, layers: Sequence[Layer], config: Config) -> None:
    """Writes one image of the given layers, bottom first, under the name and tag `name`."""
    document = config.to_json(layer.digest for layer in layers)
    config_name = f"{hashlib.sha256(document).hexdigest()}.json"
    names = [f"{layer.digest.removeprefix('sha256:')}/layer.tar" for layer in layers]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": names}]
    part = target.with_suffix(".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        for layer, inside in zip(layers, names, strict=True):
            with layer.path.open("rb") as file:
                info = tarfile.TarInfo(inside)
                info.size = os.fstat(file.fileno()).st_size
                tar.addfile(info, file)
        for inside, content in ((config_name, document), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(inside)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    part.replace(target)


def _walk(source: pathlib.Path) -> Iterable[pathlib.Path]:
    """Everything below `source`, parents before children, in an order that never changes."""
    for folder, folders, files in os.walk(source):
        folders.sort()
        links = [name for name in folders if pathlib.Path(folder, name).is_symlink()]
        real = [name for name in folders if name not in links]
        for name in sorted([*files, *links, *real]):
            yield pathlib.Path(folder, name)


def _add(tar: tarfile.TarFile, path: pathlib.Path, inside: str) -> None:
    info = tar.gettarinfo(str(path), arcname=inside)
    if info is None or info.ischr() or info.isblk() or info.isfifo():
        return
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    if not info.isreg():
        tar.addfile(info)
        return
    with path.open("rb") as file:
        tar.addfile(info, file)
