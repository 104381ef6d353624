"""`ImageTextModel`: embeddings of images and texts, ranking and evaluation with a trained pair of encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.api.inputs import ImageInput, image_content, image_name, is_embedding, list_of, text_content
from itembed_tf.config import Config
from itembed_tf.data.image_headers import read_header
from itembed_tf.data.pillow_images import damage

if TYPE_CHECKING:
    from itembed_tf.retrieval import RetrievalTable

Encode: TypeAlias = Callable[[Any], Mapping[str, Any]]
IMAGE_BATCH, TEXT_BATCH = 32, 256
BATCH_BYTES = 1 << 26  # of images: HEIC and some others are decoded to three bytes a pixel before


class Ranking(NamedTuple):
    """Items of a gallery by similarity to a query, best first.

    Attributes:
        indices: positions in the gallery, int64 [k].
        similarities: cosine similarities, float32 [k].
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True)
class ImageTextModel:
    """The image encoder and the text encoder of a run or of an export; `itembed_tf.load` makes one.

    Attributes:
        path: the run directory or the folder of the export.
        embedding_size: D, the dimensions of an embedding.
        contract: hash of everything that decides an embedding. Only embeddings under one hash can be compared.
        encode_images, encode_texts: the served functions: bytes [batch] -> outputs by name, tensors.
        features: F, where the image encoder takes features [batch, F] of images (image_tower.features); else 0.
    """

    path: Path
    embedding_size: int
    contract: str
    encode_images: Encode = field(repr=False)
    encode_texts: Encode = field(repr=False)
    features: int = 0

    def embed_images(
        self, images: Sequence[ImageInput] | NDArray[np.uint8], *, max_pixels: int = Config.max_pixels
    ) -> NDArray[np.float32]:
        """Embed images, prepared as in evaluation: EXIF orientation, transparency on white, resizing.

        Args:
            images: paths, file contents (bytes), or RGB arrays uint8 [height, width, 3]; they may be mixed. Formats:
                docs/image_formats.md.
            max_pixels: an image file of more pixels, by its header, is refused before it is decoded.

        Returns:
            float32 [n, D], unit length, in order.

        Raises:
            TypeError: not a list, or an array of another dtype or shape.
            ValueError: an empty list, or an unreadable image; the message gives its index and what it is.
            FileNotFoundError: a missing file.
        """
        if self.features:
            raise ValueError(
                f"{self.path} was trained on features of images, {self.features} numbers each: use embed_features"
            )
        if isinstance(images, np.ndarray) and images.ndim == 3:
            raise TypeError("embed_images takes a list of images; put the single array into a list: [image]")
        items = list_of(images, "embed_images", "image")
        embeddings, batch, size = [], list[bytes](), 0
        for i, item in enumerate(items):
            batch.append(image_content(item, i, max_pixels))
            size += len(batch[-1])
            if len(batch) == IMAGE_BATCH or size >= BATCH_BYTES or i + 1 == len(items):
                first = i + 1 - len(batch)
                embeddings.append(self._embed_batch(list(enumerate(items[first : i + 1], first)), batch))
                batch, size = [], 0
        return np.concatenate(embeddings)

    def embed_features(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Embed images by their features, for a model that was trained on them (image_tower.features).

        Args:
            features: [n, F], by the network that made the features of the training.

        Returns:
            float32 [n, D], unit length, in order.

        Raises:
            ValueError: a model that takes images, another shape, or features that are not finite.
        """
        rows = np.asarray(features, np.float32)
        if not self.features:
            raise ValueError(f"{self.path} takes images: use embed_images")
        if rows.ndim != 2 or rows.shape[1] != self.features or not len(rows) or not np.isfinite(rows).all():
            raise ValueError(
                f"features have shape {list(rows.shape)}; expected finite numbers [n, {self.features}], n at least 1"
            )
        batches = [self.encode_images(rows[i : i + TEXT_BATCH]) for i in range(0, len(rows), TEXT_BATCH)]
        return np.concatenate([np.asarray(batch["embedding"]) for batch in batches])

    def embed_texts(self, texts: Sequence[str | bytes]) -> NDArray[np.float32]:
        """Embed texts: float32 [n, D], unit length, in order.

        The embedding of a text without any known word is meaningless: see `known_words`.

        Args:
            texts: strings, or bytes in UTF-8.

        Raises:
            TypeError: not a list, or an item that is not a text.
            ValueError: an empty list.
        """
        return self._texts(texts, "embed_texts")[0]

    def known_words(self, texts: Sequence[str | bytes]) -> NDArray[np.int32]:
        """Number of words of each text that are in the vocabulary, at most those that fit the model: int32 [n].

        0 means that every word is out-of-vocabulary: ignore the embedding. Arguments and errors as `embed_texts`.
        """
        return self._texts(texts, "known_words")[1]

    def rank(
        self,
        query: str | ImageInput | NDArray[np.float32],
        gallery: Sequence[ImageInput] | Sequence[str] | NDArray[np.float32],
        *,
        top: int = 10,
    ) -> Ranking:
        """Rank a gallery by cosine similarity to a query.

        Args:
            query: a text (str), an image (a `pathlib.Path`, bytes or a uint8 array), or an embedding float32 [D].
            gallery: embeddings float32 [n, D], as `embed_images` and `embed_texts` return them; or, for a text query,
                images, and for an image query, texts. Embed a gallery that is searched more than once.
            top: number of items to return; all where the gallery is smaller.

        Raises:
            TypeError, ValueError, FileNotFoundError: as `embed_images` and `embed_texts`; a text without any known
                word; embeddings of another size.
        """
        if top < 1:
            raise ValueError(f"top is {top}; the minimum is 1")
        vector = self._query_vector(query)
        rows = gallery if is_embedding(gallery) else self._embed_gallery(query, gallery)
        rows = np.asarray(rows, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(vector) or not len(rows):
            raise ValueError(f"gallery has shape {rows.shape}; expected embeddings [n, {len(vector)}], n at least 1")
        similarities = rows @ vector
        order = np.argsort(-similarities, kind="stable")[:top].astype(np.int64)
        return Ranking(order, similarities[order])

    def evaluate(self, split: str = "dev", protocol: str | None = None) -> RetrievalTable:
        """Retrieval on one split of the run's dataset: recall@K and ranks in both directions.

        Args:
            split: "train", "dev" or "test".
            protocol: name of a protocol (docs/evaluation.md); None: that of the dataset's published results.

        Raises:
            ValueError: the model comes from an export, which has no dataset; or the protocol does not fit the split.
            RunError: the dataset has no such split.
        """
        if not (self.path / "config.toml").exists():
            raise ValueError(f"{self.path} is an export and has no dataset; load the run directory to evaluate it")
        from itembed_tf.evaluation.evaluate import evaluate_run

        return evaluate_run(self.path, split, protocol=protocol)

    def _embed_batch(self, numbered: list[tuple[int, ImageInput]], contents: list[bytes]) -> NDArray[np.float32]:
        import tensorflow as tf

        try:
            return np.asarray(self.encode_images(contents)["embedding"])
        except tf.errors.InvalidArgumentError:
            pass
        for (i, item), content in zip(numbered, contents):  # damage inside an image fails without its index
            try:
                self.encode_images([content])
            except tf.errors.InvalidArgumentError:
                reason = damage(content, read_header(content))
                raise ValueError(f"images[{i}]{image_name(item)} is {reason}") from None
        raise RuntimeError("a batch of images failed, but none of its images alone; try fewer images at a time")

    def _texts(self, texts: Sequence[str | bytes], function: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        contents = [text_content(item, i) for i, item in enumerate(list_of(texts, function, "text"))]
        outputs = [self.encode_texts(contents[i : i + TEXT_BATCH]) for i in range(0, len(contents), TEXT_BATCH)]
        embeddings = np.concatenate([np.asarray(output["embedding"]) for output in outputs])
        return embeddings, np.concatenate([np.asarray(output["known_words"]) for output in outputs])

    def _query_vector(self, query: Any) -> NDArray[np.float32]:
        if isinstance(query, str):
            embeddings, known = self._texts([query], "rank")
            if not known[0]:
                raise ValueError(f"query {query!r} has no word of the vocabulary, so its ranking would be meaningless")
            return embeddings[0]
        if is_embedding(query):
            return np.asarray(query, np.float32).reshape(-1)
        return self.embed_images([query])[0]

    def _embed_gallery(self, query: Any, gallery: Any) -> NDArray[np.float32]:
        if isinstance(query, str):
            return self.embed_images(gallery)
        if is_embedding(query):
            raise TypeError("rank: with an embedding as query, gallery must be embeddings too, float32 [n, D]")
        return self.embed_texts(gallery)
