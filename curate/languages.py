"""What is known of the labels of a language model: their BCP 47 tags, scripts, letters and common words.

One table (`curate/data/languages.toml`) holds it for lid.176. Labels such as `eng_Latn` (GlotLID, FLORES, OpenLID)
carry their script themselves; of any other label set nothing is known, and the model's answer is taken as it is.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CODED = re.compile(r"([a-z]{3})_([A-Z][a-z]{3})")  # an ISO 639-3 code and a script
OTHER_LETTERS = ("Latn", "Cyrl", "Arab")  # scripts whose letters are all either in an alphabet or foreign
MARKS = len(OTHER_LETTERS) + 1  # the class of combining marks; classes are counted from 1, 0 is a letter of every label
UNDETERMINED = "und"  # BCP 47 and ISO 639-2

# ISO 639-3 codes of languages that BCP 47 names by their two-letter code (RFC 5646 section 2.2.1: the shortest wins).
# Members that stand for their macrolanguage in label sets of this form (`arb`, `cmn`, `pes`) get its tag, as CLDR does.
SHORT = {
    "afr": "af", "aka": "ak", "amh": "am", "ara": "ar", "arb": "ar", "arg": "an", "asm": "as", "ava": "av",
    "aym": "ay", "ayr": "ay", "aze": "az", "azj": "az", "bak": "ba", "bam": "bm", "bel": "be", "ben": "bn",
    "bis": "bi", "bod": "bo", "bos": "bs", "bre": "br", "bul": "bg", "cat": "ca", "ces": "cs", "cha": "ch",
    "che": "ce", "chv": "cv", "cmn": "zh", "cor": "kw", "cos": "co", "cre": "cr", "cym": "cy", "dan": "da",
    "deu": "de", "div": "dv", "dzo": "dz", "ekk": "et", "ell": "el", "eng": "en", "epo": "eo", "est": "et",
    "eus": "eu", "ewe": "ee", "fao": "fo", "fas": "fa", "fij": "fj", "fil": "fil", "fin": "fi", "fra": "fr",
    "fry": "fy", "ful": "ff", "gla": "gd", "gle": "ga", "glg": "gl", "glv": "gv", "grn": "gn", "gug": "gn",
    "guj": "gu", "hat": "ht", "hau": "ha", "hbs": "sh", "heb": "he", "her": "hz", "hin": "hi", "hmo": "ho",
    "hrv": "hr", "hun": "hu", "hye": "hy", "ibo": "ig", "ido": "io", "iii": "ii", "iku": "iu", "ile": "ie",
    "ina": "ia", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja", "kal": "kl", "kan": "kn",
    "kas": "ks", "kat": "ka", "kaz": "kk", "khk": "mn", "khm": "km", "kik": "ki", "kin": "rw", "kir": "ky",
    "kmr": "ku", "kom": "kv", "kon": "kg", "kor": "ko", "kpv": "kv", "kua": "kj", "kur": "ku", "lao": "lo",
    "lat": "la", "lav": "lv", "lim": "li", "lin": "ln", "lit": "lt", "ltz": "lb", "lub": "lu", "lug": "lg",
    "lvs": "lv", "mah": "mh", "mal": "ml", "mar": "mr", "mkd": "mk", "mlg": "mg", "mlt": "mt", "mon": "mn",
    "mri": "mi", "msa": "ms", "mya": "my", "nau": "na", "nav": "nv", "nbl": "nr", "nde": "nd", "ndo": "ng",
    "nep": "ne", "nld": "nl", "nno": "nn", "nob": "nb", "nor": "no", "npi": "ne", "nya": "ny", "oci": "oc",
    "oji": "oj", "ori": "or", "orm": "om", "ory": "or", "oss": "os", "pan": "pa", "pes": "fa", "plt": "mg",
    "pol": "pl", "por": "pt", "pus": "ps", "que": "qu", "quy": "qu", "roh": "rm", "ron": "ro", "run": "rn",
    "rus": "ru", "sag": "sg", "san": "sa", "sin": "si", "slk": "sk", "slv": "sl", "sme": "se", "smo": "sm",
    "sna": "sn", "snd": "sd", "som": "so", "sot": "st", "spa": "es", "sqi": "sq", "srd": "sc", "srp": "sr",
    "ssw": "ss", "sun": "su", "swa": "sw", "swe": "sv", "swh": "sw", "tah": "ty", "tam": "ta", "tat": "tt",
    "tel": "te", "tgk": "tg", "tgl": "tl", "tha": "th", "tir": "ti", "ton": "to", "tsn": "tn", "tso": "ts",
    "tuk": "tk", "tur": "tr", "twi": "tw", "uig": "ug", "ukr": "uk", "urd": "ur", "uzb": "uz", "uzn": "uz",
    "ven": "ve", "vie": "vi", "vol": "vo", "wln": "wa", "wol": "wo", "xho": "xh", "ydd": "yi", "yid": "yi",
    "yor": "yo", "zha": "za", "zho": "zh", "zsm": "ms", "zul": "zu", "als": "sq", "und": "und", "zxx": "zxx",
}  # fmt: skip

# Scripts that need no subtag: the label is of the language's usual script (IANA's Suppress-Script, and CLDR's likely
# subtags for the languages that SHORT names). A language that is not here keeps a script other than Latin in its tag.
USUAL = {
    "am": "Ethi", "ar": "Arab", "as": "Beng", "av": "Cyrl", "ba": "Cyrl", "be": "Cyrl", "bg": "Cyrl", "bn": "Beng",
    "bo": "Tibt", "ce": "Cyrl", "cv": "Cyrl", "dv": "Thaa", "dz": "Tibt", "el": "Grek", "fa": "Arab", "gu": "Gujr",
    "he": "Hebr", "hi": "Deva", "hy": "Armn", "ii": "Yiii", "iu": "Cans", "ja": "Jpan", "ka": "Geor", "kk": "Cyrl",
    "km": "Khmr", "kn": "Knda", "ko": "Hang", "ks": "Arab", "kv": "Cyrl", "ky": "Cyrl", "lo": "Laoo", "mk": "Cyrl",
    "ml": "Mlym", "mn": "Cyrl", "mr": "Deva", "my": "Mymr", "ne": "Deva", "or": "Orya", "os": "Cyrl", "pa": "Guru",
    "ps": "Arab", "ru": "Cyrl", "sa": "Deva", "sd": "Arab", "si": "Sinh", "sr": "Cyrl", "ta": "Taml", "te": "Telu",
    "tg": "Cyrl", "th": "Thai", "ti": "Ethi", "tt": "Cyrl", "ug": "Arab", "uk": "Cyrl", "ur": "Arab", "yi": "Hebr",
}  # fmt: skip

# The scripts that a code of several stands for (ISO 15924).
COMPOUND = {"Jpan": ("Hira", "Kana", "Hani"), "Hans": ("Hani",), "Hant": ("Hani",), "Kore": ("Hang", "Hani")}


class LabelSet(NamedTuple):
    """What is known of each label of a model, in the order of its labels."""

    tags: tuple[str, ...]  # BCP 47
    written: NDArray[np.bool_]  # labels x scripts: whether the label's language is written in the script
    spelt: NDArray[np.bool_]  # labels x letter classes: whether its alphabet has the letters
    letters: NDArray[np.uint16]  # the letter class of each code point of the first plane, 0 for a letter of every label
    letter_scripts: NDArray[np.uint8]  # the script of each letter class
    words: NDArray[np.uint64]  # an open-addressed table of hashes of common words, 0 where empty
    word_starts: NDArray[np.int32]  # where the labels of the word in a slot start in `word_labels`
    word_labels: NDArray[np.int32]


@cache
def scripts() -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The script of each code point, 0 for none, and the ISO 15924 codes by number, the first empty."""
    with (files("curate.data") / "scripts.npz").open("rb") as file, np.load(file) as stored:
        return stored["codes"], ("", *(str(name) for name in stored["names"]))


