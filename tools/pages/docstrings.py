"""Docstrings as Markdown: formulas stay as they are written, and lists of arguments become lists."""

import re
import textwrap

SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields):\s*$")
ITEM = re.compile(r"^(\*{0,2}[\w., *]+): (.*)$")
CODE = re.compile(r"(`[^`]*`|\*\*[^*\n]+\*\*)")
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
        else:
            out.append(escaped(line))
    return "\n".join(out).strip()


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
    """A line whose signs mean themselves, except in code and in bold."""
    parts = CODE.split(line)
    for k in range(0, len(parts), 2):
        indent = len(parts[k]) - len(parts[k].lstrip()) if k == 0 else 0
        head, rest = parts[k][:indent], parts[k][indent:]
        bullet = re.match(r"^[-*] ", rest) if k == 0 else None
        kept = bullet[0] if bullet else ""
        parts[k] = head + kept + SIGNS.sub(r"\\\1", rest[len(kept) :])
    return "".join(parts)
