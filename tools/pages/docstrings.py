"""Docstrings as Markdown: formulas stay as they are written, and lists of arguments become lists."""

import re
import textwrap

SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields):\s*$")
ITEM = re.compile(r"^(\*{0,2}[\w., *]+): (.*)$")
CODE = re.compile(r"(`[^`]*`|\*\*[^*\n]+\*\*|(?<![\w*])\*(?=[^\s*])[^*\n]+(?<=\S)\*(?![\w*]))")
BULLET = re.compile(r"^ *[-*] ", re.MULTILINE)
SIGNS = re.compile(r"([*_<$\[\]~])")


def markdown(text: str) -> str:
    """A docstring, already without its indentation, as Markdown that shows every sign."""
    out: list[str] = []
    lines = text.splitlines()
    place = 0
    fenced = False
    while place < len(lines):
        line = lines[place]
        place += 1
        if line.startswith("```"):
            fenced = not fenced
        if fenced or line.startswith(("```", "    ")):
            out.append(line)
        elif found := SECTION.match(line):
            body = []
            while place < len(lines) and (lines[place].startswith("    ") or not lines[place].strip()):
                body.append(lines[place])
                place += 1
            out += ["", f"**{found[1].replace('Args', 'Arguments')}**", "", *listed(textwrap.dedent("\n".join(body)))]
        elif not line.strip():
            out.append("")
        else:
            paragraph = [line]  # as a whole, since code may run on from line to line
            while place < len(lines) and goes_on(lines[place]):
                paragraph.append(lines[place])
                place += 1
            out.append(escaped("\n".join(paragraph)))
    return "\n".join(out).strip()


def goes_on(line: str) -> bool:
    """Whether a line belongs to the paragraph before it."""
    return bool(line.strip()) and not line.startswith(("    ", "```")) and not SECTION.match(line)


def listed(body: str) -> list[str]:
    """The lines below `Args:` as a list; other words as they are."""
    out: list[str] = []
    for line in body.splitlines():
        found = ITEM.match(line)
        if found and not line.startswith(" "):
            out.append(f"- `{found[1]}`: {escaped(found[2])}")
        elif out and line.startswith(" ") and out[-1].startswith(("- ", "  ")):
            out.append("  " + escaped(line.strip()))
        else:
            out.append(escaped(line))
    return [*out, ""]


def escaped(line: str) -> str:
    """Lines whose signs mean themselves, except in code, in bold and in italics, and at the start of an item."""
    parts = CODE.split(line)
    for k in range(0, len(parts), 2):
        starts = [match.end() for match in BULLET.finditer(parts[k])] if k == 0 else []
        starts += [match.end() for match in BULLET.finditer(parts[k]) if k and match.start()]
        kept = [0, *starts, len(parts[k])]
        pieces = [parts[k][a:b] for a, b in zip(kept, kept[1:], strict=False)]
        parts[k] = "".join(_shown(piece) for piece in pieces)
    return "".join(parts)


def _shown(piece: str) -> str:
    """A piece of text with its signs escaped, but for a bullet at its end."""
    found = BULLET.search(piece)
    bullet = found[0] if found and found.end() == len(piece) else ""
    return SIGNS.sub(r"\\\1", piece.removesuffix(bullet)) + bullet
