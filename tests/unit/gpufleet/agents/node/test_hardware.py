"""GPUs from the simulator's own file, from NVML's functions, and from device ids alone."""

from __future__ import annotations

import pathlib
import threading
import types
from typing import Any

import pytest

from gpufleet.agents.node import hardware, nvml
from gpufleet.simgpu import store
from tests.unit.gpufleet.simgpu import builders as simulated

GPU = hardware.Gpu(0, "GPU-a", "NVIDIA-A30", False)


def no_driver() -> hardware.Gpus:
    raise hardware.NoLibraryError("libnvidia-ml.so.1")


async def test_what_the_simulator_keeps_is_read(tmp_path: pathlib.Path) -> None:
    stock = simulated.stock_of(None, ("3g.40gb", "1g.10gb+me"))
    store.save(tmp_path / "gpus.json", stock, "boot-1")
    found = await hardware.Reader(tmp_path / "gpus.json", no_driver).read({})
    assert [(gpu.index, gpu.uuid, gpu.product, gpu.mig) for gpu in found] == [
        (gpu.index, gpu.uuid, simulated.H100, gpu.mig_enabled) for gpu in stock.gpus
    ]
    assert [(one.uuid, one.profile, one.start) for one in found[1].instances] == [
        (one.uuid, one.profile, one.placement.start) for one in stock.gpus[1].instances
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"gpus": [{}]}'], ids=["no JSON", "a list", "no UUID"])
async def test_a_file_in_another_form_is_an_error(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "gpus.json").write_text(text)
    with pytest.raises(hardware.HardwareError, match=r"gpus\.json"):
        await hardware.Reader(tmp_path / "gpus.json", no_driver).read({})


async def test_without_a_driver_device_ids_are_all_there_is(tmp_path: pathlib.Path) -> None:
    offered = {
        "nvidia.com/gpu": ["GPU-b::0", "GPU-b::1", "GPU-a", "7"],
        "nvidia.com/mig-1g.10gb.me": ["MIG-x"],
    }
    unknown = hardware.UNKNOWN
    assert await hardware.Reader(tmp_path / "none", no_driver).read(offered) == (
        hardware.Gpu(unknown, "GPU-a", "", False),
        hardware.Gpu(unknown, "GPU-b", "", False),
        hardware.Gpu(unknown, "", "", True, (hardware.Instance("MIG-x", "1g.10gb+me", unknown),)),
    )


async def test_a_driver_that_hangs_holds_nobody_up_and_is_not_believed_later(tmp_path: pathlib.Path) -> None:
    answers, threads = threading.Event(), []

    def hang() -> hardware.Gpus:
        threads.append(threading.current_thread())
        answers.wait(10)
        return (GPU,)

    reader = hardware.Reader(tmp_path / "none", hang, limit_s=0.01)
    with pytest.raises(hardware.HardwareError, match="has not answered for"):
        await reader.read({})
    with pytest.raises(hardware.HardwareError, match="still has not"):
        await reader.read({})
    answers.set()
    threads[0].join()
    reader = hardware.Reader(tmp_path / "none", hang)
    assert await reader.read({}) == (GPU,)
    assert len(threads) == 2


class NVMLError(Exception):
    pass


class LibraryNotFound(NVMLError):
    pass


class NotFound(NVMLError):
    pass


class NotSupported(NVMLError):
    pass


class NoPermission(NVMLError):
    pass


class Driver(types.SimpleNamespace):
    """NVML's functions over two GPUs: one without MIG, and one with a slice in its second place."""

    NVMLError, NVMLError_LibraryNotFound, NVMLError_NotFound = NVMLError, LibraryNotFound, NotFound
    NVMLError_NotSupported, NVMLError_NoPermission = NotSupported, NoPermission
    NVML_DEVICE_MIG_ENABLE = 1
    is_open = False
    refuses_placements = False
    problem: NVMLError | None = None

    def nvmlInit(self) -> None:
        if self.problem:
            raise self.problem
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return ("gpu", index)

    def nvmlDeviceGetUUID(self, device: Any) -> str:
        return {"gpu": f"GPU-{device[1]}", "mig": "MIG-x"}[device[0]]

    def nvmlDeviceGetName(self, device: Any) -> str:
        names = {("gpu", 0): "NVIDIA L4", ("gpu", 1): "NVIDIA A100-SXM4-40GB"}
        return names.get(device, "NVIDIA A100-SXM4-40GB MIG 1g.5gb+me")

    def nvmlDeviceGetMigMode(self, device: Any) -> list[int]:
        if device == ("gpu", 0):
            raise NotSupported
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, number: int) -> Any:
        if number != 1:
            raise NotFound
        return ("mig", number)

    def nvmlDeviceGetGpuInstanceId(self, device: Any) -> int:
        return 9

    def nvmlDeviceGetGpuInstanceById(self, device: Any, gi_id: int) -> Any:
        if self.refuses_placements:
            raise NoPermission
        assert (device, gi_id) == (("gpu", 1), 9)
        return "instance"

    def nvmlGpuInstanceGetInfo(self, instance: Any) -> Any:
        return types.SimpleNamespace(placement=types.SimpleNamespace(start=6, size=1))


@pytest.mark.parametrize(
    ("refuses", "start"),
    [pytest.param(False, 6, id="placements told"), pytest.param(True, hardware.UNKNOWN, id="not told")],
)
def test_nvml_is_read_and_closed(refuses: bool, start: int) -> None:
    driver = Driver(refuses_placements=refuses)
    assert nvml.read_with(driver) == (
        hardware.Gpu(0, "GPU-0", "NVIDIA-L4", False),
        hardware.Gpu(
            1, "GPU-1", "NVIDIA-A100-SXM4-40GB", True, (hardware.Instance("MIG-x", "1g.5gb+me", start),)
        ),
    )
    assert not driver.is_open


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        pytest.param(LibraryNotFound(), hardware.NoLibraryError, id="no library"),
        pytest.param(NVMLError("lost"), hardware.HardwareError, id="a driver in trouble"),
    ],
)
def test_nvml_that_does_not_open(problem: NVMLError, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        nvml.read_with(Driver(problem=problem))


def test_the_real_library_has_every_function_that_is_called() -> None:
    pynvml = pytest.importorskip("pynvml")
    own = {name for name in dir(Driver) if name.startswith(("nvml", "NVML"))}
    assert own <= set(dir(pynvml))


def test_the_real_library_without_a_driver_is_no_library() -> None:
    if pathlib.Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a driver")
    with pytest.raises(hardware.NoLibraryError):
        nvml.read()
