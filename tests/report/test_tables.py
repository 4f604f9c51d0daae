import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ImageFont

from p2d_lib.report import tables
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

ARTICLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,adjustbox,rotating}
\textwidth=12.2cm
\textheight=19.3cm
\begin{document}
%s
\end{document}
"""


class Bare(Run):
    """A run without cases."""

    note = ""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    return Bare("demo", "05_fidelity")


def saved(run, frame, caption="A caption.", **options):
    tables.save(run, "t", frame, caption, **options)
    return (run.tables / "t.tex").read_text()


def body(tex):
    """The cells of the rows below the rule."""
    rows = tex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().split("\n")
    return [row.removesuffix(r" \\").split(" & ") for row in rows]


def compiled(tex, folder):
    """The widest overfull box in points. Asserts that pdflatex makes a PDF of it."""
    (folder / "all.tex").write_text(ARTICLE % tex)
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "all.tex"], cwd=folder, capture_output=True)
    log = (folder / "all.log").read_text(errors="replace")
    assert done.returncode == 0 and "!" not in re.findall(r"^.", log, re.M), log[-3000:]
    return max([float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)], default=0.0)


def papers_tables():
    """Frames shaped as the paper's: few numbers, many intervals, long headings, long texts, awkward characters."""
    rng = np.random.default_rng(0)
    band = [tables.interval(x, x - 0.02, x + 0.03) for x in rng.uniform(0.3, 0.9, 7)]
    fidelity = pd.DataFrame({"dx": [*DX, "all"], "n": 123})
    distances = [f"{name} {images}" for name in ("FID", "KID") for images in ("base", "adapter", "floor")]
    for head in (*distances, "aligned", "mismatched"):
        fidelity[head] = rng.uniform(0, 99, 8)
    arms = pd.DataFrame({"arm": DX} | {score: band for score in ("accuracy", "balanced accuracy", "macro-F1", "AUC")})
    groups = pd.DataFrame(
        {"group": ["age < 30", "age 30–59", "age ≥ 60", "back & chest", "70 % of_x", "#1 {a}", "A~B^C\\D"], "n": 12}
        | {"balanced accuracy of the group": band, "difference to the rest": ["−0.1 ± 0.2"] * 7, "p (Holm)": 0.0123}
        | {"images of the group": 120, "lesions of the group": 80}
    )
    many = pd.DataFrame({"attribute": "site", "group": ["lower extremity"] * 3 + ["ear"] * 4, "n": 118, "lesions": 78})
    for head in ("balanced accuracy, real", "balanced accuracy, mixed", "sensitivity, real", "sensitivity, mixed"):
        many[head] = [*band[:6], "n too small"]
    prompt = "dermoscopic image of melanoma, marked atypical pigment network, irregular streaks, black and white colors"
    texts = pd.DataFrame({"image_id": ["HAM_0000001"] * 3, "dx": "mel", "prompt": prompt, "description": prompt[::-1]})
    signs = pd.DataFrame(
        {"Δ": ["2 × 10³ µm²", "κ ≈ 0.5", "a → b"], "°": ["“x”", "…", "<|>"], "é ö ń": [1.0, -2.0, None]}
    )
    return {"fidelity": fidelity, "arms": arms, "groups": groups, "many": many, "texts": texts, "signs": signs}


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed: the LaTeX is not compiled")
def test_the_papers_tables_compile_within_the_text_width_of_lncs(run, tmp_path):
    for name, frame in papers_tables().items():
        best = {column: "max" for column in frame.columns[1:3]}
        tables.save(run, name, frame, f"100 % of {name}_x & Δ ± 1, mean [2.5 %, 97.5 %]; n ≥ 5.", best=best)
        # one document a table: a box too wide must not hide behind another
        assert compiled((run.tables / f"{name}.tex").read_text(), tmp_path) < 1, name


