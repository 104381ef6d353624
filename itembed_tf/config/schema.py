"""The settings themselves: one frozen dataclass a section, each the keyword arguments of one function (its ``feeds``).

Defaults stand here, those of a stage in ``stage.py``, and nowhere else: a frozen backbone and the wide text tower, for
some thousand pictures of yours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config.key import key
from itembed_tf.config.stage import DEFAULT_STAGES, Stage

HEADS = ("fc-bn", "fc-bn-relu-fc", "fc-bn-relu-fc-bn", "fc", "fc-bn-relu-dropout-fc")  # of both towers


@dataclass(frozen=True)
class Dataset:
    feeds: ClassVar[str] = "itembed_tf.data.readers.read_dataset"
    name: str = key(
        "openmoji",
        "which data set",
        choices=("openmoji", "flickr8k", "flickr30k", "coco", "cuhk-pedes", "icfg-pedes", "rstpreid", "folder"),
    )
    root: str = key("", "its folder (openmoji needs none: it comes with the installed packages)")
    shards: str = key("", "folder into which itembed_tf.prepare packed it, read instead of root")
    splits: tuple[str, ...] = key(
        ("train", "dev", "test"), "splits the run uses; others need not be on disk", choices=("train", "dev", "test")
    )
    split_by: str = key(
        "base",
        "openmoji: keep all variants of an emoji in one split (base), or not (id); flickr8k: base or karpathy; "
        "flickr30k: karpathy or entities; coco: karpathy or random",
        choices=("base", "id", "karpathy", "entities", "random"),
    )
    held_out_percent: int = key(
        10, "folder without a split column: percent of it for dev, and as much for test", minimum=1
    )
    merge: str = key("", "file of groups that show one thing and become one class, as itembed_tf.doctor writes it")
    leaks: str = key(
        "refuse",
        "where merge would join splits: refuse, drop the groups of the split less held out, or keep them apart",
        choices=("refuse", "drop", "keep"),
    )


@dataclass(frozen=True)
class Image:
    feeds: ClassVar[str] = "itembed_tf.data.images.load_image"
    size: int = key(224, "side of the square that the image tower sees, in pixels", minimum=32)
    fit: str = key(
        "stretch", "evaluation: stretch the whole picture, or cut the central square", choices=("stretch", "crop")
    )


@dataclass(frozen=True)
class Augmentation:
    feeds: ClassVar[str] = "itembed_tf.data.images.augment_image"
    crop_area: tuple[float, ...] = key(
        (0.64, 1.0), "share of the picture's area that a training crop keeps: least, most"
    )
    crop_aspect: tuple[float, ...] = key((0.75, 1.3333), "width over height of a training crop: least, most")
    flip: bool = key(True, "mirror half of the training pictures")


@dataclass(frozen=True)
class Data:
    feeds: ClassVar[str] = "itembed_tf.data.batches.draw_epoch"
    captions: int = key(1, "different captions that each picture of a batch comes with", minimum=1)
    shift: bool = key(False, "start each training caption at a random place of its row (the paper's position shift)")
    word_dropout: float = key(0.0, "share of the words left out of each training caption", minimum=0)


@dataclass(frozen=True)
class Text:
    feeds: ClassVar[str] = "itembed_tf.text.vocabulary.build_vocabulary"
    tokenizer: str = key(
        "words",
        "words: core string ops; unicode: tensorflow-text, scripts without spaces",
        choices=("words", "unicode"),
    )
    lowercase: bool = key(True, "lower-case every sentence (the released code keeps case)")
    length: int = key(32, "L, known words kept of a sentence", minimum=1)
    min_count: int = key(1, "drop words rarer than this in the training captions", minimum=1)
    only_with_vectors: bool = key(False, "keep only words that have a word vector (as the paper does)")


@dataclass(frozen=True)
class WordVectors:
    feeds: ClassVar[str] = "itembed_tf.text.word_vectors.load_word_vectors"
    source: str = key(
        "glove-50",
        "where the word table starts",
        choices=("random", "glove-50", "minilm", "word2vec", "glove", "keyedvectors", "skip-gram"),
    )
    path: str = key("", "file of word2vec (.bin or .txt), glove (.txt) or keyedvectors (.kv)")
    extra_words: int = key(
        0, "first words of the source that are known too, though no training caption has them", minimum=0
    )
    epochs: int = key(10, "skip-gram: passes over the training captions", minimum=1)


@dataclass(frozen=True)
class ImageTower:
    feeds: ClassVar[str] = "itembed_tf.models.image_tower.image_tower"
    backbone: str = key(
        "efficientnet-lite0",
        "ImageNet CNN",
        choices=(
            "efficientnet-lite0",
            "efficientnet-lite1",
            "efficientnet-lite2",
            "resnet50",
            "resnet101",
            "resnet152",
            "vgg16",
            "vgg19",
        ),
    )
    weights: str = key("imagenet", "imagenet, none, or a local .weights.h5 file (.pth for efficientnet-lite)")
    levels: tuple[str, ...] = key(
        (), "layers or blocks of the CNN whose mean and maximum are the features, such as block3; [] for its own"
    )
    crops: int = key(
        1, "parts of a picture whose features are averaged: the whole, or corners and centre", choices=(1, 5)
    )
    head: str = key("fc-bn", "layers after the CNN", choices=HEADS)
    hidden: int = key(2048, "fc-bn-relu-dropout-fc: width of its hidden layer", minimum=1)
    dropout: float = key(0.5, "fc-bn-relu-dropout-fc: share of the hidden layer zeroed in training", minimum=0)


@dataclass(frozen=True)
class TextTower:
    feeds: ClassVar[str] = "itembed_tf.models.text_tower.text_tower"
    variant: str = key(
        "wide",
        "paper: plain bottlenecks; released: as the published code; wide: two stages at full length, for small data; "
        "features: sentence features that are fitted and then stay, see [sentence], and the head alone",
        choices=("paper", "released", "wide", "features"),
    )
    depth: int = key(50, "50 or 152: blocks a stage as in that ResNet (paper, released)", minimum=50)
    width: float = key(1.0, "scales the channels of every stage")
    word_width: int = key(50, "width of the word vectors", minimum=1)
    stem: int = key(0, "channels of a 1x2 convolution before the blocks; 0 for none", minimum=0)
    blocks: tuple[int, ...] = key((), "residual blocks of each stage; [] as the variant and depth, [0] for none")
    strides: tuple[int, ...] = key((), "stride of each stage; [] as the variant")
    zero_gamma: bool = key(True, "start every block as the identity (last batch norm's gamma at 0)")
    mask_padding: bool = key(True, "keep padding at zero after every block and out of the pooling")
    pooling: str = key(
        "variant", "over the words; variant: as the variant", choices=("variant", "max", "mean", "mean+max")
    )
    head: str = key(
        "variant",
        "layers after the pooling; variant: as the variant",
        choices=("variant", *HEADS),
    )
    hidden: int = key(2048, "fc-bn-relu-dropout-fc: width of its hidden layer", minimum=1)
    dropout: float = key(0.5, "fc-bn-relu-dropout-fc: share of the hidden layer zeroed in training", minimum=0)


@dataclass(frozen=True)
class Sentence:
    feeds: ClassVar[str] = "itembed_tf.sentence_features.layers.sentence_features"
    kind: str = key(
        "hglmm",
        "text_tower.variant = features: bag of words, mean word vector, or Fisher vector of a mixture of word vectors",
        choices=("tf-idf", "mean", "hglmm"),
    )
    words: int = key(3000, "tf-idf: how many words have a number of their own, those of most captions", minimum=1)
    components: int = key(30, "hglmm: of the mixture", minimum=1)
    size: int = key(0, "numbers left of the features by PCA; 0 for all", minimum=0)


@dataclass(frozen=True)
class Classes:
    feeds: ClassVar[str] = "itembed_tf.training.classes.class_labels"
    clusters: int = key(
        0, "classes of the instance loss, clusters of pictures by k-means (table 4); 0: each group is one", minimum=0
    )


@dataclass(frozen=True)
class Model:
    feeds: ClassVar[str] = "itembed_tf.models.dual_path.dual_path_model"
    classifier: str = key(
        "imprinted",
        "how class weights start: each class's image features, or at random; none: no classifier, no instance loss",
        choices=("imprinted", "random", "none"),
    )
    scale: float = key(20.0, "s of a cosine classifier s * cos(w, f); 0 for the paper's plain w . f", minimum=0)
    bias: bool = key(False, "a bias in the shared classifier")
    dropout: float = key(0.3, "share of the embedding zeroed before the classifier", minimum=0)
    relu: bool = key(False, "train on ReLU(f) as the released code does; encoders give f before it")
    start: str = key(
        "random",
        "how the heads start: at random, or as the linear maps of CCA, for which head is fc in both towers and "
        "text_tower.variant features",
        choices=("random", "cca"),
    )


@dataclass(frozen=True)
class Cca:
    feeds: ClassVar[str] = "itembed_tf.sentence_features.cca.cca"
    regularisation: float = key(
        1e-2, "model.start = cca: what is added to each variance, in parts of the largest of its side", minimum=0
    )


@dataclass(frozen=True)
class Evaluation:
    feeds: ClassVar[str] = "itembed_tf.evaluation.embeddings.embedder"
    flip: bool = key(True, "average each picture with its mirror image")
    shifts: str = key("left", "where a caption starts: left, or the average over all places", choices=("left", "all"))
    batch_size: int = key(64, "pictures or captions encoded at a time", minimum=1)


@dataclass(frozen=True)
class Config:
    seed: int = key(0, "of weights, data order and every draw", minimum=0)
    embedding_size: int = key(2048, "D, width of both embeddings", minimum=1)
    precision: str = key("float32", "Keras dtype policy", choices=("float32", "mixed_bfloat16", "mixed_float16"))
    max_broken_percent: float = key(1.0, "stop when more pictures than this cannot be read", minimum=0)
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
    evaluation: Evaluation = Evaluation()
    stages: tuple[Stage, ...] = DEFAULT_STAGES
