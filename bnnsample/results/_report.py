"""The verdict in plain words, for a terminal."""

import textwrap

import pandas as pd

from bnnsample._record import RunRecord
from bnnsample.results._statements import (
    FUNCTION_SPACE,
    PERMUTATION,
    WEIGHT_SPACE,
    evaluations,
    header,
    sampler,
    sizes,
    verdict,
)

WIDTH = 88


def report(record: RunRecord, table: pd.DataFrame) -> str:
    """The report as text of at most 88 columns; ``table`` is the diagnostics'."""
    sections = [
        "\n".join(header(record)),
        _table("Function space: what predictions depend on", table, FUNCTION_SPACE, record),
        _weight_space(table, record),
        _sampler(record),
        _verdict(record, table),
    ]
    return "\n\n".join(section for section in sections if section)


def _table(title: str, table: pd.DataFrame, groups: tuple[str, ...], record: RunRecord) -> str:
    found = sizes(table, groups)
    if not found:
        return ""
    per = f"per {evaluations(record)}"
    rows = [
        title,
        f"  {'':<24}{'bulk ESS':>17}{'tail ESS':>10}{'R-hat':>8}{'ESS':>16}{'ESS':>11}",
        f"  {'':<24}{'median':>9}{'min':>8}{'min':>10}{'max':>8}{per:>16}{'per second':>11}",
    ]
    for row in found:
        rows.append(
            f"  {row.label:<24}{row.bulk_median:>9}{row.bulk_min:>8}{row.tail_min:>10}"
            f"{row.r_hat:>8}{row.per_evaluation:>16}{row.per_second:>11}"
        )
    return "\n".join(rows)


def _weight_space(table: pd.DataFrame, record: RunRecord) -> str:
    section = _table("Weight space", table, WEIGHT_SPACE, record)
    if "hidden_weights" not in table.index:
        return section
    return f"{section}\n{_wrap(PERMUTATION, '  ')}"


def _sampler(record: RunRecord) -> str:
    return "\n".join(["Sampler", *(f"  {label:<24}{text}" for label, text in sampler(record))])


def _verdict(record: RunRecord, table: pd.DataFrame) -> str:
    opening, found = verdict(record, table)
    return "\n".join([_wrap(opening), *(_wrap(f.text, "  - ", "    ") for f in found)])


def _wrap(text: str, first: str = "", rest: str | None = None) -> str:
    later = first if rest is None else rest
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=later)
