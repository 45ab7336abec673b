"""`python -m alignzoo`."""

import sys

from alignzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
