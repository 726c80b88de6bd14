"""Fields that no model has: a typing mistake that the API server would drop without a word."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pydantic


def find(document: Any, model: type[pydantic.BaseModel], path: str) -> Iterator[str]:
    """The path of every key in `document` that the model does not know, in order."""
    if not isinstance(document, dict):
        return
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in document.items():
        if key not in fields:
            yield f"{path}.{key}"
        elif (inner := _find_model(fields[key])) is not None:
            if isinstance(value, list):
                for number, item in enumerate(value):
                    yield from find(item, inner, f"{path}.{key}[{number}]")
            else:
                yield from find(value, inner, f"{path}.{key}")


def _find_model(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The model in `X`, `X | None`, `list[X]` and annotations of them."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    found = (_find_model(one) for one in typing.get_args(annotation))
    return next((one for one in found if one is not None), None)