def test_a_table_has_booktabs_rules_and_as_many_cells_in_each_row_as_columns(run):
    for frame in papers_tables().values():
        tex = saved(run, frame)
        assert [tex.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule", "caption", "label")] == [1] * 5
        assert [len(row) for row in body(tex)] == [frame.shape[1]] * len(frame)


def test_many_intervals_stand_below_their_estimates_and_few_beside_them(run):
    tex = saved(run, papers_tables()["many"])
    assert tex.count(r"\\{}[") == 4 * 6
    assert r"\\{}[" not in saved(run, papers_tables()["groups"])


def test_the_file_names_the_packages_that_it_needs(run):
    assert saved(run, pd.DataFrame({"a": [1]})).startswith("% needs \\usepackage{booktabs,adjustbox}\n")
    assert saved(run, broad(20)).startswith("% needs \\usepackage{booktabs,adjustbox,rotating}\n")


def broad(columns, rows=3):
    """Numbers of eight characters, of which LNCS's text is about 7.5 columns wide."""
    return pd.DataFrame({f"column {k:>2}"[:9]: [f"12345.{row:02d}" for row in range(rows)] for k in range(columns)})


def environments(tex):
    """The outermost environments in their order. Asserts that each ends where it should and that braces pair."""
    outer, stack = [], []
    for way, name in re.findall(r"\\(begin|end)\{(\w+)\}", tex):
        if way == "end":
            assert stack.pop() == name
            continue
        if not stack:
            outer.append(name)
        stack.append(name)
    bare = re.sub(r"\\\\|\\[{}]", "", tex)
    assert not stack and bare.count("{") == bare.count("}")
    return outer


def test_a_table_whose_letters_would_be_too_small_stands_sideways(run):
    assert environments(saved(run, broad(9))) == ["table"]
    assert environments(saved(run, broad(12))) == ["sidewaystable"]
    assert {tuple(environments(saved(run, frame))) for frame in papers_tables().values()} == {("table",)}


@pytest.mark.parametrize(("columns", "rows", "parts"), [(3, 30, 1), (3, 60, 2), (3, 120, 3), (12, 15, 1), (12, 60, 3)])
def test_a_table_higher_than_a_page_is_divided_under_one_number_and_keeps_its_rows(run, columns, rows, parts):
    tex = saved(run, broad(columns, rows))
    kind = "sidewaystable" if columns > 9 else "table"
    assert environments(tex) == [kind] * parts and tex.count(r"\label") == 1
    assert tex.count(r"\addtocounter{table}{-1}") == tex.count(r"\caption{(continued)}") == parts - 1
    printed = [part.split(r"\bottomrule")[0].strip() for part in tex.split(r"\midrule")[1:]]
    firsts = [row.split(" & ")[0] for part in printed for row in part.split("\n")]
    assert firsts == broad(1, rows).iloc[:, 0].tolist()


def test_the_width_of_a_column_is_about_that_of_its_letters_in_the_articles_font():
    folder = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    font = ImageFont.truetype(folder / "cmr10.ttf", 1000)
    for text in ("0.712 [0.688, 0.735]", "balanced accuracy", "EfficientNet-Lite0", "dermatofibroma", "123.4"):
        points = font.getlength(text) / 1000 * 9 * 1.028  # cmr9 is cut a little wider
        assert tables._width([text, "1"]) - tables.GAP == pytest.approx(points, rel=0.1), text


EMPTY = {
    "no columns": pd.DataFrame(),
    "no columns, two rows": pd.DataFrame(index=pd.RangeIndex(2)),
    **{f"no rows of {dtype}": pd.DataFrame({"a": pd.Series(dtype=dtype), "b": pd.Series(dtype="str")}) for dtype in (
        "object", "str", "float64", "int64", "bool", "Int64", "category", "datetime64[ns]",
    )},
    "a named index": pd.DataFrame({"x": []}, index=pd.Index([], name="dx")),
    "a group of nothing": pd.DataFrame({"dx": ["mel"], "n": [1]}).query("n > 1").groupby("dx").sum(),
}  # fmt: skip


@pytest.mark.parametrize("frame", EMPTY.values(), ids=EMPTY)
def test_an_empty_table_is_shown_as_a_row_of_dashes_and_its_csv_has_no_row(run, frame):
    tex = saved(run, frame, best={column: "max" for column in frame})
    (row,) = body(tex)
    assert set(row) == {"--"} and len(row) >= frame.shape[1]
    assert (run.tables / "t.csv").read_text().count("\n") == (1 if frame.shape[1] else len(frame) + 1)
    assert "–" in tables.save(run, "t", frame, "c").to_html()


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed: the LaTeX is not compiled")
def test_empty_tables_compile(run, tmp_path):
    for number, frame in enumerate(EMPTY.values()):
        tables.save(run, f"t{number}", frame, "Nothing.")
    compiled("\n".join((run.tables / f"t{number}.tex").read_text() for number in range(len(EMPTY))), tmp_path)


def test_the_caption_is_in_the_provenance_of_both_files(run):
    saved(run, pd.DataFrame({"a": [1]}), caption="Ages of 5 % & more.")
    for suffix in ("csv", "tex"):
        sidecar = run.folder / "tables" / f"t.{suffix}.provenance.json"
        assert json.loads(sidecar.read_text())["caption"] == "Ages of 5 % & more."


def test_captions_and_cells_are_escaped(run):
    tex = saved(run, pd.DataFrame({"a_b": ["50 % & more"]}), caption="n_test ≥ 5 %")
    assert r"n\_test $\geq$ 5 \%" in tex and r"a\_b" in tex and r"50 \% \& more" in tex


def test_html_is_escaped_too(run):
    shown = tables.save(run, "t", pd.DataFrame({"a<b": ["x<y"]}), "1 < 2").to_html()
    assert "a&lt;b" in shown and "x&lt;y" in shown and "1 &lt; 2" in shown


def strong(tex):
    return [[cell.startswith(r"\bfseries ") for cell in row] for row in body(tex)]


def test_the_best_is_bold_where_its_interval_lies_apart_from_all_others(run):
    apart = pd.DataFrame({"arm": ["x", "y", "z"], "auc": ["0.9 [0.8, 0.95]", "0.5 [0.4, 0.7]", "0.3 [0.2, 0.5]"]})
    assert strong(saved(run, apart, best={"auc": "max"})) == [[False, True], [False, False], [False, False]]
    assert strong(saved(run, apart, best={"auc": "min"})) == [[False, False]] * 3  # 0.5 and 0.3 overlap
    assert "font-weight: bold" in tables.save(run, "t", apart, "c", best={"auc": "max"}).to_html()


def test_nothing_is_bold_where_no_difference_is_shown(run):
    frame = pd.DataFrame(
        {
            "bare": [0.1, 0.9, 0.5],
            "overlap": ["0.7 [0.6, 0.8]", "0.8 [0.75, 0.9]", "0.6 [0.5, 0.7]"],
            "touching": ["0.7 [0.6, 0.8]", "0.9 [0.8, 1.0]", "–"],
            "alone": ["0.7 [0.6, 0.8]", "n too small", None],
            "equal": ["0.7 [0.6, 0.8]"] * 3,
        }
    )
    assert not np.any(strong(saved(run, frame, best=dict.fromkeys(frame, "max"))))
    assert not np.any(strong(saved(run, frame, best=dict.fromkeys(frame, "min"))))


def test_the_best_of_a_row_is_bold_and_a_minus_counts(run):
    frame = pd.DataFrame(
        {"base": ["−3 [−4, −2]", "1 [0, 2]"], "adapter": ["-1 [-1.5, 0]", "1 [0, 2]"], "floor": "9 [8, 10]"}
    )
    pair = ("base", "adapter")
    assert strong(saved(run, frame, best={pair: "min"})) == [[True, False, False], [False] * 3]
    assert strong(saved(run, frame, best={pair: "max"})) == [[False, True, False], [False] * 3]


def test_a_number_that_is_not_there_is_a_dash_and_one_below_zero_has_a_minus(run):
    frame = pd.DataFrame({"a": [np.nan, -0.5, -0.0001]})
    assert body(saved(run, frame)) == [["--"], ["$-$0.500"], ["0.000"]]
    assert (
        tables.interval(float("nan"), 0, 1) == "–" and tables.interval(0.7123, 0.6881, 0.735) == "0.712 [0.688, 0.735]"
    )


def test_an_interval_has_no_zero_below_zero():
    assert tables.interval(-0.0002, -0.0004, -0.0001) == "0.000", "no width as it is printed"
    assert tables.interval(-0.0002, -0.0004, 0.0009) == "0.000 [0.000, 0.001]"
    assert tables.interval(1.0, 1.0, 1.0, 2) == "1.00", "no width is no interval"
    assert tables.interval(-0.0006, -0.2, 0.1) == "-0.001 [-0.200, 0.100]"
    assert tables.interval(-0.04, np.nan, np.nan, 1) == "0.0"


def test_digits_go_by_column(run):
    frame = pd.DataFrame({"fid": [12.345], "kid": [0.012345]})
    assert body(saved(run, frame, digits={"fid": 1})) == [["12.3", "0.012"]]


def test_the_csv_holds_the_numbers_and_the_index(run):
    frame = pd.DataFrame({"x": [1 / 3, -1e-7]}, index=pd.Index(["mel", "nv"], name="dx"))
    tables.save(run, "t", frame, "c")
    assert (run.tables / "t.csv").read_text() == "dx,x\nmel,0.333333\nnv,-1e-07\n"


def test_the_same_table_gives_the_same_bytes_and_the_same_html(run):
    def once():
        shown = tables.save(run, "t", papers_tables()["arms"], "c", best={"AUC": "max"}).to_html()
        return shown, (run.tables / "t.csv").read_bytes(), (run.tables / "t.tex").read_bytes()

    assert once() == once()


def test_phantom_data_are_named_in_the_caption(run, monkeypatch):
    monkeypatch.setattr(Bare, "note", "phantom data")
    assert r"\caption{Ages. Phantom data.}" in saved(run, pd.DataFrame({"a": [1]}), caption="Ages.")
