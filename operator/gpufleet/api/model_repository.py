"""Where a TritonService's models come from: a claim, an image, a ConfigMap or an object store."""

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


BucketName = Annotated[
    str, pydantic.Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]*$")
]
ObjectPrefix = Annotated[
    meta.RelativePath | None, pydantic.Field(description="Folder within it; unset: all of it.")
]


class S3Repository(meta.Schema):
    """A model repository in S3 or in a store that speaks its protocol."""

    bucket: Annotated[BucketName, pydantic.Field(description="Bucket.")]
    path: ObjectPrefix = None
    endpoint: Annotated[
        str | None,
        pydantic.Field(
            max_length=255,
            pattern=r"^https?://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]{1,5})?$",
            description="Server, such as https://minio.storage:9000; unset: AWS.",
        ),
    ] = None
    region: Annotated[
        str | None,
        pydantic.Field(max_length=63, pattern=r"^[-a-z0-9]+$", description="Region of the bucket."),
    ] = None
    credentials_secret_name: Annotated[
        meta.ReferenceName | None,
        pydantic.Field(
            description="Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN; "
            "unset: the node's own."
        ),
    ] = None


class GcsRepository(meta.Schema):
    """A model repository in Google Cloud Storage."""

    bucket: Annotated[BucketName, pydantic.Field(description="Bucket.")]
    path: ObjectPrefix = None
    credentials_secret_name: Annotated[
        meta.ReferenceName | None,
        pydantic.Field(
            description="Secret with the service account's key as credentials.json; unset: the node's own."
        ),
    ] = None


class AzureRepository(meta.Schema):
    """A model repository in Azure Blob Storage."""

    account: Annotated[
        str,
        pydantic.Field(min_length=3, max_length=24, pattern=r"^[a-z0-9]+$", description="Storage account."),
    ]
    container: Annotated[BucketName, pydantic.Field(description="Container of the account.")]
    path: ObjectPrefix = None
    credentials_secret_name: Annotated[
        meta.ReferenceName | None,
        pydantic.Field(description="Secret with AZURE_STORAGE_KEY; unset: the node's own."),
    ] = None


KINDS = ("persistentVolumeClaim", "image", "configMap", "s3", "gcs", "azure")


class ModelRepository(meta.Schema):
    """Where the models' files are: exactly one of the members."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules.validated(rules.exactly_one("modelRepository", *KINDS))
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
    s3: Annotated[
        S3Repository | None, pydantic.Field(description="S3 or a store that speaks its protocol.")
    ] = None
    gcs: Annotated[GcsRepository | None, pydantic.Field(description="Google Cloud Storage.")] = None
    azure: Annotated[AzureRepository | None, pydantic.Field(description="Azure Blob Storage.")] = None
