"""``python -m bnnsample``; see ``python -m bnnsample --help``."""

import sys

from bnnsample._command import main

if __name__ == "__main__":
    sys.exit(main())
