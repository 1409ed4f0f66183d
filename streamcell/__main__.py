"""``python -m streamcell``: the command line."""

import sys

from streamcell.cli import main

if __name__ == "__main__":
    sys.exit(main())
