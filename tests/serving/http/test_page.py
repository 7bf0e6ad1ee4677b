"""The page as a person uses it, in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from launching import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def keyed_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, keyed = tmp_path_factory.mktemp("page"), {"api_key": "env:MLSYS_TEST_KEY"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSYS_TEST_KEY", "s3cret")
        with launched(directory, "batch", server=keyed) as (url, _):
            yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    opened = chromium.new_page(viewport={"width": 900, "height": 1000})
    opened.set_default_timeout(300_000)
    opened.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    yield opened
    opened.close()


@pytest.fixture
def outside(page: Page) -> list[str]:
    """The addresses of all that the page asks for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


def test_asking(page: Page, outside: list[str], batch_url: str, tmp_path: Path) -> None:
    page.goto(batch_url)
    page.wait_for_function("document.getElementById('about').textContent")
    assert "generator simulated (simulated: a cost model, no language model)" in page.inner_text("#about")
    page.fill("#query", "What do cats do? <b>&amp;</b>")
    page.fill("#k", "3")
    page.click("button")
    page.wait_for_selector("#answer:not([hidden])")
    assert len(page.inner_text("#result").split()) == 32
    assert page.locator("#passages li").count() == 3
    assert "Cats are small furry carnivores" in page.inner_text("#passages li:first-child")
    rows = dict(line.split("\t")[:2] for line in page.inner_text("#times").splitlines() if line.strip())
    assert list(rows) == ["queue", "embed", "retrieve", "prompt", "generate", "respond", "total"]
    *parts, total = [float(value.removesuffix(" ms")) for value in rows.values()]
    assert sum(parts) == pytest.approx(total, abs=0.5)
    wide = page.evaluate("[...document.querySelectorAll('#times div')].map(bar => bar.offsetWidth)")
    assert max(wide) == wide[parts.index(max(parts))] > 100, "the longest part has the widest bar"
    assert "32 tokens, answered in a batch of 1" in page.inner_text("#note")
    page.screenshot(path=tmp_path / "page.png")
    assert all(url.startswith((batch_url, "data:")) for url in outside), "the page needs no network"


def test_a_mistake_is_shown(page: Page, batch_url: str) -> None:
    page.goto(batch_url)
    page.fill("#query", "x")
    page.fill("#k", "50")
    page.click("button")
    page.wait_for_function("document.getElementById('problem').textContent")
    assert page.inner_text("#problem") == "k: Input should be less than or equal to 3"
    assert page.locator("#answer").is_hidden()
    assert page.locator("button").is_enabled()


def test_the_key_is_asked_for(page: Page, keyed_url: str) -> None:
    page.goto(keyed_url)
    page.fill("#query", "x")
    page.click("button")
    page.wait_for_function("document.getElementById('problem').textContent")
    assert page.inner_text("#problem").startswith("401: an API key is required")
    page.fill("#key", "s3cret")
    page.click("button")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#problem") == ""
