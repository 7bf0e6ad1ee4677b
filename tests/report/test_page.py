from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import synthetic

from mlsys.record import Record
from mlsys.report import page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]

Runs = list[tuple[Path, Record]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return synthetic.mixture(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def written(runs: Runs) -> Path:
    return page.write(runs[0][0].parent, runs)


def test_the_page_is_one_file_that_asks_for_nothing(written: Path) -> None:
    text = written.read_text()
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert "http://" not in own
    assert "https://" not in own
    assert not re.search(r"<(link|script|img)[^>]+(href|src)=(?!\"data:)", own)
    assert len(text.encode()) < 6_000_000


def test_what_a_record_says_is_escaped_everywhere(written: Path) -> None:
    own = re.sub(r"<script>.*?</script>", "", written.read_text(), flags=re.S)
    assert synthetic.HOSTILE not in own
    assert "<img" not in own
    assert own.count("<script") == own.count("</script>") == 1


def test_the_data_are_the_records(written: Path, runs: Runs) -> None:
    data = json.loads(re.search(r'id="data">(.*?)</script>', written.read_text(), re.S)[1])  # type: ignore[index]
    bandwidth = data["sections"]["distance"]["plots"]["bandwidth"]["data"][0]
    assert bandwidth["y"] == pytest.approx([made.results["bandwidth_gbps"] for _, made in runs[:3]], rel=1e-5)


def test_the_answer_comes_before_the_warnings(written: Path) -> None:
    text = written.read_text()
    assert 0 < text.index("<ul class=findings>") < text.index("Before you believe") < text.index("<section")


def test_a_figure_beyond_its_limit_is_explained_where_it_is_drawn(tmp_path: Path) -> None:
    made = synthetic.distance()
    assert "Above the dashed line" not in page.render(tmp_path, [(tmp_path, made)])
    made.results["bandwidth_gbps"] = 1.5 * float(made.results["copy_bandwidth_gbps"] or 0)
    assert "Above the dashed line" in page.render(tmp_path, [(tmp_path, made)])


def test_three_hundred_records_stay_under_7_mb(tmp_path: Path) -> None:
    sizes = [
        {"name": "hybrid", "max_size": size, "timeout_ms": float(wait)}
        for size in range(20)
        for wait in range(15)
    ]
    records = [synthetic.serving("batch", config={"batching": one}) for one in sizes]
    text = page.render(tmp_path, [(tmp_path / str(i), made) for i, made in enumerate(records)])
    assert len(text.encode()) < 7_000_000


def test_links_lead_to_the_records(written: Path, runs: Runs) -> None:
    links = re.findall(r'href="([^"]+record\.json)"', written.read_text())
    assert len(set(links)) == len(runs)
    assert all((written.parent / unquote(link)).is_file() for link in links)


def test_a_page_elsewhere_links_back(tmp_path: Path, runs: Runs) -> None:
    text = page.render(tmp_path, runs)
    link = re.search(r'href="([^"]+record\.json)"', text)
    assert link
    assert (tmp_path / unquote(link[1])).is_file()


def test_writing_again_is_quick_and_leaves_nothing_behind(tmp_path: Path, runs: Runs) -> None:
    started = time.process_time()
    page.write(tmp_path, runs)
    page.write(tmp_path, runs)
    assert (time.process_time() - started) / 2 < 1
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_no_runs_are_a_page_too(tmp_path: Path) -> None:
    assert "No runs yet" in page.write(tmp_path, []).read_text()


@pytest.fixture(scope="module")
def tab(written: Path) -> Iterator[Any]:
    """The page in a browser; at the end nothing may have been said on the console or asked of a network."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there")
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: said.append(request.url))
        opened.goto(written.as_uri())
        opened.wait_for_selector("html[data-ready=yes]", timeout=300_000)
        yield opened
        browser.close()
    assert [line for line in said if not line.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def opened(tab: Any) -> Any:
    """The page as a reader first sees it."""
    tab.set_viewport_size({"width": 1280, "height": 900})
    for section in ("distance", "serving"):
        tab.locator(f"#{section} [data-clear]").click()
    return tab


def column(opened: Any, section: str, name: str) -> list[str]:
    script = """([section, name]) => {
      const table = document.querySelector(`#${section} table`);
      const i = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === name);
      return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[i].dataset.v);
    }"""
    return opened.evaluate(script, [section, name])  # type: ignore[no-any-return]


def plotted(opened: Any, section: str, plot: str) -> list[dict[str, Any]]:
    script = """([section, plot]) => document.querySelector(`#${section} [data-plot=${plot}]`).data
      .map((trace) => ({ name: trace.name, y: [...(trace.y ?? [])], color: trace.line?.color }))"""
    return opened.evaluate(script, [section, plot])  # type: ignore[no-any-return]


@pytest.mark.browser
def test_the_numbers_shown_are_the_records(opened: Any, runs: Runs) -> None:
    shown = [float(value) for value in column(opened, "distance", "latency_ms") if value]
    assert shown == [made.results["latency_ms"] for _, made in runs[:12]]
    lines = plotted(opened, "serving", "throughput")
    batch = next(line for line in lines if line["name"] == "batch · max_size=16")
    assert batch["y"] == [0.58, 1.15, 1.3, 1.5]
    assert opened.title() == "mlsys: distance, search, serving"


@pytest.mark.browser
def test_fewer_runs_have_shorter_names(opened: Any) -> None:
    opened.locator("#serving [data-filter='config.server.name']").select_option("batch")
    stages = "document.querySelector('#serving [data-plot=stages]').data[0]"
    opened.wait_for_function(f"{stages}.y[0] === 'max_size=16 · at 1'")
    assert "server: batch" in opened.evaluate(f"{stages}.hovertext[0]")
    opened.locator("#serving [data-clear]").click()
    opened.wait_for_function(f"{stages}.y.includes('batch · max_size=16 · at 1')")


@pytest.mark.browser
def test_a_tall_page_draws_some_runs_and_rows_and_says_so(tab: Any, tmp_path: Path) -> None:
    sizes = [{"name": "hybrid", "max_size": size, "timeout_ms": 20.0} for size in range(1, 61)]
    records = [synthetic.serving("batch", config={"batching": one}) for one in sizes]
    path = page.write(tmp_path, [(tmp_path / str(i), made) for i, made in enumerate(records)])
    own = tab.context.browser.new_page()
    own.goto(path.as_uri())
    own.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    assert own.locator("tbody tr[data-row]:not([hidden])").count() == 50
    assert "the first 24 of 60 runs" in own.locator(".drawn").text_content()
    assert "highest place" in own.locator(".drawn").text_content()
    own.locator("tbody th a").nth(7).wait_for()
    own.locator("[data-more]").click()
    assert own.locator("tbody tr[data-row]:not([hidden])").count() == 240
    own.close()


@pytest.mark.browser
def test_sorting(opened: Any) -> None:
    heading = opened.locator("#serving thead button", has_text="throughput_rps")
    heading.click()
    ascending = [float(value) for value in column(opened, "serving", "throughput_rps")]
    assert ascending == sorted(ascending)
    heading.click()
    assert [float(value) for value in column(opened, "serving", "throughput_rps")] == ascending[::-1]
    opened.locator("#serving thead button", has_text="server").click()
    assert column(opened, "serving", "server")[:4] == ["baseline"] * 4


@pytest.mark.browser
def test_filtering_takes_table_and_plots_along(opened: Any) -> None:
    opened.locator("#serving [data-filter='config.server.name']").select_option("batch")
    opened.locator("#serving [data-filter='config.batching.max_size']").select_option("4")
    assert column(opened, "serving", "server") == ["batch"] * 4
    names = [line["name"] for line in plotted(opened, "serving", "throughput")]
    assert names == ["batch · max_size=4", "engine ceiling"]
    assert opened.locator("#serving output").text_content() == "4 of 20"
    opened.locator("#serving [data-clear]").click()
    assert len(column(opened, "serving", "server")) == 20
    opened.locator("#distance [data-find]").fill("cosine")
    assert column(opened, "distance", "metric") == ["cosine"] * 3


@pytest.mark.browser
def test_a_filter_outlives_a_reload(opened: Any) -> None:
    opened.locator("#distance [data-find]").fill("cosine")
    opened.reload()
    opened.wait_for_selector("html[data-ready=yes]")
    assert column(opened, "distance", "metric") == ["cosine"] * 3


@pytest.mark.browser
def test_the_axes_can_be_chosen(opened: Any, runs: Runs) -> None:
    opened.locator("#distance .explore summary").click()
    opened.locator("#distance [data-axis=y]").select_option("latency_hot_ms")
    opened.locator("#distance [data-log=x]").check()
    first = plotted(opened, "distance", "explore")[0]
    assert first["y"] == pytest.approx([made.results["latency_hot_ms"] for _, made in runs[:3]], rel=1e-5)


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_overflows(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_dark_has_its_own_colours_and_print_is_light(opened: Any) -> None:
    opened.emulate_media(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.evaluate(ground) == "rgb(19, 20, 22)"
    assert plotted(opened, "distance", "bandwidth")[0]["color"] == "#3987e5"
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert plotted(opened, "distance", "bandwidth")[0]["color"] == "#2a78d6"
    opened.emulate_media(media="print")
    assert opened.evaluate(ground) == "rgb(251, 251, 250)"
    assert not opened.locator("#distance .filters").is_visible()
    opened.emulate_media(media="screen", color_scheme="light")
    opened.evaluate("dispatchEvent(new Event('afterprint'))")


@pytest.mark.browser
def test_every_plot_is_drawn(opened: Any) -> None:
    drawn = opened.evaluate(
        "[...document.querySelectorAll('.plots [data-plot]')].map((c) => c.querySelector('svg') !== null)"
    )
    assert len(drawn) == 12
    assert all(drawn)
