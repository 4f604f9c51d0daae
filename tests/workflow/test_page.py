"""The page of a run: its first screen, the order and captions of its objects, and strangers' words on it."""

import importlib
import json
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(WORKFLOW))


@pytest.fixture
def page():
    return importlib.import_module("page")


@pytest.fixture
def headline():
    return importlib.import_module("headline")


class Home:
    """A home with one run in which one notebook has been executed."""

    def __init__(self, folder: Path):
        self.written = 0  # tables and figures, in their order
        self.home, self.run = folder, folder / "data" / "runs" / "mine"
        for place in ("notebooks", "stages", "tables", "figures"):
            (self.run / place).mkdir(parents=True)
        for kind in ("tables", "figures"):
            (folder / kind / "mine").mkdir(parents=True)

    def notebook(self, *cells, name: str = "07_readers", tables=(), figures=()) -> None:
        content = new_notebook(cells=[new_markdown_cell(f"# {name[:2]} · Who reads?"), *cells])
        nbformat.write(content, self.run / "notebooks" / f"{name}.ipynb")
        record = {"notebook": name, "seconds": 1.0, "tables": list(tables), "figures": list(figures)}
        (self.run / "stages" / f"{name}.json").write_text(json.dumps(record))

    def _origin(self, caption: str) -> str:
        self.written += 1
        return json.dumps({"caption": caption, "position": self.written})

    def table(self, name: str, table: pd.DataFrame, caption: str = "") -> None:
        table.to_csv(self.home / "tables" / "mine" / f"{name}.csv", index=False)
        (self.run / "tables" / f"{name}.csv.provenance.json").write_text(self._origin(caption))

    def figure(self, name: str, caption: str) -> None:
        (self.home / "figures" / "mine" / f"{name}.png").write_bytes(b"")
        (self.run / "figures" / f"{name}.png.provenance.json").write_text(self._origin(caption))


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def findings(text: str) -> list:
    return [
        new_markdown_cell("## Findings"),
        new_code_cell("", outputs=[new_output("display_data", {"text/markdown": text})]),
    ]


def test_what_strangers_write_is_shown_and_never_runs(page, home):
    home.table("t7_readers", pd.DataFrame({"reader": [HOSTILE]}), caption=f"Read by {HOSTILE}.")
    home.figure("f7_readers", caption=f"Of {HOSTILE}.")
    shown = new_code_cell(
        "x", outputs=[new_output("execute_result", {"text/html": f"<b>1</b>{HOSTILE}"}, execution_count=1)]
    )
    home.notebook(shown, *findings(f"- **{HOSTILE}** saw it"), tables=["t7_readers.csv"], figures=["f7_readers.png"])
    page.write(home.run, home.home, profile=HOSTILE)
    index = (home.run / "index.html").read_text()
    assert HOSTILE not in index and index.count("&lt;img src=x") == 5
    executed = (home.run / "notebooks" / "07_readers.html").read_text()
    assert HOSTILE not in executed and "<b>1</b>" in executed


def test_captions_are_the_objects_own_and_the_order_is_that_of_the_notebook(page, home):
    code = new_code_cell('figures.save(run, "f7_late", figure, "Later.")')
    first = new_code_cell('tables.save(run, "t7_zeta", table, "First.")')
    home.table("t7_zeta", pd.DataFrame({"n": [1]}), caption="First of all.")
    home.figure("f7_late", caption="What comes later.")
    home.notebook(new_markdown_cell("A paragraph above."), first, code, tables=["t7_zeta.csv"], figures=["f7_late.png"])
    page.write(home.run, home.home, profile="smoke")
    index = (home.run / "index.html").read_text()
    assert index.index("First of all.") < index.index("What comes later.")
    assert "A paragraph above." not in index
    assert "figures/f7_late.png.provenance.json" in index and "tables/t7_zeta.csv.provenance.json" in index


def test_what_a_power_cut_left_empty_is_missing_on_the_page_and_the_rest_is_there(page, home):
    home.notebook(name="07_readers")
    home.notebook(name="08_fairness")
    home.notebook(name="06_classify", tables=["t6_x.csv"])
    home.table("t6_x", pd.DataFrame({"n": [1]}), caption="Gone.")
    emptied = ("notebooks/07_readers.ipynb", "stages/08_fairness.json", "tables/t6_x.csv.provenance.json")
    for name in (*emptied, "cases.parquet", "synthetic.parquet"):
        (home.run / name).write_bytes(b"")
    page.write(home.run, home.home, profile="smoke")
    index = (home.run / "index.html").read_text()
    assert "07_readers" not in index and "08_fairness" in index and "06_classify" in index


