"""`python -m core.sample FOLDER`: make the sample with its defaults."""

import sys
from pathlib import Path

from core.sample.generate import generate_sample

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m core.sample FOLDER")
    print(generate_sample(Path(sys.argv[1])).video)
