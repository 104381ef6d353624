"""Lessons: the text encoder of an index learns names of what images show; the image encoder and all vectors stay."""

from itembed_tf.index.lessons import Lesson
from itembed_tf.teaching.data import TeachingError
from itembed_tf.teaching.lessons import MOST_IMAGES, MOST_LOST, teach, unlearn

__all__ = ["MOST_IMAGES", "MOST_LOST", "Lesson", "TeachingError", "teach", "unlearn"]
