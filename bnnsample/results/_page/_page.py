"""The page: the verdict first, then the numbers, figures and settings behind it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bnnsample._memory_plan import shown_bytes
from bnnsample._record import RunRecord
from bnnsample.results._json import to_json
from bnnsample.results._page._html import (
    document,
    escaped,
    facts,
    image,
    paragraph,
    section,
    table,
)
from bnnsample.results._page._predictions import predictions
from bnnsample.results._page._theory import theory_section
from bnnsample.results._plots._chains import ess, rank, trace
from bnnsample.results._statements import (
    FUNCTION_SPACE,
    PERMUTATION,
    WEIGHT_SPACE,
    evaluations,
    header,
    sampler,
    sizes,
    verdict,
    width_of,
)

# Of a setting, so many characters: a noise scale may be given for every data point.
LONGEST = 400
_CHAINS = {
    trace: "Chains should look alike, and like noise without a drift.",
    rank: "Ranks are uniform, up to noise, where chains sample one distribution.",
    ess: "Effective draws should grow in proportion to the draws.",
}


def page(record: RunRecord, diagnostics: pd.DataFrame, created_at: str) -> str:
    """One HTML document with all figures in it."""
    settings = record.settings
    title = f"{_model_name(settings)}, {width_of(settings)}"
    body = [
        "<main>",
        f"<h1>{escaped(title)}</h1>",
        facts(_facts(record)),
        _verdict(record, diagnostics),
        *_tables(record, diagnostics),
        section("Sampler", facts(sampler(record))),
        section("Chains", *(image(draw(record), text) for draw, text in _CHAINS.items())),
        section("Predictions", image(*predictions(record))),
        theory_section(record),
        section("Settings", facts(_plain(settings, without=("versions", "memory")))),
        section("Versions", facts(_plain(settings.get("versions") or {}))),
        section("Memory", *_memory(settings.get("memory"))),
        "</main>",
        f"<footer>Sampled {escaped(created_at)}. The text of this page is result.report(), its "
        "draws are result.idata.</footer>",
    ]
    return document(f"{title}: bnnsample", body)


def _model_name(settings: Mapping[str, Any]) -> str:
    return str((settings.get("model") or {}).get("name", "a model"))


def _facts(record: RunRecord) -> Iterator[tuple[str, object]]:
    settings = record.settings
    description = {k: v for k, v in (settings.get("model") or {}).items() if k != "name"}
    arguments = ", ".join(f"{name} = {_shown(value)}" for name, value in description.items())
    yield "model", f"{_model_name(settings)}{f': {arguments}' if arguments else ''}"
    yield "likelihood", settings.get("likelihood")
    inputs = " x ".join(map(str, record.x.shape[1:]))
    yield (
        "data",
        f"{len(record.x):,} points, inputs of size {inputs}, targets of size {record.y.shape[1]}; "
        f"evaluated at {len(record.x_eval):,}",
    )
    yield "kernel", settings.get("kernel")
    yield "coordinates", settings.get("coordinates")
    yield "run", "; ".join(header(record))


def _verdict(record: RunRecord, diagnostics: pd.DataFrame) -> str:
    opening, found = verdict(record, diagnostics)
    kind = "good"
    if found:
        kind = "not-yet" if any(finding.is_serious for finding in found) else "usable"
    items = [
        f'<li class="{"serious" if finding.is_serious else "minor"}">{escaped(finding.text)}</li>'
        for finding in found
    ]
    listed = ["<ul>", *items, "</ul>"] if items else []
    return "\n".join(
        [
            f'<section class="verdict {kind}" aria-label="Verdict">',
            paragraph(opening, "opening"),
            *listed,
            "</section>",
        ]
    )


def _tables(record: RunRecord, diagnostics: pd.DataFrame) -> Iterator[str]:
    columns = (
        "",
        "bulk ESS, median",
        "bulk ESS, min",
        "tail ESS, min",
        "R-hat, max",
        f"ESS per {evaluations(record)}",
        "ESS per second",
    )
    for title, groups, note in (
        ("Function space: what predictions depend on", FUNCTION_SPACE, ""),
        ("Weight space", WEIGHT_SPACE, PERMUTATION),
    ):
        rows = sizes(diagnostics, groups)
        if rows:
            after = [paragraph(note, "note")] if note else []
            yield section(title, table(columns, rows), *after)


def _plain(values: Mapping[str, Any], without: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if name not in without:
            yield name, _shown(value)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _memory(memory: Mapping[str, Any] | None) -> Iterator[str]:
    """The plan that the run was made by."""
    if not memory:
        yield paragraph("Not recorded.", "note")
        return
    rows = [("parameters kept", shown_bytes(memory["kept"]))]
    for group, of in (("draws", "draws of"), ("host", "host:"), ("device", "device:")):
        rows += [(f"{of} {name}", shown_bytes(size)) for name, size in memory[group].items()]
    yield facts(rows)
