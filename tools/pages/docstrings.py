"""Docstrings as Markdown: formulas stay as they are written, and lists of arguments become lists."""

import re
import textwrap

SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields):\s*$")
ITEM = re.compile(r"^(\*{0,2}[\w., *]+): (.*)$")
# What stays as it is (code, bold, italics, the bullet of an item), or else a sign of Markdown's.
KEPT = r"`[^`]*`|\*\*[^*\n]+\*\*|(?<![\w*])\*(?=[^\s*])[^*\n]+(?<=\S)\*(?![\w*])|^ *[-*] "
SIGNS = re.compile(rf"({KEPT})|([*_<$\[\]~])", re.MULTILINE)


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


def escaped(text: str) -> str:
    """Lines whose signs mean themselves, except in code, in bold and in italics, and at the start of an item."""
    return SIGNS.sub(lambda found: found[1] or f"\\{found[2]}", text)
