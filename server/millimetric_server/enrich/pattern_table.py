"""Tables `name -> patterns` from the data files, compiled into one matcher on ua-parser's Rust regex set."""

from collections.abc import Callable, Iterable, Mapping

from ua_parser_rs import UserAgentExtractor


def compile_patterns(table: Mapping[str, Iterable[str]], *, ignore_case: bool = False) -> Callable[[str], str]:
    """A function from text to the name of the first pattern found in it, or ''.

    The extractor is made for browser families, but what it does is general: it tests a thousand patterns in
    about 2 µs by filtering on their literals first. Patterns are Rust `regex` syntax; a name is taken
    literally as long as it has no `$`. The function refuses (UnicodeEncodeError) text with lone surrogates.
    """
    flags = "(?i)" if ignore_case else ""
    extract = UserAgentExtractor(
        (flags + pattern, name, None, None, None, None) for name, patterns in table.items() for pattern in patterns
    ).extract

    def find_name(text: str) -> str:
        match = extract(text)
        return match.family if match else ""

    return find_name


def invert_table(table: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """`{name: [alias, …]}` turned into `{alias: name}`."""
    return {alias: name for name, aliases in table.items() for alias in aliases}
