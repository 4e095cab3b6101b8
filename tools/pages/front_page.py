"""The landing page, with an explorer alive, the model of the README and the two commands; and how to install."""

import re
from pathlib import Path

from explorer_pages import Shown
from notebooks import pictures_in_files, relinked

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST = "eight_schools"
ROW = re.compile(r"^\| \[(\d\d\w?) ([^]]+)\]\(workshop/([^)]+)\) \| (\d+) \| (.*) \|$", re.MULTILINE)
INDEX = """---
html_theme.sidebar_secondary.remove: true
---
# mefit

People differ, and measurements are noisy. Mixed-effects models keep the two apart, and mefit teaches how, in notebooks
whose pictures you move by hand. It is a compact library, too: one model, written for one subject, goes unchanged to
FO, FOCE, Laplace, quadrature, SAEM, NUTS, networks and mixtures.

## Move it

{explorer}

Eight schools tried a coaching programme. Drag the ring on the left: the joint density climbs without end as the SD
between schools goes to 0, and the marginal likelihood levels off. [Lesson 02](workshop/02_joint_or_marginal.ipynb)
tells why; [here are all explorers](explorers/index.md).

## A model and its fit

{code}

It prints estimates with units and standard errors, the SD of each random effect with its shrinkage, −2LL, AIC and BIC.

## Two commands

{commands}

[More on installing](start.md).

## Lessons

{lessons}

```{{toctree}}
:hidden:
:caption: Begin

start
explorers/index
```

```{{toctree}}
:hidden:
:caption: Lessons

{lesson_names}
```

```{{toctree}}
:hidden:
:caption: Exercises

{exercise_names}
```

```{{toctree}}
:hidden:
:caption: Recipes

docs/recipes/index
```

```{{toctree}}
:hidden:
:caption: Look it up

reference/index
docs/choosing
docs/errors
docs/covariates
docs/messages
docs/glossary
docs/formulas
docs/translation
mefit/datasets/README
```

```{{toctree}}
:hidden:
:caption: For teachers

workshop/INSTRUCTOR
docs/class
docs/scale
docs/publish
workshop/cards/index
```
"""


def write(pages: Path, shown: list[Shown], files: set[str]) -> None:
    """`index.md`, `start.md`, and the list of cards."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [(number, title, name, minutes, aim) for number, title, name, minutes, aim in ROW.findall(readme)]
    table = ["| lesson | minutes | you will be able to |", "|---|---|---|"]
    table += [f"| [{n} {title}](workshop/{name}) | {minutes} | {aim} |" for n, title, name, minutes, aim in rows]
    exercises = sorted(name for name in files if name.startswith("exercises/"))
    text = INDEX.format(
        explorer=explorer(pages, shown),
        code=part(readme, "A model and its fit", r"```python\n.*?```"),
        commands=part(readme, "Two commands", r"```sh\n.*?```"),
        lessons="\n".join(table),
        lesson_names="\n".join(f"workshop/{name.removesuffix('.ipynb')}" for _, _, name, _, _ in rows),
        exercise_names="\n".join(name.removesuffix(".ipynb") for name in exercises),
    )
    (pages / "index.md").write_text(text, encoding="utf-8")
    sections = section(readme, "Two commands"), section(readme, "Other ways to get it running")
    start = relinked("# Install\n\n" + "\n".join(sections), "", files)
    (pages / "start.md").write_text(start, encoding="utf-8")
    names = sorted(name for name in files if name.startswith("workshop/cards/"))
    stems = "\n".join(Path(name).stem for name in names)
    cards = "# Cards of the lessons\n\nOne page for each lesson: what to say, move and see.\n\n"
    cards += f"```{{toctree}}\n\n{stems}\n```\n"
    (pages / "workshop" / "cards" / "index.md").write_text(cards, encoding="utf-8")


def explorer(pages: Path, shown: list[Shown]) -> str:
    """The explorer of the landing page; a link to the gallery where its lesson was not run."""
    for one in shown:
        if one.name == FIRST:
            page = pictures_in_files(one.page, pages / "_static" / "stills", "")
            return f"```{{raw}} html\n{page}\n```"
    return "[All explorers](explorers/index.md)"


def section(text: str, title: str) -> str:
    """A section of second order with its heading; ValueError where there is none."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"README.md has no section {title!r} any more: front_page.py takes its words from there.")
    return found[0]


def part(text: str, title: str, pattern: str) -> str:
    """The first code of a kind in a section."""
    found = re.search(pattern, section(text, title), re.DOTALL)
    if not found:
        raise ValueError(f"The section {title!r} of README.md has no code any more.")
    return found[0]
