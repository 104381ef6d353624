"""ModelSpec, TF Serving's message that names a model and one of its versions."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import model_pb2


def model_spec(name: str, version: int | None = None, label: str = "") -> Any:
    """The ModelSpec of a model and, if given, of one version by its number or its label."""
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    if label:
        spec.version_label = label
    return spec
