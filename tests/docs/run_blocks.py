"""Runs the Python blocks of one page in a fresh interpreter: ``run_blocks.py PAGE OUT``.

Writes what each block printed, a list in JSON.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

from page_blocks import blocks_of


def main(page: Path, out: Path) -> None:
    namespace = {"__name__": "__main__"}
    printed = []
    for block in blocks_of(page):
        # Errors name the line of the page.
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            exec(code, namespace)
        printed.append(stream.getvalue())
        out.write_text(json.dumps(printed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
