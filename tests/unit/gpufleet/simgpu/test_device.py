"""What the hardware refuses, as tables; and a machine that tries every sequence of acts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings, stateful, strategies

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.simgpu import device

H100 = "NVIDIA-H100-80GB-HBM3"
PROFILES = ("1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")


def gpu(product: str = H100, *profiles: str, mig: bool = True) -> device.Gpu:
    model = catalogue.model_of_product(product)
    assert model is not None
    made = device.Gpu(model, product, index=0, uuid="GPU-0")
    if mig and model.is_mig_capable:
        made.set_mig_mode(True)
    for profile in profiles:
        made.create_instance(profile)
    return made


def test_the_driver_takes_the_highest_start() -> None:
    made = gpu(H100, "3g.40gb", "1g.10gb")
    assert [(i.profile, i.placement.start) for i in made.instances] == [("3g.40gb", 4), ("1g.10gb", 3)]


def test_the_order_of_the_user_guide_fails_and_its_reverse_does_not() -> None:
    order = ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"]
    small_first = gpu(H100, *order[:3])
    with pytest.raises(device.DeviceError, match="INSUFFICIENT_RESOURCES: GPU 0: no place for 3g"):
        small_first.create_instance("3g.40gb")
    assert gpu(H100, *reversed(order)).layout.counts == {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}


@pytest.mark.parametrize(
    ("made", "profile", "start", "code"),
    [
        pytest.param(gpu(), "3g.40gb", 2, device.INSUFFICIENT_RESOURCES, id="no such start"),
        pytest.param(gpu(H100, "7g.80gb"), "1g.10gb", None, device.INSUFFICIENT_RESOURCES, id="full"),
        pytest.param(gpu(), "1g.5gb", None, device.NOT_SUPPORTED, id="profile of another model"),
        pytest.param(gpu(mig=False), "1g.10gb", None, device.NOT_SUPPORTED, id="MIG off"),
    ],
)
def test_a_creation_is_refused(made: device.Gpu, profile: str, start: int | None, code: str) -> None:
    before = made.layout
    with pytest.raises(device.DeviceError) as refused:
        made.create_instance(profile, start)
    assert (refused.value.code, made.layout) == (code, before)


def test_a_busy_instance_is_not_destroyed() -> None:
    made = gpu(H100, "3g.40gb")
    made.set_busy([made.instances[0].uuid])
    with pytest.raises(device.DeviceError, match=device.IN_USE):
        made.destroy_instance(made.instances[0].uuid)


def test_clearing_stops_at_a_busy_instance_with_the_earlier_ones_gone() -> None:
    made = gpu(H100, "2g.20gb", "2g.20gb", "2g.20gb")
    first, second, third = made.instances
    made.set_busy([second.uuid])
    with pytest.raises(device.DeviceError, match=device.IN_USE):
        made.clear()
    assert first not in made.instances
    assert made.instances == [second, third]


def test_a_changed_mode_needs_an_idle_gpu_without_instances() -> None:
    made = gpu(H100, "3g.40gb")
    with pytest.raises(device.DeviceError, match="destroy 1 instances first"):
        made.set_mig_mode(False)
    whole = gpu(mig=False)
    whole.set_busy([whole.uuid])
    with pytest.raises(device.DeviceError, match=device.IN_USE):
        whole.set_mig_mode(True)


def test_a_device_without_mig_has_no_mode() -> None:
    with pytest.raises(device.DeviceError, match=device.NOT_SUPPORTED):
        gpu("NVIDIA-L40S").set_mig_mode(True)


def test_ids_are_the_drivers_and_come_again_while_uuids_do_not() -> None:
    made = gpu(H100, "3g.40gb", "2g.20gb", "1g.10gb")
    before = list(made.instances)
    assert [instance.gi_id for instance in before] == [2, 4, 8]
    made.clear()
    again = [made.create_instance(instance.profile) for instance in before]
    assert [instance.gi_id for instance in again] == [2, 4, 8]
    assert not {i.uuid for i in again} & {i.uuid for i in before}


class GpuMachine(stateful.RuleBasedStateMachine):
    """Any sequence of acts on one GPU, with pods that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.gpu = gpu(mig=False)
        self.held: set[str] = set()

    def attempt(self, act: str, *arguments: object) -> None:
        try:
            getattr(self.gpu, act)(*arguments)
        except device.DeviceError:
            return

    @stateful.rule(enabled=strategies.booleans())
    def change_mode(self, enabled: bool) -> None:
        self.attempt("set_mig_mode", enabled)

    @stateful.rule(
        profile=strategies.sampled_from(PROFILES), start=strategies.none() | strategies.integers(0, 8)
    )
    def create(self, profile: str, start: int | None) -> None:
        self.attempt("create_instance", profile, start)

    @stateful.precondition(lambda self: self.gpu.instances)
    @stateful.rule(data=strategies.data())
    def destroy(self, data: strategies.DataObject) -> None:
        self.attempt("destroy_instance", data.draw(strategies.sampled_from(self.gpu.instances)).uuid)

    @stateful.rule(act=strategies.sampled_from(["clear", "reset"]))
    def wipe(self, act: str) -> None:
        self.attempt(act)

    @stateful.rule(data=strategies.data())
    def hold(self, data: strategies.DataObject) -> None:
        free = [self.gpu.uuid] if not self.gpu.mig_enabled else [i.uuid for i in self.gpu.instances]
        self.held = {uuid for uuid in free if data.draw(strategies.booleans())}
        self.gpu.set_busy(self.held)

    @stateful.invariant()
    def what_is_held_exists(self) -> None:
        assert self.held <= {self.gpu.uuid, *(instance.uuid for instance in self.gpu.instances)}

    @stateful.invariant()
    def a_held_gpu_keeps_its_mode(self) -> None:
        assert not (self.gpu.uuid in self.held and self.gpu.mig_enabled)

    @stateful.invariant()
    def placements_never_overlap(self) -> None:
        units = [
            range(p.start, p.start + geometry.profile_of(self.gpu.model, p.profile).shape.size)
            for p in self.gpu.placements
        ]
        assert not any(set(one) & set(other) for one, other in itertools.combinations(units, 2))
        assert geometry.is_legal(self.gpu.model, self.gpu.placements)

    @stateful.invariant()
    def instances_need_the_mode_and_distinct_ids(self) -> None:
        assert self.gpu.mig_enabled or not self.gpu.instances
        assert len({instance.gi_id for instance in self.gpu.instances}) == len(self.gpu.instances)


TestGpuMachine = GpuMachine.TestCase
TestGpuMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
