"""What makes the pages of the site, piece by piece, without Sphinx; and what the pages written by hand promise."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "pages"))

import docstrings  # noqa: E402
import executed  # noqa: E402
import flow  # noqa: E402
import notebooks  # noqa: E402
import recipes  # noqa: E402
import reference  # noqa: E402
import words  # noqa: E402

import mefit as mf  # noqa: E402

DOCS = ROOT / "docs"
KNOWN = {"workshop/00_start_here.ipynb", "exercises/02_exercises.ipynb", "docs/glossary.md", "start.md", "index.md"}


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize(
    "given, wanted",
    [
        ("[a](00_start_here.ipynb#Where-to-go-next)", "[a](00_start_here.ipynb#where-to-go-next)"),
        ("[a](../solutions/02_solutions.ipynb)", "[a](../exercises/02_exercises.ipynb)"),
        ("[a](../docs/glossary.md)", "[a](../docs/glossary.md)"),
        ("[a](../mefit/base/bfgs.py)", "a"),
        ("[a](../README.md#two-commands)", "[a](../start.md#two-commands)"),
        ("[a](../README.md#a-model-and-its-fit)", "[a](../index.md#a-model-and-its-fit)"),
        ("[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("[a](#3-A-part-%285-minutes%29)", "[a](#3-a-part-5-minutes)"),
    ],
)
def test_links_lead_to_pages_of_the_site_or_are_words(given, wanted):
    assert notebooks.relinked(given, "workshop", KNOWN) == wanted


def test_an_answer_waits_behind_a_click_and_the_task_stays():
    source = "x = 1\n### BEGIN SOLUTION\ny = 2\n### END SOLUTION"
    cells = [nbformat.v4.new_markdown_cell("# Exercises 02"), nbformat.v4.new_code_cell(source)]
    cells.append(nbformat.v4.new_markdown_cell("because", metadata={"tags": ["solution"]}))
    made = notebooks.exercises(nbformat.v4.new_notebook(cells=cells), "02_solutions.ipynb")
    title, task, answer, why = made.cells
    assert task.source == "x = 1\ny = ...  # your answer" and not task.metadata.get("tags")
    assert answer.source == "x = 1\ny = 2" and answer.metadata.tags == ["hide-input"]
    assert why.source.startswith("<details>") and "because" in why.source
    assert len({cell.id for cell in made.cells}) == 4


def test_every_exercise_is_a_page_whose_answers_are_folded():
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        worked = nbformat.read(path, as_version=4)
        made = notebooks.exercises(worked, path.name)
        open_code = "\n".join(c.source for c in made.cells if c.cell_type == "code" and not c.metadata.get("tags"))
        assert "BEGIN SOLUTION" not in "".join(cell.source for cell in made.cells), path.name
        assert "your answer" in open_code or "your code" in open_code or "..." in open_code, path.name


def test_pictures_go_into_files_and_widgets_away(tmp_path):
    output = nbformat.v4.new_output(
        "display_data",
        data={notebooks.WIDGET: {"model_id": "x"}, "text/html": '<img alt="a" src="data:image/png;base64,aGVsbG8=">'},
    )
    made = notebooks.without_widgets(output, tmp_path, "../")
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"hello"
    assert made["data"] == {"text/html": f'<img loading="lazy" alt="a" src="../_static/stills/{file.name}">'}


def test_docstrings_show_every_sign_and_list_their_arguments():
    text = "Sum of eta* and y_i <= 1:\n\n    C(t) = a*b\n\n"
    text += "Args:\n    ka, cl: scalars,\n        positive.\n\nReturns:\n    (n,)."
    made = docstrings.markdown(text)
    assert made.splitlines()[0] == r"Sum of eta\* and y\_i \<= 1:"
    assert "    C(t) = a*b" in made
    assert "- `ka, cl`: scalars,\n  positive." in made
    assert "**Returns**" in made and "(n,)." in made


def test_the_reference_has_every_public_name_once(tmp_path):
    pages = reference.public()
    names = [entry.name for entries in pages.values() for entry in entries]
    assert len(set(names)) == len(names)
    from types import ModuleType

    public = {f"mf.{n}" for n in dir(mf) if not n.startswith("_") and not isinstance(getattr(mf, n), ModuleType)}
    assert public <= set(names)
    assert {"mf.pk.oral_one_compartment", "mf.dynamics.solve", "mf.plots.vpc", "mf.dosing.find"} <= set(names)
    anchors = [entry.anchor for entries in pages.values() for entry in entries]
    assert len(set(anchors)) == len(anchors)
    assert [entry.name for entries in pages.values() for entry in entries if not entry.thing.__doc__] == []
    reference.write(tmp_path, executed.lessons())
    page = (tmp_path / "objectives.md").read_text(encoding="utf-8")
    assert "## `mf.Laplace`" in page and "(1/2) log|P|" in page
    assert "../workshop/03_approximating_the_marginal.ipynb" in page.split("## `mf.AGQ`")[1].split("## ")[0]


def test_the_flow_chart_asks_what_the_page_asks():
    page = (DOCS / "choosing.md").read_text(encoding="utf-8")
    chain = flow.steps(page)
    assert len(chain) == len(re.findall(r"^\d+\. ", page, re.M)) + 1
    assert chain[0].answer == "`EM()` on a `MixtureOfExperts`" and not chain[-1].question
    drawn = flow.drawing(chain)
    assert drawn.count("<rect") == 2 * len(chain) - 1 and drawn.count(">yes<") == len(chain) - 1
    for name in re.findall(r"`(\w+)\(", " ".join(step.answer for step in chain)):
        assert hasattr(mf, name), name


def constants():
    """All text of the library's code, pieces that Python joins joined."""
    found = []
    for path in (ROOT / "mefit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_what_the_kit_is_said_to_say_stands_in_its_code():
    page = (DOCS / "messages.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| “(.+?)” \|", page, re.M)
    assert len(quoted) > 20
    code = constants()
    pieces = [piece for quote in quoted for piece in quote.split("…")]
    assert [piece for piece in pieces if piece.strip() not in code] == []


def test_error_models_are_the_densities_that_the_page_says():
    import jax.numpy as jnp
    import numpyro.distributions as dist

    f = jnp.array([2.0, 5.0])
    a, b, c, s, sigma = 0.3, 0.1, 0.7, 0.2, 0.4
    made = {"dist": dist, "jnp": jnp, "f": f, "a": a, "b": b, "c": c, "s": s, "sigma": sigma}
    exec(blocks("errors")[0], made)
    y, f = np.array([2.3, 4.1]), np.array(f)
    wanted = {
        "additive": stats.norm.logpdf(y, f, sigma),
        "proportional": stats.norm.logpdf(y, f, b * f),
        "combined": stats.norm.logpdf(y, f, np.hypot(a, b * f)),
        "power": stats.norm.logpdf(y, f, b * f**c),
        "log_normal": stats.lognorm.logpdf(y, s, scale=f),
        "heavy_tails": stats.t.logpdf(y, 4, f, sigma),
    }
    for name, density in wanted.items():
        np.testing.assert_allclose(made[name].log_prob(y), density, rtol=1e-10)
    # The SD of the table is that of the density.
    sd = f * np.sqrt(np.exp(s**2) * (np.exp(s**2) - 1))
    np.testing.assert_allclose(stats.lognorm.std(s, scale=f), sd, rtol=1e-10)


def test_covariate_models_are_one_for_the_typical_person_and_say_what_they_say():
    import jax.numpy as jnp

    values = dict(theta=3.0, p=0.75, beta=0.02, age_50=40.0, h=2.0, jnp=jnp)
    typical = dict(values, weight=70.0, age=40.0, sex=0)
    exec(blocks("covariates")[0], typical)
    for name in ("power", "exponential", "linear", "category"):
        assert float(typical[name]) == 3.0
    assert float(typical["saturating"]) == 1.5  # half of the way at age_50
    other = dict(values, weight=35.0, age=50.0, sex=1)
    exec(blocks("covariates")[0], other)
    assert float(other["power"]) == pytest.approx(3.0 * 2**-0.75)
    assert float(other["exponential"]) == pytest.approx(3.0 * 1.2214027581601699)  # e^0.2
    assert float(other["category"]) == pytest.approx(3.0 * 1.02020134002675581)  # e^0.02


def test_a_recipe_is_cut_into_cells_that_give_the_page_again():
    for path in recipes.paths():
        made = recipes.notebook(path)
        kinds = [cell.cell_type for cell in made.cells]
        assert kinds[0] == "markdown" and made.cells[0].source.startswith("# "), path.name
        assert kinds.count("code") >= 1, path.name
        joined = "\n\n".join(
            f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source for cell in made.cells
        )
        assert joined == path.read_text(encoding="utf-8").strip(), path.name


def test_the_key_of_a_lesson_forgets_comments_and_keeps_code():
    assert executed.bare('"""A."""\nx = 1  # one\n') == executed.bare('"""B."""\n\nx = 1\n')
    assert executed.bare("x = 1\n") != executed.bare("x = 2\n")


def test_every_word_of_the_glossary_has_a_place_and_is_linked_where_it_stands_first():
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    known = words.words(page)
    rows = re.findall(r"^\| (?!word |---)", page.partition("\n## Words\n")[2], re.M)
    assert len(known) == len(rows) == len({word.anchor for word in known}) > 40
    placed = words.with_places(page)
    assert re.findall(r'<span id="([^"]+)"', placed) == [word.anchor for word in known]
    assert re.sub(r"<span[^>]*></span>", "", placed) == page  # and nothing else has changed
    text = "# Shrinkage\n\n`shrinkage`, $SAEM$ and [EM](x.md): Shrinkage of EBEs, shrinkage again, by EM. A gap."
    made, left = words.linked_text(text, known, "g.html")
    linked = re.findall(r'<a class="mefit-word" href="g.html#([^"]+)" title="[^"]+">([^<]+)</a>', made)
    assert sorted(linked) == [
        ("word-ebe", "EBEs"),
        ("word-em", "EM"),
        ("word-gap", "gap"),
        ("word-shrinkage", "Shrinkage"),
    ]
    assert made.startswith("# Shrinkage\n\n`shrinkage`, $SAEM$ and [EM](x.md): <a ")
    assert len(left) == len(known) - 4
    (gap,) = [word for word in known if word.names == ("gap",)]
    assert gap.suits("10") and not gap.suits("02")  # everyday English, where it is not the subject


def test_lessons_lead_to_the_glossary():
    known = words.words((DOCS / "glossary.md").read_text(encoding="utf-8"))
    for number, path in executed.lessons().items():
        lesson = nbformat.read(path, as_version=4)
        made = words.linked(lesson, number, known, "../docs/glossary.html")
        assert "mefit-word" in "".join(cell.source for cell in made.cells), number
        code = [[cell.source for cell in one.cells if cell.cell_type == "code"] for one in (lesson, made)]
        assert code[0] == code[1]
