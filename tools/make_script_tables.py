"""Write curate/data/scripts.npz: the script of each letter and mark, from one Unicode version.

Python knows no script property, but the names of letters begin with it (`CYRILLIC SMALL LETTER A`). The table is made
once (`python tools/make_script_tables.py`, Python 3.11, Unicode 14.0) and shipped, so that results do not change with
the version of Python.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "curate" / "data" / "scripts.npz"

# How the names of characters begin, and the ISO 15924 code. Scripts that are not here share the code Zyyy.
PREFIXES = {
    "ADLAM": "Adlm", "ARABIC": "Arab", "ARMENIAN": "Armn", "BALINESE": "Bali", "BAMUM": "Bamu", "BATAK": "Batk",
    "BENGALI": "Beng", "BOPOMOFO": "Bopo", "BUGINESE": "Bugi", "BUHID": "Buhd", "CANADIAN": "Cans", "CHAKMA": "Cakm",
    "CHAM": "Cham", "CHEROKEE": "Cher", "CJK": "Hani", "COPTIC": "Copt", "CYRILLIC": "Cyrl", "DESERET": "Dsrt",
    "DEVANAGARI": "Deva", "ETHIOPIC": "Ethi", "FULLWIDTH": "Latn", "GEORGIAN": "Geor", "GLAGOLITIC": "Glag",
    "GOTHIC": "Goth", "GREEK": "Grek", "GUJARATI": "Gujr", "GURMUKHI": "Guru", "HALFWIDTH": "Kana", "HANGUL": "Hang",
    "HANUNOO": "Hano", "HEBREW": "Hebr", "HIRAGANA": "Hira", "IDEOGRAPHIC": "Hani", "JAVANESE": "Java",
    "KANNADA": "Knda", "KATAKANA": "Kana", "KAYAH": "Kali", "KHMER": "Khmr", "LAO": "Laoo", "LATIN": "Latn",
    "LEPCHA": "Lepc", "LIMBU": "Limb", "LISU": "Lisu", "MALAYALAM": "Mlym", "MEETEI": "Mtei", "MIAO": "Plrd",
    "MONGOLIAN": "Mong", "MYANMAR": "Mymr", "NEW TAI": "Talu", "NKO": "Nkoo", "NYIAKENG": "Hmnp", "OGHAM": "Ogam",
    "OL CHIKI": "Olck", "ORIYA": "Orya", "OSAGE": "Osge", "OSMANYA": "Osma", "PAHAWH": "Hmng", "REJANG": "Rjng",
    "RUNIC": "Runr", "SAMARITAN": "Samr", "SAURASHTRA": "Saur", "SINHALA": "Sinh", "SUNDANESE": "Sund",
    "SYLOTI": "Sylo", "SYRIAC": "Syrc", "TAGALOG": "Tglg", "TAGBANWA": "Tagb", "TAI LE": "Tale", "TAI THAM": "Lana",
    "TAI VIET": "Tavt", "TAMIL": "Taml", "TELUGU": "Telu", "THAANA": "Thaa", "THAI": "Thai", "TIBETAN": "Tibt",
    "TIFINAGH": "Tfng", "VAI": "Vaii", "WANCHO": "Wcho", "YI": "Yiii",
}  # fmt: skip


def script_of(character: str) -> str:
    """The script of a letter or mark, Zyyy for other scripts, nothing for other characters."""
    category = unicodedata.category(character)
    if not (character.isalpha() or category in ("Mn", "Mc")):
        return ""
    words = unicodedata.name(character, "").split()
    found = PREFIXES.get(" ".join(words[:2])) or PREFIXES.get(words[0] if words else "")
    if found is None and character.isalpha() and category != "Lm":
        return "Zyyy"
    return found or ""


def main() -> None:
    """Write the table: codes by code point, 0 for none, else the place of the script in `names` plus 1."""
    scripts = [script_of(chr(code)) if not 0xD800 <= code < 0xE000 else "" for code in range(0x110000)]
    names = ["Zyyy", *sorted(set(PREFIXES.values()))]
    places = {"": 0} | {name: place for place, name in enumerate(names, 1)}
    codes = np.array([places[script] for script in scripts], np.uint8)
    np.savez_compressed(TARGET, codes=codes, names=np.array(names))
    print(f"{TARGET.name}: {len(names)} scripts, {np.count_nonzero(codes)} code points")


if __name__ == "__main__":
    assert unicodedata.unidata_version == "14.0.0", "make the table with Python 3.11"
    main()
