"""Make the picture of the README anew:  python tools/make_picture.py

It is the explorer of lesson 02 at rest, with two pixels for each.
"""

from pathlib import Path

from workshop import explorers

FILE = Path(__file__).resolve().parent.parent / "docs" / "eight_schools.png"


def main() -> None:
    """Write the file."""
    explorer = explorers.eight_schools()
    explorer.set(tau=3.0)
    FILE.write_bytes(explorer.png)
    print(f"written: {FILE.name}, {FILE.stat().st_size / 1000:.0f} kB; it says: {explorer.text}")


if __name__ == "__main__":
    main()
