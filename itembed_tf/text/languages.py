"""The language of captions: which tokenizer suits it, and which word vectors to use for it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from itembed_tf.text.tokenizer import tokenize

OTHER_WORDS_PERCENT = 1.0  # of words with other letters than a-z: 0.0 in English captions of Flickr, 8 in Spanish ones
# A language's function words: their least share and number in its captions. "a" alone may be one of five languages.
MIN_SHARE, MIN_DIFFERENT = 0.05, 3

# Languages that alone use a script, by the first word of their characters' Unicode names: code of fastText, name.
SCRIPTS = {
    "HIRAGANA": ("ja", "Japanese"),
    "KATAKANA": ("ja", "Japanese"),
    "CJK": ("zh", "Chinese"),
    "HANGUL": ("ko", "Korean"),
    "THAI": ("th", "Thai"),
    "LAO": ("lo", "Lao"),
    "KHMER": ("km", "Khmer"),
    "MYANMAR": ("my", "Burmese"),
    "GREEK": ("el", "Greek"),
    "HEBREW": ("he", "Hebrew"),
    "BENGALI": ("bn", "Bengali"),
    "TAMIL": ("ta", "Tamil"),
    "TELUGU": ("te", "Telugu"),
    "GEORGIAN": ("ka", "Georgian"),
    "ARMENIAN": ("hy", "Armenian"),
}
# Function words of languages that share a script, as both tokenizers write them (with and without accents).
FUNCTION_WORDS = {
    ("en", "English"): "a an the of on in with and is are to at his her",
    ("de", "German"): "der die das ein eine einen einem einer und auf mit im ist vor von",
    ("fr", "French"): "le la les un une des du et dans sur avec est qui en",
    ("es", "Spanish"): "el la los las un una en con y de del por esta está que",
    ("it", "Italian"): "il la un una che con di in su è e del della sta",
    ("pt", "Portuguese"): "o a um uma em com e de do da no na está esta",
    ("nl", "Dutch"): "de het een en in met van op zijn naar is voor",
    ("sv", "Swedish"): "en ett och på pa i med som är ar den av",
    ("cs", "Czech"): "a v na se s je do u ve který ktery před pred",
    ("pl", "Polish"): "w na i z się sie jest do o po przez",
    ("ro", "Romanian"): "un o și si în in pe cu este de la",
    ("hu", "Hungarian"): "a az egy és es van a egyik mellett",
    ("tr", "Turkish"): "bir ve ile bu için icin olan üzerinde uzerinde",
    ("vi", "Vietnamese"): "một mot và va của cua trong đang người trên tren với voi",
    ("id", "Indonesian"): "di yang dan sedang dengan seorang sebuah ke dari",
    ("ru", "Russian"): "в на и с у по из за под",
    ("uk", "Ukrainian"): "в у на і з та до за під",
    ("bg", "Bulgarian"): "на и в с се от до един една",
    ("ar", "Arabic"): "في من على إلى و مع يرتدي",
    ("ur", "Urdu"): "ایک میں ہے اور کے کی پر سے ہیں",
    ("fa", "Persian"): "در و یک از با است به",
    ("hi", "Hindi"): "एक में है और के की पर रहा",
    ("mr", "Marathi"): "एक आहे आणि मध्ये आहेत वर",
}


@dataclass(frozen=True)
class Letters:
    """The letters that captions are written in.

    Attributes:
        words: number of words.
        other: of these, the words with other letters than a-z: accents, or another script.
        scripts: number of words of `other` by the script of their first letter, as Unicode names it.
    """

    words: int
    other: int
    scripts: Mapping[str, int]


def letters(captions: Iterable[str]) -> Letters:
    """Count the words of captions by their letters."""
    words, scripts = 0, Counter[str]()
    for caption in captions:
        if caption.isascii():
            words += len(caption.split())
            continue
        own = tokenize(caption, tokenizer="unicode", lowercase=True)
        words += len(own)
        scripts.update(_script(word) for word in own if not word.isascii())
    return Letters(words, scripts.total(), dict(scripts.most_common()))


def choose_tokenizer(captions: Iterable[str]) -> tuple[str, str]:
    """The tokenizer for the language of captions, and the reason, for the screen.

    "words" removes accents, which suits English, where "café" and "cafe" are one word. It is chosen where fewer than
    1 % of the words have other letters than a-z. All other captions need "unicode", which keeps accents and splits
    scripts without spaces.
    """
    found = letters(captions)
    percent = 100 * found.other / max(found.words, 1)
    share = f"{percent:.1f} % of the words in the training captions have other letters than a-z"
    if percent < OTHER_WORDS_PERCENT:
        return "words", share
    scripts = ["Han" if name == "CJK" else name.capitalize() for name in list(found.scripts)[:3]]
    return "unicode", f"{share} ({', '.join(scripts)})"


def language(captions: Iterable[Iterable[str]]) -> tuple[str, str] | None:
    """The main language of tokenised captions: its code, as in the names of fastText's files, and its name.

    A script that one language uses decides, else the language with the most function words; None if neither does.
    """
    counts = Counter(word for words in captions for word in words)
    total = max(counts.total(), 1)
    scripts = Counter[str]()
    for word, count in counts.items():
        if not word.isascii():
            scripts[_script(word)] += count
    own = {name: count for name, count in scripts.items() if name in SCRIPTS}
    if sum(own.values()) > total / 4:
        kana = own.get("HIRAGANA", 0) + own.get("KATAKANA", 0)  # Japanese mixes them with more Han characters
        return SCRIPTS["HIRAGANA"] if kana > total / 20 else SCRIPTS[max(own, key=lambda name: own[name])]
    hits = {key: [counts[word] for word in text.split() if word in counts] for key, text in FUNCTION_WORDS.items()}
    best = max(hits, key=lambda key: sum(hits[key]))
    return best if len(hits[best]) >= MIN_DIFFERENT and sum(hits[best]) > MIN_SHARE * total else None


def _script(word: str) -> str:
    """The script of a word's first letter that is not a-z, such as LATIN, CJK or THAI."""
    letter = next((c for c in word if c > "\x7f"), word[:1])
    return unicodedata.name(letter, "other").split(" ")[0].split("-")[0]
