"""A model repository as Triton's pod sees it: a read-only volume, or a store that Triton reads itself.

Credentials come from a Secret of the same namespace by reference: the kubelet hands them to the pod, and
gpufleet never reads them. Paths and variables: Triton's docs/user_guide/model_repository.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gpufleet.api import model_repository
from gpufleet.decide.resources import meta

MODELS_PATH = "/models"
_SECRET_PATH = "/var/run/secrets/gpufleet.dev/model-repository"
_GCS_KEY = "credentials.json"
_VOLUME = "models"


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    """`location` is Triton's; the rest goes into its pod."""

    location: str
    volumes: tuple[dict[str, Any], ...] = ()
    shared_mounts: tuple[dict[str, Any], ...] = ()
    """Mounts of the agent as well, which notices new files."""
    triton_mounts: tuple[dict[str, Any], ...] = ()
    env: tuple[dict[str, Any], ...] = ()


def build(repository: model_repository.ModelRepository) -> Repository:
    """Raises ValueError where no member is set."""
    if (s3 := repository.s3) is not None:
        return _build_s3(s3)
    if (gcs := repository.gcs) is not None:
        return _build_gcs(gcs)
    if (azure := repository.azure) is not None:
        return _build_azure(azure)
    return _build_volume(repository)


def _build_volume(repository: model_repository.ModelRepository) -> Repository:
    folder = None
    if (claim := repository.persistent_volume_claim) is not None:
        folder = claim.path.rstrip("/") if claim.path else None
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}}
    elif (image := repository.image) is not None:
        source = {"image": image.to_wire()}
    elif (config_map := repository.config_map) is not None:
        items = [item.to_wire() for item in config_map.items]
        source = {"configMap": {"name": config_map.name, "items": items}}
    else:
        raise ValueError(f"spec.modelRepository is empty: give one of {', '.join(model_repository.KINDS)}")
    mount = {"name": _VOLUME, "mountPath": MODELS_PATH, "readOnly": True, "subPath": folder}
    return Repository(
        MODELS_PATH, volumes=({"name": _VOLUME, **source},), shared_mounts=(meta.without_empty(mount),)
    )


def _build_s3(s3: model_repository.S3Repository) -> Repository:
    server = f"{s3.endpoint}/" if s3.endpoint else ""
    region = [{"name": "AWS_DEFAULT_REGION", "value": s3.region}] if s3.region else []
    keys = _from_secret(s3.credentials_secret_name, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    token = _from_secret(s3.credentials_secret_name, "AWS_SESSION_TOKEN", optional=True)
    return Repository(_join(f"s3://{server}{s3.bucket}", s3.path), env=(*region, *keys, *token))


def _build_gcs(gcs: model_repository.GcsRepository) -> Repository:
    location = _join(f"gs://{gcs.bucket}", gcs.path)
    if gcs.credentials_secret_name is None:
        return Repository(location)
    secret = {"secretName": gcs.credentials_secret_name, "items": [{"key": _GCS_KEY, "path": _GCS_KEY}]}
    return Repository(
        location,
        volumes=({"name": "model-repository-credentials", "secret": secret},),
        triton_mounts=(
            {"name": "model-repository-credentials", "mountPath": _SECRET_PATH, "readOnly": True},
        ),
        env=({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{_SECRET_PATH}/{_GCS_KEY}"},),
    )


def _build_azure(azure: model_repository.AzureRepository) -> Repository:
    location = _join(f"as://{azure.account}/{azure.container}", azure.path)
    account = {"name": "AZURE_STORAGE_ACCOUNT", "value": azure.account}
    return Repository(
        location, env=(account, *_from_secret(azure.credentials_secret_name, "AZURE_STORAGE_KEY"))
    )


def _join(root: str, path: str | None) -> str:
    return f"{root}/{path.strip('/')}" if path else root


def _from_secret(secret: str | None, *keys: str, optional: bool = False) -> list[dict[str, Any]]:
    """The Secret's keys as variables of the same names."""
    if secret is None:
        return []
    more = {"optional": True} if optional else {}
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}} for key in keys
    ]
