"""What is made once for a model, and how long it is kept."""

from __future__ import annotations

import gc
import weakref

from itembed_tf.models.dual_path import encoder
from itembed_tf.models.inference import inference_function
from tests.support.toy_model import dual_path


def test_an_encoder_is_built_and_traced_once_for_the_same_settings() -> None:
    model = dual_path()
    text = encoder(model, "text", shifts="all")
    assert encoder(model, "text", shifts="all") is text
    assert encoder(model, "text", shifts="left") is not text
    assert encoder(dual_path(), "text", shifts="all") is not text
    assert inference_function(text) is inference_function(text)


def test_a_model_is_freed_with_what_was_made_of_it() -> None:
    model = dual_path()
    made = encoder(model, "image"), inference_function(encoder(model, "image"))
    kept = [weakref.ref(each) for each in (model, *made)]
    del model, made
    gc.collect()
    assert [each() for each in kept] == [None] * 3
