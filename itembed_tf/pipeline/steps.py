"""The steps of a training run, as its progress lines show them. Imports no TensorFlow, which is the first step."""

from __future__ import annotations

from itembed_tf.config import Config
from itembed_tf.progress import Steps

LOAD = "load TensorFlow"
READ = "read the dataset"
WORDS = "build the vocabulary and read the word vectors"
MODEL = "build the model"
WEIGHTS = "set the initial weights"
MEASURE = "measure the trained model"
ANALYSE = "analyse what it learned"
EXPORT = "export the encoders"
CALIBRATE = "calibrate the encoders for search"
REPORT = "write the report"


def stage_title(name: str) -> str:
    return f"train stage {name}"


def training_steps(config: Config) -> Steps:
    """The steps of `itembed_tf.pipeline.train.train`; a program starts `LOAD` itself, before its imports."""
    stages = dict.fromkeys(stage_title(stage.name) for stage in config.stages)
    return Steps([LOAD, READ, WORDS, MODEL, WEIGHTS, *stages, MEASURE, ANALYSE, EXPORT, CALIBRATE, REPORT])
