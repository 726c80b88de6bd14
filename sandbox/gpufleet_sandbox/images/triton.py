"""The real Triton server: PyPI carries it inside nvidia-pytriton; here it is laid out as NVIDIA's image."""

from __future__ import annotations

import pathlib
import shutil

from gpufleet_sandbox import progress
from gpufleet_sandbox.images import archive, layers, rootfs

HOME = "opt/tritonserver"
ENVIRONMENT = {
    "PATH": f"/{HOME}/bin:{archive.PATH}",
    "LD_LIBRARY_PATH": f"/{HOME}/lib",
    "PYTHONUNBUFFERED": "1",
}


def ensure_layer(lock: pathlib.Path, reporter: progress.Reporter) -> archive.Layer:
    """/opt/tritonserver with the server and its python backend. Raises rootfs.ImageError."""

    def fill(root: pathlib.Path) -> None:
        with layers.scratch() as wheel:
            rootfs.install_wheels(lock, wheel)
            lay_out(wheel, root / HOME)

    inputs = [lock.read_text(), HOME, rootfs.PYTHON_VERSION]
    return layers.ensure_tree("tritonserver", inputs, reporter, "Triton server", fill)


def lay_out(wheel: pathlib.Path, home: pathlib.Path) -> None:
    """Moves the server out of the unpacked wheel; the python backend's stub must match the image's Python."""
    server = wheel / "pytriton" / "tritonserver"
    home.mkdir(parents=True)
    shutil.move(server / "bin", home / "bin")
    shutil.move(server / "caches", home / "caches")
    backend = home / "backends" / "python"
    shutil.move(server / "backends" / "python", backend)
    stub = server / "python_backend_stubs" / rootfs.PYTHON_VERSION / "triton_python_backend_stub"
    shutil.copy2(stub, backend)
    shutil.move(wheel / "nvidia_pytriton.libs", home / "lib")
    for program in (home / "bin" / "tritonserver", backend / stub.name):
        program.chmod(0o755)
