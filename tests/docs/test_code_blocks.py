"""The code of the documentation and the README runs as a reader has it, and prints what they say.

Every page is a fresh interpreter in an empty folder, without the strictness of these tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from page_blocks import FENCE, Block, blocks_of, difference

from bnnsample._command._config import read_config

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages that take more than 20 seconds of one core.
SLOW = {
    "README.md",
    "guides/classification.md",
    "guides/coordinates-and-kernels.md",
    "guides/kernels-and-theory.md",
    "guides/long-runs.md",
    "guides/reading-the-report.md",
    "guides/your-own-network.md",
    "index.md",
    "tutorial.md",
}
PAGES = {
    "README.md": ROOT / "README.md",
    **{page.relative_to(DOCS).as_posix(): page for page in sorted(DOCS.rglob("*.md"))},
}
SECONDS = 1200


def _pages():
    for name, page in PAGES.items():
        if blocks_of(page):
            marks = [pytest.mark.slow] if name in SLOW else []
            yield pytest.param(page, id=name, marks=marks)


@pytest.mark.parametrize("page", list(_pages()))
def test_page(page, request, tmp_path):
    out = tmp_path / "printed.json"
    (tmp_path / "cwd").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    if not request.node.get_closest_marker("slow"):
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_blocks.py")), str(page), str(out)],
        cwd=tmp_path / "cwd",
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    for block, printed in zip(blocks_of(page), json.loads(out.read_text()), strict=True):
        if block.printed is not None:
            found = difference(block, printed)
            assert found is None, f"line {block.line}: {found}"


@pytest.mark.parametrize("name", ["README.md", "guides/long-runs.md"])
def test_descriptions_of_runs(name, tmp_path):
    """Blocks of TOML describe runs that can be meant."""
    (tmp_path / "data.csv").write_text("a,b,y\n1,2,3\n4,5,7\n2,1,0\n")
    texts = [fence[2] for fence in FENCE.finditer(PAGES[name].read_text()) if fence[1] == "toml"]
    assert texts
    for text in texts:
        (tmp_path / "config.toml").write_text(text)
        config = read_config(tmp_path / "config.toml")
        assert config.arguments["width"] == 512
        assert config.likelihood is not None


def test_pages_exist():
    assert set(PAGES) >= SLOW


@pytest.mark.parametrize(
    ("expected", "found", "rule", "agree"),
    [
        ("a 1.00", "a 1.00", "", True),
        ("a 1.00", "a 1.01", "", False),
        ("a 1.00", "a 1.04", "numbers within 5%", True),
        ("a 1.00", "a 1.20", "numbers within 5%", False),
        ("a 1.00", "b 1.00", "numbers within 5%", False),
        ("2,000 draws", "2,050 draws", "numbers within 5%", True),
        ("1e-3 nats", "3e-3 nats", "numbers within 5%", False),
        ("a 1.00 s", "a  20.3 s", "words alone", True),
        ("a 1.00 s", "a 1.00 h", "words alone", False),
        ("a\nb", "a", "words alone", False),
    ],
)
def test_comparison(expected, found, rule, agree):
    assert (difference(Block("", 1, expected, rule), found + "\n") is None) == agree
