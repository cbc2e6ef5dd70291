"""`python -m spanloom` is the `spanloom` command."""

import sys

from spanloom.cli import main

if __name__ == "__main__":
    sys.exit(main())
