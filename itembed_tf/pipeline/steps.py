"""The steps of a training run, as its progress lines show them. Imports no TensorFlow, which is the first step."""

from __future__ import annotations

from itembed_tf.config import Config, member_configs
from itembed_tf.progress import Steps

LOAD = "load TensorFlow"
READ = "read the dataset"
WORDS = "build the vocabulary and read the word vectors"
TEACHER = "embed train by the teacher"
MODEL = "build the model"
WEIGHTS = "set the initial weights"
JOIN = "join the members"
MEASURE = "measure the trained model"
ANALYSE = "analyse what it learned"
EXPORT = "export the encoders"
CALIBRATE = "calibrate the encoders for search"
REPORT = "write the report"


def stage_title(name: str) -> str:
    return f"train stage {name}"


def member_suffix(number: int) -> str:
    """The end of the titles of the steps that train member `number` of an ensemble, 1 for the first."""
    return f", member {number}"


def training_steps(config: Config) -> Steps:
    """The steps of `itembed_tf.pipeline.train.train`; a program starts `LOAD` itself, before its imports."""
    encoders = []
    for number, member in enumerate(member_configs(config), start=1):
        suffix = member_suffix(number) if config.members else ""
        stages = dict.fromkeys(stage_title(stage.name) for stage in member.stages)
        encoders += [MODEL + suffix, WEIGHTS + suffix, *stages]
    joining = [JOIN] if config.members else []
    teacher = [TEACHER] if config.distill_from else []
    return Steps([LOAD, READ, WORDS, *teacher, *encoders, *joining, MEASURE, ANALYSE, EXPORT, CALIBRATE, REPORT])