def test_a_table_stands_on_the_page_as_in_the_notebook(page, home):
    shown = '<style></style><table id="T_t7_zeta"><caption>Scores.</caption><tr><td>38</td></tr></table>'
    cell = new_code_cell(
        'tables.save(run, "t7_zeta", t, "")', outputs=[new_output("display_data", {"text/html": shown})]
    )
    home.table("t7_zeta", pd.DataFrame({"score": [38.044]}))
    home.notebook(cell, tables=["t7_zeta.csv"])
    page.write(home.run, home.home, profile="smoke")
    index = (home.run / "index.html").read_text()
    assert "<td>38</td>" in index and "38.044" not in index


def test_a_headline_number_is_its_tables_cell_with_a_verdict_in_words(headline, home):
    table = pd.DataFrame({"arm": ["a", "b"], "gap": ["0.10 [0.02, 0.18]", "0.01 [-0.1, 0.1]"], "p": ["0.012", "0.8"]})
    table.loc[2] = ["c", "0.30 [0.2, 0.4]", "< 0.001"]
    home.table("t6_x", table)
    tables = home.home / "tables" / "mine"
    for arm, words in (
        ("a", "a difference is shown (p = 0.012)"),
        ("b", "no difference is shown (p = 0.8)"),
        ("c", "a difference is shown (p &lt; 0.001)"),
    ):
        cells = {column: headline.Cell("t6_x", {"arm": arm}, column) for column in ("gap", "p")}
        card = headline.Number("Q?", "points", {"": cells["gap"]}, cells["p"]).html(tables, home.run)
        assert table.set_index("arm")["gap"][arm].replace("-", "−") in card and words in card


def test_a_number_below_zero_has_a_minus(headline):
    assert headline.rounded("-0.12345") == "−0.123" and headline.rounded("-2.0 [-5.1, 1.2]") == "−2.0 [−5.1, 1.2]"
    assert headline.rounded("real-time 3") == "real-time 3" and headline.rounded("12") == "12"


def test_a_difference_on_which_the_seeds_disagree_is_none_on_the_page_either(headline, home):
    words = "no difference is shown, since the training seeds disagree in sign"
    row = {"comparison": "mixed − real+replay", "score": "balanced accuracy", "difference (points)": "14.0 [2.0, 26.0]"}
    home.table("t6_paired", pd.DataFrame([{**row, "p (Holm)": 0.01, "verdict": words}]))
    card = headline.NUMBERS[0].html(home.home / "tables" / "mine", home.run)
    assert f"{words} (p = 0.01)" in card and "a difference is shown" not in card


def test_the_class_in_an_image_is_read_by_an_independent_network_and_the_scout_is_named_beside(headline, home):
    home.table(
        "t5_attributes", pd.DataFrame({"images": ["adapter", "base", "real (test)"], "class": [0.74, 0.72, 0.73]})
    )
    home.table("t4_obedience", pd.DataFrame({"images": ["adapter", "real (val)"], "class": [0.86, 0.79]}))
    (number,) = (number for number in headline.NUMBERS if "class that was asked for" in number.question)
    card = number.html(home.home / "tables" / "mine", home.run)
    shown = "adapter 0.74<br>base 0.72<br>real 0.73<br>adapter, by the scout 0.86<br>real, by the scout 0.79"
    assert shown in card and "#t5_attributes" in card


@pytest.mark.parametrize(
    "cell", [("t6_none", {}, "gap"), ("t6_x", {"arm": "c"}, "gap"), ("t6_x", {"arm": "a"}, "gone")]
)
def test_a_table_row_or_column_that_is_not_there_is_named_as_such(headline, home, cell):
    home.table("t6_x", pd.DataFrame({"arm": ["a"], "gap": [0.1]}))
    number = headline.Number("Q?", "points", {"": headline.Cell(*cell)}, headline.Cell("t6_x", {"arm": "a"}, "gap"))
    card = number.html(home.home / "tables" / "mine", home.run)
    assert headline.NOT_THERE in card and "difference" not in card


def test_an_executed_notebook_keeps_the_last_line_of_a_bar(tmp_path, monkeypatch):
    sys.modules.pop("execute", None)
    execute = importlib.import_module("execute")
    steps = [new_output("stream", name="stderr", text=f"\rfit: {n}/9") for n in range(10)]
    steps.append(new_output("stream", name="stderr", text="\na warning\n"))
    nbformat.write(new_notebook(cells=[new_code_cell("", outputs=steps)]), tmp_path / "x.ipynb")
    execute._fold_bars(tmp_path / "x.ipynb")
    (output,) = nbformat.read(tmp_path / "x.ipynb", 4).cells[0].outputs
    assert output.text == "fit: 9/9\na warning\n"
