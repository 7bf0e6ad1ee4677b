"""Pictures of pages: python docs/pictures/shoot.py outputs/SWEEP/index.html PICTURE.png

Needs the test extras (playwright) and Chromium. `--width` and `--height` in CSS pixels; the top of the page is shown.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("page", type=Path)
    options.add_argument("picture", type=Path)
    options.add_argument("--width", type=int, default=1200)
    options.add_argument("--height", type=int, default=1400)
    asked = options.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": asked.width, "height": asked.height})
        page.goto(asked.page.resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=asked.picture)
        browser.close()


if __name__ == "__main__":
    main()
