"""Results that are made once for a model: functional models of its layers, and compiled functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import keras

P = ParamSpec("P")
R = TypeVar("R")

_MADE = "_itembed_made"


def once_per_model(make: Callable[Concatenate[keras.Model, P], R]) -> Callable[Concatenate[keras.Model, P], R]:
    """Decorate a function of a model and of hashable values: it is called once for the same model and values.

    The result is kept with the model, and freed with it.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def of_model(model: keras.Model, /, *args: P.args, **settings: P.kwargs) -> R:
        # Past Keras, which would track the result as a part of the model. Not in a WeakKeyDictionary: a result that
        # refers to its model would keep both for ever.
        made = vars(model).setdefault(_MADE, {})
        bound = signature.bind(model, *args, **settings)
        bound.apply_defaults()
        key = (make, *bound.args[1:], *bound.kwargs.items())
        if key not in made:
            made[key] = make(model, *args, **settings)
        return made[key]

    return of_model
