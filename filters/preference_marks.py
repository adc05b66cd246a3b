"""What the surface of a response shows: its form, refusals, hedging, flattery, agreement. Patterns are our own.

Marks are named features of one response; `SURFACE` are numbers of it. English phrases only; form is of any language.
"""

from __future__ import annotations

import polars as pl

# Not x**2 + y**2, nor **options; __bold__ is left out, for it is __init__ far more often.
BOLD = r"\*\*[^\s*](?:[^*\n]*[^\s*])?\*\*(?:[^A-Za-z0-9_*(-]|\z)"
HELPING = (
    r"(?:help(?: (?:you|with|in|on|anyone|people)(?-u:\b)|\s*(?:[.,;:!?]|\z))|assist|answer|provide|do (?:that|this|it)"
    r"|support|recommend|advise|give (?:you|out|any|advice)|in good conscience|condone|encourage|engage in|participate"
    r"|discuss|share|fulfill|comply|tell you|create|generate|write|offer)"
)
FORMS = {
    "heading": r"(?m)^#{1,6} \S",
    "list": r"(?m)^\s*(?:[-*+•]|\d{1,3}[.)]) \S",
    "bold": BOLD,
    "code": "```",
    "emoji": r"[\u{1F300}-\u{1FAFF}\u{2600}-\u{27BF}\u{1F1E6}-\u{1F1FF}]",
    "link": r"https?://|\]\([^)\s]+\)",
}
PHRASES = {
    "refusal": (
        rf"(?i)(?-u:\b)(?:i (?:can['’]?t|cannot|can not|won['’]t|will not) (?:really |actually )?{HELPING}"
        r"|sorry,? (?:but )?i (?:can['’]?t|cannot|can not|won['’]t)\s*(?:[.,;!]|\z)"
        r"|(?:i(?:['’]m| am)|we(?:['’]re| are)) (?:unable|not (?:able|allowed|permitted|programmed)) to(?-u:\b)"
        r"|i(?:['’]m| am) not (?:comfortable(?-u:\b)|going to (?:be able to )?"
        r"(?:help|assist|answer|provide|do (?:that|this|it)|give|tell)(?-u:\b))"
        r"|i (?:must|have to) (?:respectfully )?(?:decline|refuse)|(?:that['’]s|that is) not something i can(?-u:\b))"
    ),
    "hedging": (
        r"(?i)(?-u:\b)(?:it depends|i(?:['’]m| am) not (?:quite |really |entirely )?(?:sure|certain)"
        r"|i don['’]t (?:really )?know|it(?:['’]s| is) hard to say|i could be wrong|i might be wrong"
        r"|as far as i know|it seems (?:like|that)|perhaps|possibly|i would guess|my guess"
        r"|generally speaking|may or may not)(?-u:\b)"
    ),
    "flattery": (
        r"(?i)\A\W*(?:(?:that(?:['’]s| is|['’]s such| is such)|what|this is) (?:a |an )?(?:really |very |truly |such )?"
        r"(?:great|good|excellent|wonderful|fantastic|amazing|brilliant|thoughtful|insightful|interesting|fascinating"
        r"|important) (?:question|point|idea|thought|observation|topic)|(?:great|good|excellent|wonderful|fantastic) "
        r"(?:question|point|idea|thinking)|i love (?:that|this|your)|you(?:['’]re| are) (?:so |very |really )?"
        r"(?:smart|wise|clever|brilliant|insightful))"
    ),
}
DISAGREES = r"(?i)\A\W*(?:absolutely|definitely|of course|certainly|exactly) not(?-u:\b)"
AGREES = (
    r"(?i)\A\W*(?:(?:yes|yeah|absolutely|definitely|exactly|of course)(?-u:\b)"
    r"|i (?:completely |totally |fully |do )?agree"
    r"|you(?:['’]re| are) (?:absolutely |completely |totally |quite )?right|that(?:['’]s| is) (?:right|true|correct))"
)
OPINION = (
    r"(?i)(?-u:\b)(?:i (?:really |strongly |personally )?(?:think|believe|feel|don['’]t think)"
    r"|in my (?:opinion|view)|imo(?-u:\b)|don['’]t you (?:think|agree)|if you ask me|i['’]m (?:sure|convinced|certain))"
)

# Counts of a response; how far those of chosen lie above those of rejected is what a shortcut can see.
SURFACE = (
    "log words", "log chars per word", "sentences", "lines", "list lines", "bold", "code", "emoji", "links", "digits",
    "question marks", "exclamation marks", "capitals share", "refusal", "hedging", "flattery", "agreement",
)  # fmt: skip


def marks(response: pl.Expr, prompt: pl.Expr) -> pl.Expr:
    """The marks of a response, sorted by kind; `agreement` only where the prompt states an opinion. Null for none."""
    found = [
        pl.when(response.str.contains(pattern)).then(pl.lit(name)) for name, pattern in {**FORMS, **PHRASES}.items()
    ]
    agrees = (
        response.str.contains(AGREES)
        & ~response.str.contains(DISAGREES)
        & prompt.str.contains(OPINION).fill_null(False)
    )
    found.append(pl.when(agrees).then(pl.lit("agreement")))
    return pl.when(response.is_not_null()).then(pl.concat_list(found).list.drop_nulls())


def surface(response: pl.Expr, marked: pl.Expr) -> list[pl.Expr]:
    """The numbers of `SURFACE`, in their order; counts as their logarithm, so that long texts do not outweigh all."""
    words = response.str.count_matches(r"\S+").cast(pl.Float64)
    chars = response.str.len_chars().cast(pl.Float64)

    def counted(pattern: str, literal: bool = False) -> pl.Expr:
        return (response.str.count_matches(pattern, literal=literal).cast(pl.Float64) + 1).log()

    return [
        (words + 1).log(),
        (chars + 1).log() - (words + 1).log(),
        counted(r"[.!?。！？](?:\s|\z)"),
        counted("\n", literal=True),
        counted(FORMS["list"]),
        counted(FORMS["bold"]),
        counted("```", literal=True),
        counted(FORMS["emoji"]),
        counted(FORMS["link"]),
        counted(r"\d"),
        counted("?", literal=True),
        counted("!", literal=True),
        response.str.count_matches(r"\p{Lu}") / chars.clip(lower_bound=1),
        *(marked.list.contains(name).cast(pl.Float64) for name in ("refusal", "hedging", "flattery", "agreement")),
    ]