@cache
def label_set(labels: tuple[str, ...]) -> LabelSet:
    """What is known of a model's labels."""
    known = _table()
    if set(labels) <= set(known["lid176"]):
        return _described(labels, known)
    if all(CODED.fullmatch(label) for label in labels):
        return _coded(labels)
    return _unknown(labels)


def tag_of(label: str) -> str:
    """The BCP 47 tag of a label: of lid.176, of the form `eng_Latn`, or the label itself."""
    if label in _table()["lid176"]:
        return str(_table()["lid176"][label]).split("|")[0].strip()
    coded = CODED.fullmatch(label)
    if coded is None:
        return label
    language = SHORT.get(coded[1], coded[1])
    return language if coded[2] == USUAL.get(language, "Latn") else f"{language}-{coded[2]}"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("curate.data") / "languages.toml").read_text(encoding="utf-8"))


def _unknown(labels: tuple[str, ...]) -> LabelSet:
    """Labels that say nothing of themselves: every script and letter may be theirs."""
    _, names = scripts()
    return LabelSet(
        tags=tuple(map(tag_of, labels)),
        written=np.ones((len(labels), len(names)), np.bool_),
        spelt=np.ones((len(labels), 1), np.bool_),
        letters=np.zeros(1, np.uint16),
        letter_scripts=np.zeros(1, np.uint8),
        words=np.zeros(1, np.uint64),
        word_starts=np.zeros(2, np.int32),
        word_labels=np.zeros(1, np.int32),
    )


