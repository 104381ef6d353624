"""The settings of a run: one frozen dataclass per section, whose fields are the keyword arguments of its `target`.

Defaults are here, in ``towers.py``, ``stage.py`` and ``measurement.py``, and nowhere else. They suit some thousand
images: a frozen backbone and the wide text tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config import choices
from itembed_tf.config.classifier import Cca, Classes, Model
from itembed_tf.config.key import key
from itembed_tf.config.measurement import Calibration, Card, Evaluation, Memory, Teaching
from itembed_tf.config.stage import DEFAULT_STAGES, Stage
from itembed_tf.config.towers import ImageTower, TextTower

__all__ = ["DEFAULT_STAGES", "Config", "Member", "Stage"]


@dataclass(frozen=True)
class Dataset:
    """Images and captions, and their splits."""

    target: ClassVar[str] = "itembed_tf.data.readers.read_data"
    name: str = key("openmoji", "folder: your own images (docs/your_images.md)", choices=tuple(choices.DATASETS))
    root: str = key("", "folder of the dataset (openmoji has none: it is in installed packages)")
    shards: str = key("", "folder that `itembed prepare` has written, read instead of root")
    splits: tuple[str, ...] = key(choices.SPLITS, "splits to use; the others need not exist", choices=choices.SPLITS)
    split_by: str = key(
        "base",
        "openmoji: base keeps all variants of an emoji in one split, id does not; flickr8k: base or karpathy; "
        "flickr30k: karpathy or entities; coco: karpathy or random",
        choices=choices.SPLIT_BY,
    )
    held_out_percent: int = key(
        10, "folder without splits, coco random: percent of it for dev, and as much for test", minimum=1, maximum=49
    )
    captions: str = key("", "folder: the caption file, relative to root; found by its name where this is empty")
    images: str = key("", "folder: folder of the images, where they are not beside their captions")
    image_column: str = key("", "folder: column of the image's path; found by its name where this is empty")
    caption_column: str = key("", "folder: column of the caption; found by its name where this is empty")
    merge: str = key("", "file of duplicate groups to merge into one class, as `itembed doctor` writes it")
    leaks: str = key(
        "refuse",
        "merge, for duplicates across splits: refuse; drop those in train (or in dev, of dev and test); or keep them",
        choices=choices.LEAKS,
    )


@dataclass(frozen=True)
class Image:
    """The input of the image tower."""

    target: ClassVar[str] = "itembed_tf.data.images.load_image"
    size: int = key(224, "side of the square input, pixels", minimum=32, maximum=2048)
    fit: str = key(
        "stretch", "evaluation: stretch the whole image to a square, or crop its centre", choices=choices.FITS
    )


@dataclass(frozen=True)
class Augmentation:
    """Random crops and flips of training images."""

    target: ClassVar[str] = "itembed_tf.data.images.augment_image"
    crop_area: tuple[float, ...] = key(
        (0.64, 1.0), "area of a random crop as a share of the image: minimum, maximum", above=0, maximum=1, length=2
    )
    crop_aspect: tuple[float, ...] = key(
        (0.75, 1.3333), "width / height of a random crop: minimum, maximum", above=0, maximum=100, length=2
    )
    flip: bool = key(True, "flip half of the training images horizontally")


@dataclass(frozen=True)
class Data:
    """Training batches."""

    target: ClassVar[str] = "itembed_tf.data.batches.draw_epoch"
    captions: int = key(1, "captions per image in a batch", minimum=1, maximum=100)
    shift: bool = key(False, "start each training caption at a random position (the paper's position shift)")
    word_dropout: float = key(0.0, "share of words dropped from each training caption", minimum=0, below=1)


@dataclass(frozen=True)
class Text:
    """Tokenisation and vocabulary."""

    target: ClassVar[str] = "itembed_tf.text.vocabulary.build_vocabulary"
    tokenizer: str = key(
        "auto",
        "words: without accents, for English; unicode: with accents, scripts without spaces are split; auto: by the "
        "letters of the training captions",
        choices=choices.TOKENIZERS,
    )
    lowercase: bool = key(True, "lower-case all text (the released code does not)")
    length: int = key(32, "maximum number of known words per caption, L", minimum=1, maximum=1000)
    min_count: int = key(1, "minimum count of a word in the training captions", minimum=1)
    only_with_vectors: bool = key(False, "only words that have a word vector (as the paper)")


@dataclass(frozen=True)
class WordVectors:
    """Initial values of the word embedding."""

    target: ClassVar[str] = "itembed_tf.text.word_vectors.load_word_vectors"
    source: str = key(
        "glove-50",
        "random; glove-50 and minilm from installed packages; word2vec, glove and keyedvectors from path; skip-gram "
        "trains on the captions",
        choices=tuple(choices.WORD_VECTORS),
    )
    path: str = key("", "file of word2vec (.bin, .txt), glove (.txt) or keyedvectors (.kv)")
    extra_words: int = key(0, "number of first words of the source to add to the vocabulary", minimum=0)
    epochs: int = key(10, "skip-gram: epochs over the training captions", minimum=1, maximum=1000)


@dataclass(frozen=True)
class Sentence:
    """Fixed sentence features, for text_tower.variant = "features"."""

    target: ClassVar[str] = "itembed_tf.sentence_features.layers.sentence_features"
    kind: str = key(
        "hglmm", "tf-idf, mean word vector, or Fisher vector of a mixture model", choices=choices.SENTENCE_KINDS
    )
    words: int = key(3000, "tf-idf: number of words, the most frequent ones", minimum=1)
    components: int = key(30, "hglmm: components of the mixture", minimum=1, maximum=1000)
    size: int = key(0, "dimensions after PCA; 0 for no PCA", minimum=0)


@dataclass(frozen=True)
class Member:
    """An encoder of an ensemble: `members = 3`, or a table [[members]] for each with what differs from the config."""

    embedding_size: int = key(2048, "dimensions of the embeddings of this member", minimum=1, maximum=65536)
    image_tower: ImageTower = ImageTower()
    text_tower: TextTower = TextTower()
    word_vectors: WordVectors = WordVectors()


@dataclass(frozen=True)
class Config:
    """All settings of a run. A section of a TOML file is a record of its own."""

    seed: int = key(0, "random seed of weights, data order and all other random choices", minimum=0, maximum=2**32 - 1)
    embedding_size: int = key(2048, "dimensions of both embeddings, D", minimum=1, maximum=65536)
    precision: str = key("float32", "Keras dtype policy", choices=choices.PRECISIONS)
    determinism: str = key(
        "auto",
        "the same weights in every training on the same hardware, bit for bit; auto: on, but off on a GPU, where it "
        "costs time",
        choices=choices.DETERMINISM,
    )
    from_run: str = key(
        "", "finished run to start from: its vocabulary, weights and classes; classes of new groups are imprinted"
    )
    distill_from: str = key(
        "", "finished run, such as an ensemble, whose similarities the loss distillation has as targets (the teacher)"
    )
    max_broken_percent: float = key(1.0, "maximum percent of unreadable images", minimum=0, maximum=100)
    max_pixels: int = key(
        50_000_000,
        "maximum pixels of an image, by its header; larger ones are unreadable (12 bytes a pixel)",
        minimum=1,
    )
    loggers: tuple[str, ...] = key(
        ("tensorboard",), "loggers of the training; mlflow and wandb need their extra", choices=choices.LOGGERS
    )
    dataset: Dataset = Dataset()
    image: Image = Image()
    augmentation: Augmentation = Augmentation()
    data: Data = Data()
    text: Text = Text()
    word_vectors: WordVectors = WordVectors()
    image_tower: ImageTower = ImageTower()
    text_tower: TextTower = TextTower()
    sentence: Sentence = Sentence()
    classes: Classes = Classes()
    model: Model = Model()
    cca: Cca = Cca()
    memory: Memory = Memory()
    evaluation: Evaluation = Evaluation()
    calibration: Calibration = Calibration()
    teaching: Teaching = Teaching()
    card: Card = Card()
    members: tuple[Member, ...] = ()
    stages: tuple[Stage, ...] = DEFAULT_STAGES
