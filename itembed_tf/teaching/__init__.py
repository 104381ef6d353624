"""Lessons: a text encoder learns names of what images show; the image encoder and all vectors of images stay.

This package needs no index; `itembed_tf.index.teaching` gives lessons to one. Importing it brings in no TensorFlow.
"""

from itembed_tf.teaching.data import (
    TeachingData,
    TeachingError,
    parse_data,
    read_data,
    teaching_bytes,
    write_data,
)
from itembed_tf.teaching.records import Lesson

__all__ = [
    "Lesson",
    "TeachingData",
    "TeachingError",
    "parse_data",
    "read_data",
    "teaching_bytes",
    "write_data",
]
