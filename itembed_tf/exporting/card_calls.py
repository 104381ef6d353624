"""How the encoders of an export are called, as snippets for its model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from itembed_tf.export_layout import IMAGE_ENCODER, TEXT_ENCODER, is_version

SAVED_MODEL = """Also `itembed serve FOLDER`, or TF Serving. In the folder of this file, with TensorFlow:

```python
import tensorflow as tf
{imports}
text = tf.saved_model.load("{text}").signatures["serving_default"]
found = text(text=tf.constant(["a red boat on a quiet lake"]))
print(found["embedding"].shape, found["known_words"])
image = tf.saved_model.load("{image}").signatures["serving_default"]
{call}
```"""
IMAGE_CALL = (
    """print(image(image_bytes=tf.io.read_file("photo.jpg")[None])["embedding"].shape)  # JPEG, PNG, WebP, GIF, BMP"""
)
FEATURE_CALL = (
    """print(image(features=tf.zeros([1, {size}]))["embedding"].shape)  # features of an image by your own network"""
)
TEXT_IDS = """A text becomes ids by `tokenizer.txt` and `vocabulary.txt`; itembed_tf.text does so without TensorFlow:

```python
import json
from pathlib import Path

{imports}
settings = json.loads(Path("{settings}").read_text(encoding="utf-8"))
keys = ("tokenizer", "lowercase", "length")
vocabulary = load_vocabulary("vocabulary.txt", **{{key: settings[key] for key in keys}})
ids = vocabulary.encode(["a red boat on a quiet lake"])
{call}
```"""
TEXT_IMPORT = "from itembed_tf.text.vocabulary import load_vocabulary\n"
LITERT_CALL = """text = Interpreter("{file}").get_signature_runner("serving_default")
print(text(ids=ids)["embedding"].shape)"""
ONNX_CALL = """text = onnxruntime.InferenceSession("{file}")
print(text.run(["embedding"], {{"ids": ids}})[0].shape)"""


def call_saved_model(folder: Path, settings: Mapping[str, Any]) -> str:
    """Python with TensorFlow, of the newest version."""
    versions = [int(path.name) for path in (folder / TEXT_ENCODER).iterdir() if is_version(path.name)]
    features = settings["image"].get("features")
    return SAVED_MODEL.format(
        imports="".join(f"import {library}  # its ops\n" for library in settings["needs"]),
        text=f"{TEXT_ENCODER}/{max(versions)}",
        image=f"{IMAGE_ENCODER}/{max(versions)}",
        call=FEATURE_CALL.format(size=features) if features else IMAGE_CALL,
    )


def call_litert(folder: Path, settings: Mapping[str, Any]) -> str:
    """Python with LiteRT, of the most precise text encoder; or where an image encoder is alone, its settings."""
    by_size = sorted(folder.glob(f"{TEXT_ENCODER}.*.tflite"), key=lambda file: -file.stat().st_size)
    if not by_size:
        return f"`{IMAGE_ENCODER}.json` says how an image is prepared."
    imports = f"from ai_edge_litert.interpreter import Interpreter\n{TEXT_IMPORT}"
    call = LITERT_CALL.format(file=by_size[0].name)
    return TEXT_IDS.format(imports=imports, settings=f"{TEXT_ENCODER}.json", call=call) + _of_images(folder, "json")


def call_onnx(folder: Path, settings: Mapping[str, Any]) -> str:
    """Python with ONNX Runtime."""
    file = f"{TEXT_ENCODER}.onnx"
    call = ONNX_CALL.format(file=file)
    text = TEXT_IDS.format(imports=f"import onnxruntime\n{TEXT_IMPORT}", settings=f"{file}.json", call=call)
    return text + _of_images(folder, "onnx.json")


def _of_images(folder: Path, ending: str) -> str:
    file = f"{IMAGE_ENCODER}.{ending}"
    return f"\n\n`{file}` says how an image is prepared for the image encoder." if (folder / file).is_file() else ""


CALLS: dict[str, Callable[[Path, Mapping[str, Any]], str]] = {
    "SavedModel": call_saved_model,
    "LiteRT": call_litert,
    "ONNX": call_onnx,
}
