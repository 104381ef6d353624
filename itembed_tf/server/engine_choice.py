"""Which engine runs text encoders."""

from __future__ import annotations

from dataclasses import dataclass

ENGINES = ("auto", "tensorflow", "litert")
PRECISIONS = ("float32", "float16", "dynamic", "int8")  # of the LiteRT file


@dataclass(frozen=True)
class EngineChoice:
    """Which engine runs text encoders; everything else runs in TensorFlow.

    Attributes:
        engine: "tensorflow", "litert", or "auto": LiteRT where it can be served, otherwise TensorFlow.
        precision: of the LiteRT file.
    """

    engine: str = "auto"
    precision: str = "float32"
