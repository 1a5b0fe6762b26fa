"""The documentation agrees with the code, the figures and itself."""

import inspect
import json
import re
import statistics

import pytest

from docs import generate
from iodine import config
from tests.helpers import tiny

ROOT = tiny.ROOT
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in page.relative_to(ROOT).parts)
)
MODELS = sorted(path.parent for path in ROOT.glob("checkpoints/*/evaluation.json"))
MEASURES = {
    "foreground ARI": "ari_nobg",
    "ARI": "ari",
    "MSE": "mse",
    "count accuracy": "count_accuracy",
    "ELBO": "elbo",
    "log p(x) ≥, 100 draws": "iwae",
}
FIGURE = re.compile(r"(−?\d+\.\d+)(?: ± (\d+\.\d+))?")


def test_generated_pages_are_as_their_sources_say(tmp_path):
    for written in generate.generate(tmp_path):
        page = written.relative_to(tmp_path)
        assert written.read_text() == (ROOT / page).read_text(), f"{page}: python -m docs.generate"


def test_the_readme_fits_on_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def anchors(text):
    """Returns the names by which a page's headings are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text):
    """Returns a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def tables(text):
    """Returns the tables of a page, each a list of rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        for block in blocks
    ]


def measure_of(label):
    """Returns the measure that a table calls by a label, None if it is none of ours."""
    if re.fullmatch(r"mean IoU of the \w+", label):
        return "miou_nobg"
    return MEASURES.get(label)


def stated_figures(text):
    """Finds the figures in a model's README.

    Returns:
      [(measure, seed, cell)], where the seed is None for the shipped model's own figure, and "mean"
      for the mean over seeds.
    """
    found = []
    for header, _, *rows in tables(text):
        for row in rows:
            for title, cell in list(zip(header, row))[1:]:
                seed = re.fullmatch(r"seed (\d+)", title)
                if header[0] == "metric" and (seed or title == "mean of seeds"):
                    found.append((measure_of(row[0]), seed[1] if seed else "mean", cell))
                elif header[0] == "metric" and title == header[1]:
                    found.append((measure_of(row[0]), None, cell))
                elif header[0] == "seed":
                    found.append((measure_of(title), row[0], cell))
    return [figure for figure in found if figure[0] and FIGURE.fullmatch(figure[2])]


def agrees(value, stated):
    """Whether a number is the one that is stated, to the digits that are given."""
    digits = len(stated.partition(".")[2])
    return abs(value - float(stated.replace("−", "-"))) <= 0.5001 * 10**-digits


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_models_readme_has_the_figures_of_its_evaluation(folder):
    figures = json.loads((folder / "evaluation.json").read_text())
    stated = stated_figures((folder / "README.md").read_text())
    assert stated, "no table of figures whose first column is called metric or seed"
    for measure, seed, cell in stated:
        mean, error = FIGURE.fullmatch(cell).groups()
        seeds = {key: values.get(measure) for key, values in figures.get("seeds", {}).items()}
        if seed is None:
            value = figures[measure]["mean"]
            assert error is None or agrees(figures[measure]["stderr"], error), (measure, cell)
        elif seed == "mean":
            value = statistics.mean(seeds.values()) if None not in seeds.values() else None
        else:
            value = seeds[seed]
        assert value is None or agrees(value, mean), (measure, seed, cell)


def test_a_readme_that_disagrees_is_noticed():
    text = "| metric | mean ± standard error |\n| --- | --- |\n| foreground ARI | 0.916 ± 0.007 |\n"
    assert stated_figures(text) == [("ari_nobg", None, "0.916 ± 0.007")]
    assert agrees(0.9156, "0.916") and not agrees(0.9168, "0.916")
    text = "| seed | foreground ARI | ARI |\n| --- | --- | --- |\n| 0 | 0.9 | 0.1 |\n"
    assert stated_figures(text) == [("ari_nobg", "0", "0.9"), ("ari", "0", "0.1")]


def test_docstrings_of_configs_have_time_and_figure_of_their_models():
    for model in generate.shipped_models():
        text = inspect.getdoc(config.NAMED_CONFIGS[model.name].function)
        text = " ".join(text.split())
        time = r"(minutes?|hours?|steps|Half a minute) .*"
        found = re.findall(time + r"(?:gives?|gave|to) a foreground ARI of (\d\.\d+)", text)
        counted = re.findall(time + r"the digits of (\d+) % of the scenes", text)
        assert found or counted, model.name
        for _, stated in found:
            assert agrees(model.over_seeds("ari_nobg")[0], stated), (model.name, stated)
        for _, percent in counted:
            assert round(100 * model.over_seeds("count_accuracy")[0]) == int(percent), model.name
