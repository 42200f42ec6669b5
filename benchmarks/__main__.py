"""`python benchmarks` (or `make bench`): the engine against the literal way; --help says what can be chosen."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here.parent), str(here.parent / "tests" / "unit")]
    from run import main

    main()
