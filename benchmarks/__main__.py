"""`python benchmarks` (or `make bench`): the engine against the literal way; --help says what can be chosen."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from benchmarks.run import main

    main()
