"""Pages of the documentation as blocks: the code, and what it says the code prints.

A ``text`` block that follows a ``python`` block, with nothing but a comment between them, is what
that one prints: to the letter, or as the comment says: ``<!-- numbers within 10% -->``, by which
they, and a unit of their last digit, may differ, or ``<!-- words alone -->``.
"""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s*(?:<!-- (?P<rule>.*?) -->\s*)?")
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """Code, the line of the page it starts at, what it prints and how that is compared."""

    code: str
    line: int
    printed: str | None
    rule: str


def blocks_of(page: Path) -> list[Block]:
    """The Python blocks of a page, in order."""
    text = page.read_text()
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, after in itertools.zip_longest(fences, fences[1:]):
        if fence[1] != "python":
            continue
        printed, rule = None, ""
        if after is not None and after[1] == "text":
            between = COMMENT.fullmatch(text[fence.end() : after.start()])
            if between is not None:
                printed, rule = after[2], between["rule"] or ""
        line = text.count("\n", 0, fence.start(2)) + 1
        blocks.append(Block(fence[2], line, printed, rule))
    return blocks


def difference(block: Block, printed: str) -> str | None:
    """What differs between what a block printed and what its page says; None: nothing does."""
    expected = (block.printed or "").split("\n")
    found = printed.split("\n")
    while found and not found[-1].strip():
        found.pop()
    while expected and not expected[-1].strip():
        expected.pop()
    if len(found) != len(expected):
        return f"{len(found)} lines, where the page has {len(expected)}"
    for ours, theirs in zip(expected, found, strict=True):
        if not _agree(ours.rstrip(), theirs.rstrip(), block.rule):
            return f"{theirs!r}, where the page has {ours!r}"
    return None


def _agree(expected: str, found: str, rule: str) -> bool:
    if not rule:
        return expected == found
    words = [re.split(r"\s+", NUMBER.sub("#", line)) for line in (expected, found)]
    if words[0] != words[1]:
        return False
    if rule == "words alone":
        return True
    within = re.fullmatch(r"numbers within ([\d.]+)%", rule)
    assert within is not None, f"unknown rule {rule!r}"
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(found), strict=True)
    return all(_close(a, b, float(within[1]) / 100) for a, b in pairs)


def _close(expected: str, found: str, share: float) -> bool:
    a, b = (float(number.replace(",", "")) for number in (expected, found))
    mantissa, _, exponent = expected.partition("e")
    last_digit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(a - b) <= share * max(abs(a), abs(b)) + 1.001 * last_digit
