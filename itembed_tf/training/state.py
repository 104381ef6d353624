"""Records of how far a training has come: one epoch, one stage, the whole run. Files hold them as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochEntry:
    """The figures of a finished epoch; a line of history.jsonl."""

    stage: str
    epoch: int  # 1 for the first
    seconds: float
    images_per_s: float
    learning_rate: float
    train: Mapping[str, float]  # mean over the steps of the objective, of each loss and of the accuracies
    val: Mapping[str, Any] | None = None  # retrieval table on dev; None where the epoch was not evaluated

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> EpochEntry:
        return cls(**entry)


@dataclass
class StageState:
    """How far a stage has come. Consistent with the weights after every step."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the unfinished epoch; and of these steps:
    images: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)  # sums of what the training step returns
    best: float = -1.0  # highest selection score so far
    history: list[EpochEntry] = field(default_factory=list)  # of the finished epochs

    def finish_epoch(self, entry: EpochEntry) -> None:
        self.history = [*self.history, entry]
        self.epoch, self.step, self.images, self.seconds, self.sums = entry.epoch, 0, 0, 0.0, {}

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"history": [entry.to_json() for entry in self.history]}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> StageState:
        return cls(**{**state, "history": [EpochEntry.from_json(entry) for entry in state["history"]]})


@dataclass(frozen=True)
class RunState:
    """How far a run has come: the histories of its finished stages, and the state of the unfinished one.

    Attributes:
        histories: of the finished stages.
        stage: state of the unfinished one; None: all stages are finished.
        data: checksums of what the run is trained on (`itembed_tf.training.run_data`); {} in older checkpoints.
        config: of the run, as TOML; "" in older checkpoints.
    """

    histories: Sequence[Sequence[EpochEntry]] = ()
    stage: StageState | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    config: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "histories": [[entry.to_json() for entry in history] for history in self.histories],
            "stage": self.stage.to_json() if self.stage else None,
            "data": dict(self.data),
            "config": self.config,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> RunState:
        histories = [[EpochEntry.from_json(entry) for entry in history] for history in state["histories"]]
        stage = StageState.from_json(state["stage"]) if state["stage"] else None
        return cls(histories, stage, state.get("data", {}), state.get("config", ""))
