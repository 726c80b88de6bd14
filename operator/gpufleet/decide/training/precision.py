"""Whether the devices of a gang compute in the wanted number format: a warning, never a refusal."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources

import yaml

from gpufleet.api import accelerator as accelerators
from gpufleet.api import training_job
from gpufleet.decide.mig import catalogue, devices


@functools.cache
def formats() -> Mapping[str, Sequence[str]]:
    """Number formats by architecture, from precision.yaml."""
    text = resources.files("gpufleet.decide.training").joinpath("precision.yaml").read_text("utf-8")
    found: Mapping[str, Sequence[str]] = yaml.safe_load(text)
    return found


def find_warning(
    job: training_job.TrainingJob, assigned: accelerators.AssignedAccelerator | None
) -> str | None:
    """Which of the devices lack the format, and which formats all have; None where nothing is known."""
    wanted = job.spec.precision
    if wanted is None or job.spec.accelerator is None:
        return None
    known = {one.architecture for one in _find_models(job.spec.accelerator, assigned)} & formats().keys()
    lacking = sorted(one for one in known if wanted not in formats()[one])
    if not lacking:
        return None
    common = [one for one in formats()[lacking[0]] if all(one in formats()[other] for other in known)]
    return (
        f"precision {wanted} is not native to {' and '.join(lacking)}, where it saves nothing: "
        f"use {', '.join(common)}, or ask for another accelerator.class"
    )


def _find_models(
    wanted: accelerators.Accelerator, assigned: accelerators.AssignedAccelerator | None
) -> Sequence[devices.DeviceModel]:
    """What the workers may land on: the products assigned, else the class asked for."""
    products = [catalogue.model_of_product(one) for one in (assigned.products if assigned else ())]
    if found := [one for one in products if one]:
        return found
    return catalogue.models_of_class(wanted.device_class) if wanted.device_class else ()
