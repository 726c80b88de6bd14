"""Where a TritonService's models come from: a claim, an image or a ConfigMap."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from gpufleet.api import meta, rules


class ClaimRepository(meta.Schema):
    """A model repository on a PersistentVolumeClaim, mounted read-only."""

    claim_name: meta.ReferenceName
    path: Annotated[
        meta.RelativePath | None,
        pydantic.Field(description="Folder within the volume; unset: the volume's root."),
    ] = None


class ImageRepository(meta.Schema):
    """A model repository in an OCI image, mounted as an image volume (Kubernetes 1.33 and newer)."""

    reference: Annotated[meta.Image, pydantic.Field(description="Image reference.")]
    pull_policy: Annotated[
        Literal["Always", "Never", "IfNotPresent"] | None,
        pydantic.Field(description="When the kubelet pulls it; unset: as for containers."),
    ] = None


class KeyToPath(meta.Schema):
    """A key of the ConfigMap and the file it becomes."""

    key: Annotated[
        str,
        pydantic.Field(
            min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="Key of the ConfigMap."
        ),
    ]
    path: Annotated[
        meta.RelativePath,
        pydantic.Field(description="File in the repository, such as double/1/model.py."),
    ]


class ConfigMapRepository(meta.Schema):
    """A repository of small python models in a ConfigMap, such as key double.py at double/1/model.py."""

    name: meta.ReferenceName
    items: Annotated[
        list[KeyToPath],
        pydantic.Field(
            min_length=1,
            max_length=256,
            description="Keys and the files they become.",
            json_schema_extra=rules.list_map("path"),
        ),
    ]


class ModelRepository(meta.Schema):
    """Where the models' files are: exactly one of the members."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(
            rules.exactly_one("modelRepository", "persistentVolumeClaim", "image", "configMap")
        )
    )

    persistent_volume_claim: Annotated[
        ClaimRepository | None, pydantic.Field(description="A PersistentVolumeClaim, mounted read-only.")
    ] = None
    image: Annotated[
        ImageRepository | None,
        pydantic.Field(description="An OCI image, mounted as an image volume (Kubernetes 1.33 and newer)."),
    ] = None
    config_map: Annotated[
        ConfigMapRepository | None, pydantic.Field(description="A ConfigMap that holds small python models.")
    ] = None
