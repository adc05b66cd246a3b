"""The text rules in plain Python: what their kernels are compared with."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from statistics import mean, median

from curate.kernels import lines as line_rules
from curate.kernels import token_rules as kinds
from curate.kernels import tokens as made
from curate.kernels import utf8

APOSTROPHES = "'’"
QUOTES = "\"'`«´»‘’‚“”„"
HYPHENS = "-–—~"
SHORT_FORMS = set(made.SHORT_FORMS.split())
UNITS = set(made.UNITS.split())
LABEL = r"[A-Za-z0-9\u00a1-\uffff]"
HOST = re.compile(
    rf"(?:{LABEL}(?:[A-Za-z0-9\u00a1-\uffff_-]*{LABEL})?\.)+[a-z]{{2,63}}(?::[0-9]{{2,5}})?(?:[/?#].*)?", re.S
)
CONTRACTION = re.compile(r"([A-Za-z]+)(n['’]t|['’](?:ll|ve|re|d|m))")
CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
COUNTER = re.compile(rf"(?=[0-9,.]*[0-9])[0-9,.]+[kKmMbB]? *(?:{'|'.join(line_rules.COUNTED.split())})", re.I | re.A)


def has(char: str, bit: int) -> bool:
    return bool(int(made.bits()[ord(char)]) & bit)


def letter(char: str) -> bool:
    return has(char, utf8.LETTER)


def digit(char: str) -> bool:
    return "0" <= char <= "9"


def small(char: str) -> bool:
    return letter(char) and not has(char, kinds.UPPER)


def capital(char: str) -> bool:
    return letter(char) and not has(char, kinds.LOWER)


# --- tokens -----------------------------------------------------------------------------------------------------------


def chunks(text: str) -> list[str]:
    """Runs between white space; in scripts written without spaces a letter and its marks."""
    found: list[str] = []
    joins = "none"
    for char in text:
        if has(char, utf8.SPACE):
            joins = "none"
        elif has(char, utf8.UNSPACED):
            found.append(char)
            joins = "marks"
        elif joins == "all" or (joins == "marks" and has(char, utf8.MARK)):
            found[-1] += char
        else:
            found.append(char)
            joins = "all"
    return found


def contraction(chunk: str) -> int | None:
    found = CONTRACTION.fullmatch(chunk) if len(chunk) <= kinds.MOST_SPECIAL else None
    return found.end(1) if found else None


def special(chunk: str) -> bool:
    if chunk.endswith("."):
        return (len(chunk) == 2 and letter(chunk[0])) or (
            len(chunk) > 2 and chunk.isascii() and chunk.lower() in SHORT_FORMS
        )
    return contraction(chunk) is not None


def first_mark(chunk: str) -> int:
    if has(chunk[0], kinds.FIRST) or (chunk[0] == "+" and not (len(chunk) > 1 and digit(chunk[1]))):
        return 1
    dots = len(chunk) - len(chunk.lstrip("."))
    return dots if dots > 1 else 0


def last_mark(chunk: str) -> int:
    last, before = chunk[-1], chunk[-2:-1]
    if last == ".":
        dots = len(chunk) - len(chunk.rstrip("."))
        if dots > 1 or not before:
            return dots if dots > 1 else 0
        ends = digit(before) or small(before) or before in "%+-²" or has(before, kinds.LAST)
        return int(ends or (len(chunk) > 2 and capital(before) and capital(chunk[-3])))
    if last in "sS" and before and before in APOSTROPHES:
        return 2
    if has(last, kinds.LAST) or (before and digit(before) and last in "+%$£€"):
        return 1
    for size in range(1, 5):
        if chunk[-size:] in UNITS and size < len(chunk) and digit(chunk[-size - 1]):
            return size
    return 0


def inner_mark(chunk: str, at: int) -> int:
    char = chunk[at]
    if has(char, utf8.WORD):
        return 0
    if chunk[at : at + 2] == "..":
        return len(chunk) - at - len(chunk[at:].lstrip("."))
    if char == "…" or has(char, kinds.ICON):
        return 1
    if at == 0 or at + 1 == len(chunk):
        return 0
    before, after = chunk[at - 1], chunk[at + 1]
    if char in "+-*^" and digit(before) and (digit(after) or after == "-"):
        return 1
    if char == ".":
        return int((small(before) or before in QUOTES) and (capital(after) or after in QUOTES))
    if char == ",":
        return int(letter(before) and letter(after))
    if not (letter(before) or digit(before)):
        return 0
    if char in HYPHENS:
        size = 1
        while size < 3 and chunk[at + size : at + size + 1] == char:
            size += 1
        return size if at + size < len(chunk) and letter(chunk[at + size]) else 0
    return int(char in ":<>=/" and letter(after))


def is_address(chunk: str) -> bool:
    size = 0
    while size < len(chunk) and (has(chunk[size], utf8.WORD) or chunk[size] in "+-."):
        size += 1
    rest = chunk[size + 3 :] if size >= 2 and chunk[size : size + 3] == "://" else chunk
    if HOST.fullmatch(rest):
        return True
    user, _, host = rest.partition("@")
    return bool(user and HOST.fullmatch(host))


def split(chunk: str) -> list[str]:
    """The tokens of a chunk."""
    if any(has(char, utf8.UNSPACED) for char in chunk):
        return [chunk]
    first: list[str] = []
    last: list[str] = []
    while chunk and not special(chunk):
        if size := first_mark(chunk):
            first, chunk = [*first, chunk[:size]], chunk[size:]
        elif size := last_mark(chunk):
            last, chunk = [chunk[-size:], *last], chunk[:-size]
        else:
            break
    if not chunk:
        return first + last
    if special(chunk):
        cut = contraction(chunk) or 0
        return [*first, *([chunk[:cut], chunk[cut:]] if cut else [chunk]), *last]
    if is_address(chunk):
        return [*first, chunk, *last]
    cuts, at = {0, len(chunk)}, 0
    while at < len(chunk):
        size = inner_mark(chunk, at)
        cuts |= {at, at + size} if size else set()
        at += size or 1
    return [*first, *(chunk[start:end] for start, end in pairwise(sorted(cuts))), *last]


def tokens(text: str, plain: bool = False) -> list[str]:
    return [token for chunk in chunks(text) for token in ([chunk] if plain else split(chunk))]


def flags(token: str) -> int:
    found = made.IS_WORD if not all(has(char, kinds.SYMBOL) for char in token) else 0
    found |= made.HAS_LETTER if any(map(letter, token)) else 0
    found |= made.IS_PUNCTUATION if all(has(char, kinds.PUNCTUATION) for char in token) else 0
    return found | (made.IS_TERMINAL if len(token) == 1 and has(token, kinds.TERMINAL) else 0)


# --- repetition -------------------------------------------------------------------------------------------------------


def copies(parts: list[str], every: bool) -> tuple[int, int]:
    """How many parts are copies, and their characters; with `every`, the first copy too."""
    counts = Counter(parts)
    times = {part: count if every else count - 1 for part, count in counts.items() if count > 1}
    return sum(times.values()), sum(len(part) * count for part, count in times.items())


def duplicated(words: list[str], n: int, way: str, whole: int) -> float:
    runs = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
    size = [sum(map(len, run)) for run in runs]
    counts = Counter(runs)
    if way == "dolma":
        return sum(chars for run, chars in zip(runs, size, strict=True) if counts[run] > 1) / max(sum(size), 1)
    if way == "paper":
        inside = {place + k for place, run in enumerate(runs) if counts[run] > 1 for k in range(n)}
        return sum(len(words[place]) for place in inside) / whole
    met: set[tuple[str, ...]] = set()
    at = chars = 0
    while at < len(runs):
        if runs[at] in met:
            chars += size[at]
            at += n
        else:
            met.add(runs[at])
            at += 1
    return chars / whole


def repetition(text: str, way: str = "fineweb") -> list[float]:
    if not text:
        return [0.0] * 13
    words = tokens(text, way != "fineweb")
    whole = max(len(text) if way == "fineweb" else sum(map(len, words)), 1)
    lines = text.split("\n") if way == "dolma" else re.split("\n+", text)
    paragraphs = [] if way == "dolma" else re.split("\n{2,}", text.strip())
    of_lines, of_paragraphs = copies(lines, way == "dolma"), copies(paragraphs, False)
    found = [
        of_lines[0] / len(lines),
        of_paragraphs[0] / max(len(paragraphs), 1),
        of_lines[1] / whole,
        of_paragraphs[1] / whole,
    ]
    for n in (2, 3, 4):
        runs = Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1))
        top, count = runs.most_common(1)[0] if runs else ((), 0)
        found.append(count * (sum(map(len, top)) + (n - 1 if way == "fineweb" else 0)) / whole)
    return found + [duplicated(words, n, way, whole) for n in range(5, 11)]


# --- quality ----------------------------------------------------------------------------------------------------------


def quality(text: str, stops: list[str], way: str = "fineweb") -> list[float]:
    every = tokens(text, way != "fineweb")
    words = [token for token in every if way != "fineweb" or flags(token) & made.IS_WORD]
    sizes = [len(word) for word in words]
    count = max(len(every), 1)
    stop_count = sum(token in stops for token in every) if way == "dolma" else len(set(every) & set(stops))
    lines = text.split("\n") if way == "dolma" else text.splitlines()
    if way == "dolma":
        chars = (median(sizes) if sizes else 0, sum("#" in word or "…" in word for word in text.split()) / count, 0)
        bullets = [line.startswith(("*", "-")) for line in lines]
        trailing = [line.endswith("…") for line in lines]
    else:
        dots = text.count("...") + text.count("…")
        chars = (mean(sizes) if sizes else 0, text.count("#") / count, dots / count)
        bullets = [line.lstrip().startswith(("•", "-")) for line in lines]
        trailing = [line.rstrip().endswith(("...", "…")) for line in lines]
    shares = [sum(bullets) / max(len(lines), 1), sum(trailing) / max(len(lines), 1)]
    letters = sum(any(map(letter, token)) for token in every) / count
    return [len(words), *chars, *shares, letters, stop_count]


def lines(text: str, max_short: int = 30) -> list[float]:
    every = [line for line in text.split("\n") if line.strip()]
    count = max(len(every), 1)
    return [
        sum(has(line[-1], kinds.TERMINAL) for line in every) / count,
        sum(len(line) <= max_short for line in every) / count,
        copies(every, False)[1] / max(len(text.replace("\n", "")), 1),
        text.count("\n") / max(len(tokens(text)), 1),
    ]


# --- line rules -------------------------------------------------------------------------------------------------------


def lowered(text: str) -> str:
    return re.sub("[A-Z]", lambda found: found[0].lower(), text)


def c4(text: str, *, max_word_chars: int, min_words: int, end_marks: str) -> tuple[str, dict[str, int]]:
    """What stays of a text, and the lines that each rule takes."""
    kept, counts = [], dict.fromkeys(line_rules.C4, 0)
    for line in map(str.strip, text.splitlines()):
        counts["lines"] += 1
        words = line.split()
        pieces = [piece for piece in CITATION.split(line) if piece] or [""]
        low = lowered(line)
        counts_here = {
            "long_word": any(len(word) > max_word_chars for word in words),
            "end_mark": bool(end_marks) and (not pieces[-1].endswith(tuple(end_marks)) or pieces[-1].endswith("...")),
            "few_words": len(words) < min_words,
        }
        reason = next((name for name, found in counts_here.items() if found), None)
        if reason is None:
            counts["lorem_ipsum"] += "lorem ipsum" in low
            if "javascript" in low:
                reason = "javascript"
            else:
                counts["curly_bracket"] += "{" in line
                reason = "policy" if any(phrase in low for phrase in line_rules.POLICIES) else None
        if reason is None:
            kept.append("".join(pieces))
        else:
            counts[reason] += 1
    return "\n".join(kept), counts


def sentences(text: str) -> int:
    count = 0
    for line in text.split("\n"):
        ended = False
        for place, token in enumerate(tokens(line)):
            known = flags(token)
            if place == 0:
                count, ended = count + 1, False
            if known & made.IS_TERMINAL:
                ended = True
            elif ended and not known & made.IS_PUNCTUATION:
                count, ended = count + 1, False
    return count


def refinedweb(text: str, max_upper: float, min_words: int) -> tuple[str, list[int]]:
    """What stays of a text; its words, removed words and removed lines."""
    kept, total, removed, dropped = [], 0, 0, 0
    for line in text.split("\n"):
        words = len(line.split())
        total += words
        body = line.lstrip(" ").rstrip(" \r")
        ink = [char for char in line if not char.isspace()]
        numeric = all(has(char, utf8.WORD) and not letter(char) and char != "_" for char in ink)
        upper = sum(has(char, kinds.UPPER) for char in line)
        if ink and (numeric or words < min_words or upper > max_upper * len(line) or COUNTER.fullmatch(body)):
            removed += words
            dropped += 1
            continue
        begin, stop, lead = 0, len(line), len(line) - len(line.lstrip(" "))
        if 0 < words <= 10:
            low = lowered(line)
            if low.startswith(line_rules.SIGN_IN, lead):
                begin = lead + len(line_rules.SIGN_IN)
                removed += 1
            more = lead + len(body) - len(line_rules.MORE)
            if more >= begin and lowered(body).endswith(line_rules.MORE):
                stop = more
                removed += 2
            removed += 3 * low[begin:stop].count(line_rules.CART)
            line = "".join(re.split(line_rules.CART, line[begin:stop], flags=re.I | re.A))
        kept.append(line)
    return "\n".join(kept), [total, removed, dropped]
