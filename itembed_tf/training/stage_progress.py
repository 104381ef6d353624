"""What a checkpoint of a stage holds, when it is written, and the best weights so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import keras

from itembed_tf.config import Stage
from itembed_tf.interruption import uninterrupted
from itembed_tf.training.averages import Averages
from itembed_tf.training.checkpoints import Arrays, named_variables, restore, values, with_prefix
from itembed_tf.training.distribution import Replicas
from itembed_tf.training.requests import ASKED, Requests
from itembed_tf.training.state import StageState
from itembed_tf.training.step_scalars import StepScalars, check_finite

SaveStage = Callable[[StageState, Arrays], None]


class StageProgress:
    """The state of a stage, the values of all its variables, and the best weights so far.

    With several workers all of them call each method, and the chief has the arrays. Arrays to resume from are removed
    from their dict when variables have them: whoever holds the dict would keep them in memory while the stage lasts.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        averages: Averages,
        stage: Stage,
        resume: tuple[StageState, Arrays] | None,
        save: SaveStage,
        replicas: Replicas,
        requests: Requests,
    ) -> None:
        self.weights = named_variables("model", model.variables, model)
        self.variables = self.weights | named_variables("optimizer", optimizer.variables) | averages.named()
        state, arrays = resume or (StageState(), {})
        self.state = dataclasses.replace(state)
        self.scalars = StepScalars(self.state, together=replicas.workers > 1)
        self.best = with_prefix(arrays, "best")
        self.replicas, self.requests, self.name = replicas, requests, stage.name
        if resume:
            own = {name: array for name, array in arrays.items() if name not in self.best}
            restore(self.variables, own, replicas)
            arrays.clear()
        self._save = save
        self._saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint, but none with weights that are not finite (`NotFinite`)."""
        self.scalars.read()
        check_finite(self.weights, self.state, self.replicas)
        arrays = values(self.variables, self.replicas) | self.best
        if self.replicas.is_chief:
            self._save(dataclasses.replace(self.state), arrays)
        self._saved = time.monotonic()

    def save_if_older_than(self, seconds: float) -> Callable[[], None]:
        """A function, to be called after every step, that writes a checkpoint when it is due.

        With several workers it is due by the chief's clock, and all act after the same step on what one asks for.
        """

        def save_if_due() -> None:
            due = time.monotonic() - self._saved >= seconds
            if self.replicas.workers > 1:
                self.requests.save = due and self.replicas.is_chief
                self._act()
            elif due:
                self.save()

        return save_if_due

    def agree(self) -> None:
        """Let all workers know, between two epochs, where one of them is to stop."""
        if self.replicas.any_worker(bool(self.requests.signal)):
            self.scalars.asked.add(ASKED[0])

    def _act(self) -> None:
        """Do what a worker has asked for.

        Raises:
            KeyboardInterrupt: a worker has received a signal; a checkpoint was saved.
        """
        if not self.scalars.asked:
            return
        self.save()
        self.requests.save = False
        asked, self.scalars.asked = self.scalars.asked, set()
        if ASKED[0] in asked:
            raise self.requests.interrupt(f"a checkpoint was saved at {self.place()}")

    def place(self) -> str:
        """Where the stage is, for a message."""
        return f"stage {self.name}, epoch {self.state.epoch + 1}, step {self.state.step}"

    def keep_weights(self, selection_score: float) -> None:
        """Keep the current weights of the model as the best so far."""
        with uninterrupted():
            self.state.best = selection_score
            self.best = {f"best/{name}": array for name, array in values(self.weights, self.replicas).items()}

    def assign_best(self) -> None:
        """Give the model the best weights, where any were kept."""
        if self.replicas.from_chief(lambda: bool(self.best)):
            best = {name.removeprefix("best/"): array for name, array in self.best.items()}
            restore(self.weights, best, self.replicas)
