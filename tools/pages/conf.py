"""Sphinx's settings for the site. The pages it reads are made by build_site.py, with what their code printed and drew.

Nothing is run here and nothing is fetched: MathJax comes from an installed package, and goes into the site.
"""

import os
from pathlib import Path

import mathjax_files
from docutils import nodes

HERE = Path(__file__).resolve().parent

project = "mefit"
author = "the mefit authors"
copyright = "the mefit authors"
version = release = os.environ.get("MEFIT_VERSION", "")
language = "en"
html_title = f"mefit {release}"

extensions = ["myst_nb", "sphinx_copybutton", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_block", "html_image"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("html", "text/html", 1), ("html", "image/png", 2)]
exclude_patterns = ["_parts"]
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_static_path = [os.environ["MEFIT_STATIC"]]
html_favicon = str(HERE / "icon.svg")
html_css_files = ["stage.css", "site.css"]
html_js_files = [("play.js", {"defer": "defer"})]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # a page that is opened as a file may not read other files
html_last_updated_fmt = None
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
mathjax_path = f"mathjax/{mathjax_files.SCRIPT}"
mathjax3_config = {"options": {"enableMenu": False}}


def tell_root(app, pagename, templatename, context, doctree):
    """A page says where the site begins, so that its explorers find their recordings."""
    up = context["pathto"]("", resource=True)
    context["metatags"] = context.get("metatags", "") + f'<script>window.mefitRoot = "{up}";</script>'


def scroll_tables(app, doctree, docname):
    """Tables can be scrolled by keyboard where they are wider than the window."""
    for table in doctree.findall(nodes.table):
        table["classes"].append("mefit-table")


def setup(app):
    """Join the site."""
    app.connect("html-page-context", tell_root)
    app.connect("doctree-resolved", scroll_tables)
    app.connect("build-finished", mathjax_files.copy)
