"""Pieces of HTML. All text that comes in is escaped; what comes out is markup."""

import base64
import html
import io
import warnings
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure
from matplotlib.text import Text

DOTS_PER_INCH = 110
CSS = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.2rem 3rem; color: #1a1a1a;
  background: #fff; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 1px solid #d8d8d8; }
p { margin: .5rem 0; }
.verdict { border-left: .35rem solid; border-radius: .2rem; padding: .6rem 1rem; }
.opening { font-size: 1.1rem; font-weight: 600; }
.good { border-color: #009e73; background: #eef8f4; }
.usable { border-color: #e69f00; background: #fdf6e8; }
.not-yet { border-color: #c1440e; background: #fcefe9; }
.serious { font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
thead th { border-bottom: 1px solid #999; font-size: .88rem; vertical-align: bottom; }
tbody th { font-weight: 400; color: #444; white-space: nowrap; }
.numbers th + th, .numbers td { text-align: right; padding: .25rem .6rem;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers thead th { min-width: 4.5em; white-space: normal; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: .92rem; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem; font-size: .85rem; line-height: 1.35; }
footer { margin-top: 2.5rem; color: #555; font-size: .88rem; }
@media print { body { max-width: none; } figure, table { break-inside: avoid; } }
"""


def escaped(text: object) -> str:
    """As text or as the value of an attribute."""
    return html.escape(str(text), quote=True)


def document(title: str, body: Iterable[str]) -> str:
    """A whole page around markup."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(title)}</title>",
            f"<style>{CSS}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def section(title: str, *content: str) -> str:
    return "\n".join(["<section>", f"<h2>{escaped(title)}</h2>", *content, "</section>"])


def paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escaped(text)}</p>"


def preformatted(text: str) -> str:
    return f"<pre>{escaped(text)}</pre>"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names and what they stand for."""
    return table((), rows, "facts")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "numbers") -> str:
    """Rows whose first cell is their heading."""
    head = "".join(f'<th scope="col">{escaped(column)}</th>' for column in columns)
    lines = [f'<div class="scroll"><table class="{kind}">']
    if columns:
        lines.append(f"<thead><tr>{head}</tr></thead>")
    lines.append("<tbody>")
    for first, *rest in rows:
        cells = "".join(f"<td>{escaped(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escaped(first)}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table></div>"])


def image(figure: Figure, description: str) -> str:
    """A figure inside the page, with its description below."""
    data = base64.b64encode(png(figure)).decode("ascii")
    width, height = (round(inches * DOTS_PER_INCH) for inches in figure.get_size_inches())
    text = escaped(description)
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{text}">\n<figcaption>{text}</figcaption></figure>'
    )


def png(figure: Figure) -> bytes:
    """The figure's pixels. Names in it are the user's: a dollar sign is no mathematics."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Names may have letters that the font lacks; a box stands for them.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return file.getvalue()
