"""The report of a fit: what it holds, what it calls weak, and how it stands in a browser and on paper."""

import html.parser
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from models import theophylline_model

import mefit as mf
from mefit.base import stopping
from mefit.diagnosis.vpc import VPC
from mefit.inference.influence import Influence
from mefit.reports import parts, report
from mefit.reports import weak_points as weak
from mefit.reports.parts import attempted

CHROMIUM = os.environ.get("MEFIT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
TITLES = [
    "Estimates",
    "Visual predictive check",
    "Goodness of fit",
    "NPDE",
    "Individual fits",
    "Random effects and covariates",
    "Influence of single subjects",
    "Convergence",
    "Model and method",
    "Data",
    "What was tried",
    "Versions, seeds and data",
]


class Page(html.parser.HTMLParser):
    """Headings, pictures, and what a page points to."""

    def __init__(self, text):
        super().__init__()
        self.headings = []
        self.pictures = []
        self.addresses = []
        self.ids = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self._in = tag
        self.ids += [given["id"]] if "id" in given else []
        if tag == "img":
            self.pictures.append(given)
        self.addresses += [given[name] for name in ("src", "href") if name in given]

    def handle_data(self, data):
        if self._in == "h2" and data.strip():
            self.headings.append(data)


@pytest.fixture(scope="module")
def written(fitted, tmp_path_factory):
    """The report of theophylline, beside a fit that was stopped early; and the weak points."""
    fit = fitted(mf.Laplace())
    early = mf.Laplace(optimiser=mf.BFGS(max_iterations=2))
    stopped = mf.fit(theophylline_model(), fit.population, early, progress=False)
    path = tmp_path_factory.mktemp("report") / "report.html"
    said = mf.report(fit, path, compared={"stopped early": stopped}, samples=200, progress=False)
    return path, said


def test_a_report_has_all_its_sections_and_needs_nothing_else(written, fitted):
    text = written[0].read_text(encoding="utf-8")
    page = Page(text)
    assert [title for title in page.headings if title != "Weak points"] == TITLES
    assert "Not to be had" not in text
    assert len(page.pictures) == 10 and all(len(picture["alt"]) > 30 for picture in page.pictures)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert "class Additive(mf.Model):" in text and "NOT CONVERGED: stopped after 2 iterations" in text
    assert "-2 log L = 360.3066" in text
    assert len(text) < 4_000_000


def test_silence_is_asked_of_every_part(monkeypatch, fitted, tmp_path, capsys):
    def made(asked):
        with stopping.Bar("a part", total=1) as bar:
            bar.update()
        return parts.Part(parts.Section("A part", []), [])

    monkeypatch.setattr(report, "_PARTS", {"A part": made})
    mf.report(fitted(mf.Laplace()), tmp_path / "report.html", progress=False)
    assert capsys.readouterr().err == ""
    mf.report(fitted(mf.Laplace()), tmp_path / "report.html")
    assert "a part" in capsys.readouterr().err


def test_its_hash_is_that_of_the_data_in_the_saved_file(written, fitted, tmp_path):
    import hashlib
    import zipfile

    mf.save(fitted(mf.Laplace()), tmp_path / "fit.mefit")
    with zipfile.ZipFile(tmp_path / "fit.mefit") as archive:
        digest = hashlib.sha256(archive.read("data.csv")).hexdigest()
    assert digest in written[0].read_text(encoding="utf-8")


def test_theophylline_hangs_on_its_first_subject_and_is_small(written):
    said = "\n".join(written[1])
    assert "12 subjects for 7 parameters" in said
    assert "without subject 1 they move by 3." in said
    assert "relative standard error" not in said and "shrinkage" not in said  # all below the thresholds


def test_what_is_not_to_be_had_is_said_in_its_place():
    def make(asked):
        raise ValueError("there are no random effects.")

    section, weak_points = attempted("Random effects", make, None)
    assert weak_points == [] and section.title == "Random effects"
    assert section.parts == ["<p class='soft'>Not to be had: there are no random effects.</p>"]


def test_residuals_without_npde_are_not_drawn_as_such():
    with pytest.raises(ValueError, match="these residuals have no NPDE"):
        mf.plots.discrepancies(pd.DataFrame({"CWRES": [0.1, -0.2]}))


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this computer.")
def test_in_a_browser_it_folds_prints_whole_and_can_be_read_in_both_themes(written):
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 420, "height": 800})
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(written[0].as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 420  # a phone needs no scrolling sideways
        assert page.evaluate("[...document.querySelectorAll('details')].filter(d => d.open).length") == 2
        page.click("text=Convergence >> nth=0")
        assert page.evaluate("document.getElementById('convergence').open")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for selector in ("body", ".soft", ".weak h2", "nav a", "pre code"):
                assert page.evaluate(CONTRAST, selector) >= 4.5, (scheme, selector)
        page.emulate_media(media="print", color_scheme="light")
        heights = page.evaluate("[...document.querySelectorAll('details')].map(d => d.getBoundingClientRect().height)")
        assert min(heights) > 100
        assert all(url.startswith(("file:", "data:")) for url in asked)
        browser.close()


# The contrast of text with what is behind it, by WCAG 2.2.
CONTRAST = """selector => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let place = document.querySelector(selector);
  const text = light(numbers(getComputedStyle(place).color));
  let behind = numbers(getComputedStyle(place).backgroundColor);
  while (behind.length === 4 && behind[3] === 0) {
    place = place.parentElement;
    behind = numbers(getComputedStyle(place).backgroundColor);
  }
  const [low, high] = [text, light(behind)].sort((a, b) => a - b);
  return (high + .05) / (low + .05);
}"""


# ---------------------------------------------------------------- what is called weak


def estimates(**columns):
    table = {"kind": "value", "rse": 10.0, "low": 1.0, "high": 2.0, "remark": ""} | columns
    return pd.DataFrame(table, index=["cl"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (estimates(rse=29.0), None),
        (estimates(rse=31.0), "cl is hardly known: its relative standard error is 31%"),
        (estimates(rse=49.0, kind="sd"), None),
        (estimates(rse=80.0, kind="sd"), "SD of cl is hardly known: its relative standard error is 80%"),
        (estimates(low=-1.0, rse=300.0), "cl may be zero, or of the other sign: its interval is -1 to 2"),
        (estimates(remark="not identified"), "cl is not identified"),
        (estimates(remark="fixed"), None),
        (estimates(r_hat=1.2, ess=90.0), "R-hat 1.200, 90 effective draws"),
    ],
)
def test_estimates_are_weak_beyond_their_thresholds(table, words):
    found = weak.of_the_estimates(table, None)
    assert len(found) == (words is not None)
    assert words is None or words in found[0].words and found[0].threshold


def test_a_pair_of_estimates_is_named_once():
    r = pd.DataFrame([[1.0, 0.97], [0.97, 1.0]], ["a", "b"], ["a", "b"])
    (found,) = weak.of_the_estimates(estimates(), r)
    assert found.words == "The data hardly tell a from b: their estimates correlate by 0.970."


def check_with(outside, bins=10):
    """A check whose 95% percentile lies above its band in the last bins."""
    rows = {"stratum": "all", "bin": range(bins), "time": np.arange(bins, dtype=float), "statistic": "95%"}
    value = np.where(np.arange(bins) >= bins - outside, 9.0, 1.0)
    observed = pd.DataFrame(rows | {"value": value})
    simulated = pd.DataFrame(rows | {"low": 0.0, "median": 1.0, "high": 2.0})
    return VPC(observed, simulated, observed, np.arange(bins + 1.0), 0.9, False)


def test_a_percentile_is_weak_where_chance_cannot_explain_it():
    """Of 10 bins, each outside with probability 0.1: P(3 or more) = 0.0702, P(4 or more) = 0.0128."""
    assert weak.of_vpc(check_with(3), "h") == []
    (found,) = weak.of_vpc(check_with(4), "h")
    assert "the 95% percentile of the data lies outside its band, mostly above, in 4 of 10 bins" in found.words
    assert "between 6 and 9 (h)" in found.words


def test_npde_are_weak_where_they_are_shifted_spread_or_skewed():
    rng = np.random.default_rng(3)
    sound = rng.normal(size=400)
    assert weak.of_npde(weak.npde_tests(sound)) == []
    for npde, words in (
        (sound + 0.4, "Predictions are off on the whole"),
        (1.4 * sound, "Spread is wrong"),
        ((rng.exponential(size=400) - 1.0), "The shape of the distribution is wrong"),
    ):
        assert any(point.words.startswith(words) for point in weak.of_npde(weak.npde_tests(npde)))


def test_a_covariate_that_is_followed_and_a_subject_that_weighs_are_named():
    x = np.arange(20.0)
    rng = np.random.default_rng(1)
    effects = pd.DataFrame({"cl": 0.1 * x + 0.1 * rng.normal(size=20), "v": rng.normal(size=20), "wt": x})
    (found,) = weak.of_covariates(effects, ["cl", "v"], ["wt"])
    assert found.words.startswith("The random effect of cl still follows wt: r = ")
    table = pd.DataFrame({"cook": [0.3, 2.5], "covariance_ratio": 1.0}, index=["anna", "bert"])
    (heavy,) = weak.of_influence(Influence("", table, table, table))
    assert "without subject bert they move by 2.5 standard errors" in heavy.words and "anna" not in heavy.words
