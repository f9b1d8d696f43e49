"""What is personal or secret by its form, whatever it is named: e-mail addresses and tokens."""

import re

_SHORTEST_TOKEN = 20
_SHORTEST_ONE_CASE_TOKEN = 32
# One character before the @ is enough; a first label of digits is a version (react@18.2.0), `@2x.` a picture's scale.
_EMAIL = re.compile(r"[^\s@/\\:?#&=;,<>\"()\[\]]@(?!\dx\.)(?=[^.\s@]*[^\W\d])(?:[\w-]+\.)+[^\W\d_]")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
_find_runs = re.compile(rf"[A-Za-z0-9_-]{{{_SHORTEST_TOKEN},}}").findall
# Ids of things: UUIDs, with hyphens, or without them if version and variant are those in common use (RFC 9562); and
# between hyphens what MongoDB makes (24 hexadecimal digits) and ULIDs (26 characters).
_ID = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![0-9a-z])(?:[0-9a-f]{12}[147][0-9a-f]{3}[89ab][0-9a-f]{15}|[0-9a-f]{24}|[0-9a-hjkmnp-tv-z]{26})(?![0-9a-z])",
    re.IGNORECASE,
)
_HEX = re.compile(r"[0-9a-f]{32,}", re.IGNORECASE)
_DECIMAL = re.compile(r"\d+")
# What people write in one go: a word with or without a capital, an abbreviation, a number.
_find_words = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+").findall
# Characters a word. Random text of both cases and digits has 1.9 on average, and less than these in 92 to 98 % of all
# cases; names such as iPhone15ProMax256GBBlack have 2.7 and more.
_WORD_CHARS = 2.6
_WORD_CHARS_LONG = 2.7
_WORD_CHARS_ONE_CASE = 3.4
_HYPHENS_SHARE = 8  # a slug has more than one hyphen or underscore in so many characters; random text has fewer


def is_personal(text: str) -> bool:
    """Tell whether a text, unescaped, holds an e-mail address, a JSON Web Token or a long random string."""
    if "@" in text and _EMAIL.search(text):
        return True
    if len(text) < _SHORTEST_TOKEN:
        return False
    return ("eyJ" in text and _JWT.search(text) is not None) or any(map(_is_random, _find_runs(text)))


def _is_random(run: str) -> bool:
    """Tell whether a run of letters, digits, hyphens and underscores is a token and neither a slug nor an id.

    Apart from ids of things, tokens are 32 and more hexadecimal digits; 20 and more characters with capitals, small
    letters and digits; 32 and more with digits and letters of one case. In the last two, the run changes between
    kinds of characters as often as chance does.
    """
    run = _ID.sub("", run)
    core = run.replace("-", "").replace("_", "")
    chars = len(core)
    if len(run) < _SHORTEST_TOKEN or not core or core.isdigit() or core.isalpha():
        return False
    if any(not _DECIMAL.fullmatch(found) and not found.isalpha() for found in _HEX.findall(run)):
        return True
    if (len(run) - chars) * _HYPHENS_SHARE > len(run):
        return False
    is_long = chars >= _SHORTEST_ONE_CASE_TOKEN
    if core.islower() or core.isupper():
        return is_long and chars < _WORD_CHARS_ONE_CASE * len(_find_words(core))
    return chars < (_WORD_CHARS_LONG if is_long else _WORD_CHARS) * len(_find_words(core))
