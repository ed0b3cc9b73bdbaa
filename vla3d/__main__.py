"""``python -m vla3d``."""

import sys

from vla3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
