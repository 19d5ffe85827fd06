"""Patterns with one wildcard: `*` stands for any run of characters, none included."""


def matches(pattern: str, value: str) -> bool:
    """Whether `value` is one that `pattern` stands for.

    Each part is looked for from the left, which for this wildcard is enough: the time grows
    with the lengths, whatever the pattern, where a regular expression could be made to stall.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == value
    *middle, last = rest
    if len(value) < len(first) + len(last) or not (value.startswith(first) and value.endswith(last)):
        return False
    position, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def any_matches(patterns: tuple[str, ...], value: str) -> bool:
    """Whether one of `patterns` stands for `value`."""
    return any(matches(pattern, value) for pattern in patterns)