def _coded(labels: tuple[str, ...]) -> LabelSet:
    """Labels of the form `eng_Latn`: their scripts are known."""
    return _unknown(labels)._replace(written=_written([label[4:] for label in labels]))


def _written(codes: list[str]) -> NDArray[np.bool_]:
    _, names = scripts()
    table = np.zeros((len(codes), len(names)), np.bool_)
    for row, own in enumerate(codes):
        for code in own.split():
            for script in COMPOUND.get(code, (code,)):
                table[row, names.index(script) if script in names else names.index("Zyyy")] = True
    return table


def _described(labels: tuple[str, ...], known: dict[str, Any]) -> LabelSet:
    """The labels of lid.176, from the table."""
    rows = [[part.strip() for part in known["lid176"][label].split("|")] for label in labels]
    special = sorted({letter for _, _, letters in rows for letter in letters} | set("".join(known["foreign"].values())))
    places = {letter: MARKS + 1 + place for place, letter in enumerate(special)}
    spelt = np.zeros((len(labels), MARKS + 1 + len(special)), np.bool_)
    for row, (_, _, letters) in enumerate(rows):
        spelt[row, [places[letter] for letter in letters]] = True
        spelt[row, MARKS] = labels[row] in known["marks"]["Latn"]
    return LabelSet(
        tags=tuple(map(tag_of, labels)),
        written=_written([codes for _, codes, _ in rows]),
        spelt=spelt,
        letters=_letter_classes(known["core"], places),
        letter_scripts=_letter_scripts(special),
        **_word_table(labels, known["words"]),
    )


def _letter_classes(core: dict[str, str], places: dict[str, int]) -> NDArray[np.uint16]:
    """The class of each code point: of its own, of the other letters of its script, of combining marks, or none."""
    from curate.kernels.utf8 import LETTER, tables

    codes, names = scripts()
    unicode = tables()
    classes = np.zeros(0x10000, np.uint16)
    for number, script in enumerate(OTHER_LETTERS, 1):
        own = (codes[: len(classes)] == names.index(script)) & (unicode.classes[: len(classes)] & LETTER != 0)
        own[0xFB50:] = False  # presentation forms and full-width letters are those of the core in another shape
        own[0x2B0:0x300] = own[0x640] = False  # modifier letters and the Arabic elongation are no letters of a word
        classes[own] = number
        for letter in core[script]:
            classes[ord(letter)] = 0
    classes[0x300:0x370] = MARKS
    for letter, place in places.items():
        classes[ord(letter)] = place
    capitals = np.flatnonzero(unicode.folds[: len(classes)])
    classes[capitals] = classes[capitals + unicode.folds[capitals]]
    classes[ord("İ")] = 0  # folds to i and a dot: Turkish and its kin write it, others in their names
    return classes


def _letter_scripts(special: list[str]) -> NDArray[np.uint8]:
    codes, names = scripts()
    others = [names.index(script) for script in OTHER_LETTERS]
    return np.array([0, *others, names.index("Latn"), *(codes[ord(letter)] for letter in special)], np.uint8)


def _word_table(labels: tuple[str, ...], words: dict[str, str]) -> dict[str, NDArray[Any]]:
    """The common words of the labels by hash."""
    from curate.kernels.lid_text import hash_of_word, words_of

    owners: dict[int, set[int]] = {}
    for row, label in enumerate(labels):
        for word in words_of(words.get(label, "")):
            owners.setdefault(hash_of_word(word), set()).add(row)
    size = 1 << max(4, (4 * len(owners)).bit_length())
    slots = np.zeros(size, np.uint64)
    found: list[list[int]] = [[] for _ in range(size)]
    for hashed, own in owners.items():
        slot = hashed & (size - 1)
        while slots[slot]:
            slot = (slot + 1) & (size - 1)
        slots[slot] = hashed
        found[slot] = sorted(own)
    return {
        "words": slots,
        "word_starts": np.cumsum([0, *map(len, found)], dtype=np.int32),
        "word_labels": np.array([row for own in found for row in own] or [0], np.int32),
    }
