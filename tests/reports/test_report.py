"""Results on one page: what is in the dict is on the page, whole, escaped, and in the JSON to the last digit."""

import base64
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest

import descentcast as dc
from descentcast.errors import ArgumentError, DataError
from descentcast.reports._sections import MOST_ROWS, cell, section
from descentcast.reports._terminal import show_table


class Page(HTMLParser):
    """Collects what a browser would show: headings, cells, notes, pictures; and that tags are closed."""

    VOID = {"meta", "img", "br"}  # noqa: RUF012

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.pictures = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.found.setdefault(self.open[-1], []).append(data.strip())


@pytest.fixture(scope="module")
def forecast():
    rng = np.random.default_rng(0)
    x = np.zeros(60)
    for t in range(59):
        x[t + 1] = 0.8 * x[t] + 0.2 * rng.normal()
    runs = dc.Trajectories.from_arrays([x], names=["<b>w</b>"])
    return dc.forecast(dc.LocalLinearKernel().fit(runs), [0.1, -0.1], 5)


def test_a_page_holds_the_picture_the_tables_and_the_notes(forecast, tmp_path):
    page = Page(dc.report(forecast, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not page.open
    assert page.found["h1"] == ["Forecast"]
    assert "Landing" in page.found["h3"]
    row = forecast.landing.iloc[0]
    assert cell(float(row["probability"])) in page.found["td"]
    assert page.found.get("li", []) == list(forecast.notes)
    (picture,) = page.pictures
    assert base64.b64decode(picture.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_names_are_shown_and_never_run(forecast, tmp_path):
    text = dc.report({"<script>alert(1)</script>": forecast}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>w" not in text
    assert Page(text).found["h1"] == ["<script>alert(1)</script>"]


def test_several_results_have_a_heading_each(forecast, tmp_path):
    kernel = dc.problems.DoubleWell(step_size=0.1).kernel(np.linspace(-2, 2, 21))
    found = Page(dc.report([forecast, kernel], tmp_path / "page.html", "Two").read_text(encoding="utf-8"))
    assert found.found["h1"] == ["Two"]
    assert found.found["h2"] == ["Forecast", "TransitionKernel"]
    assert len(found.pictures) == 2


def test_the_json_is_the_dict_to_the_last_digit(forecast, tmp_path):
    (plain,) = json.loads(dc.report(forecast, tmp_path / "page.json").read_text(encoding="utf-8"))
    assert plain.pop("title") == plain.pop("kind") == "Forecast"
    assert plain == forecast.to_dict()


def test_a_saved_result_comes_with_its_plot(forecast, tmp_path):
    saved, _ = dc.reports.save_result(tmp_path, "one", forecast.to_dict(), dc.plot(forecast))
    result = dc.reports.read_result(saved)
    assert result.to_dict() == forecast.to_dict()
    page = Page(dc.report({"one": result}, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert base64.b64decode(page.pictures[0].split(",")[1]) == (tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize("results", [None, 3, "text", [], {}, [{}], [3]])
def test_what_is_no_result_is_refused(results, tmp_path):
    with pytest.raises(ArgumentError, match="results"):
        dc.report(results, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_path_is_held_to_be_a_page_that_can_be_written(forecast, tmp_path):
    with pytest.raises(ArgumentError, match=r"path == 'page\.pdf'"):
        dc.report(forecast, "page.pdf")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        dc.report(forecast, tmp_path / "file" / "page.html")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '"x"'])
def test_a_file_without_a_result_is_refused(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match="holds no result"):
        dc.reports.read_result(path)


def test_the_summary_does_not_repeat_the_notes():
    one = section("x", {"summary": "It is so.\nMind this.", "notes": ["Mind this."], "n": 3})
    assert (one.summary, one.notes) == ("It is so.", ["Mind this."])
    assert [table.rows for table in one.tables] == [[["n", "3"]]]


def test_long_tables_say_what_they_leave_out_and_long_lists_are_for_the_json():
    one = section("x", {"rows": [{"a": i, "b": None} for i in range(MOST_ROWS + 5)], "density": list(range(1000))})
    (table,) = one.tables
    assert (len(table.rows), table.left_out) == (MOST_ROWS, "5 more rows are in the JSON.")
    assert table.numeric == [True, True]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.00012345, "−0.0001234"), (12, "12"), (math.nan, "–"), (False, "no"), ([1.0, None], "1, –"), ("a", "a")],
)
def test_cells(value, text):
    assert cell(value) == text


def test_frames_and_numbers_of_numpy_are_written(tmp_path):
    runs = dc.Trajectories((dc.Trajectory(np.arange(8.0), setting={"seed": np.int64(3)}),))
    written = json.loads(dc.report(runs, tmp_path / "runs.json").read_text())
    assert written[0]["runs"][0]["setting"] == {"seed": 3}
    landing = dc.forecast(dc.LocalLinearKernel().fit(dc.problems.Quadratic().simulate([1.0], 40)), [0.5], 3).landing
    assert "0.5" in dc.report(landing, tmp_path / "landing.html").read_text()


def test_titles_and_columns_of_a_table_are_no_markup(capsys):
    show_table([{"loss[/train]": 1.0}], "final loss[/train] of [b]a[/b]")
    shown = capsys.readouterr().out
    assert "final loss[/train] of [b]a[/b]" in shown
    assert shown.count("loss[/train]") == 2


def test_landings_with_a_start_twice_are_refused():
    fit = dc.LocalLinearKernel().fit(dc.problems.Quadratic().simulate([1.0], 40))
    with pytest.raises(ArgumentError, match="has a start twice"):
        dc.reports.plot_landing({"m": dc.forecast(fit, [0.5, 0.5], 3).landing})
