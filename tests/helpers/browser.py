"""Chromium from the system's packages, driven by Playwright, for tests of pages."""

import contextlib
import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def _missing(what):
    """Skips the test; where CI is set, a browser has to be there, and the test fails."""
    line = f"{what} is missing: `apt-get install chromium` and `pip install playwright`"
    if os.environ.get("CI"):
        pytest.fail(line)
    pytest.skip(line)


@contextlib.contextmanager
def chromium():
    """Starts the browser, or skips the test where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _missing("Chromium")
    with sync_playwright() as playwright:
        # Root, as in a container, may not use Chromium's sandbox.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser, path, **options):
    """Opens a file.

    Args:
      browser: what `chromium` yields.
      path: of the file.
      **options: of Playwright's `new_page`, such as viewport.

    Returns:
      (page, messages): a list that grows by the console's warnings and errors, uncaught exceptions
      and requests of anything beyond the file.
    """
    page, messages = browser.new_page(**options), []
    page.on("console", lambda m: m.type in ("warning", "error") and messages.append(m.text))
    page.on("pageerror", lambda error: messages.append(str(error)))

    def note_request(request):
        if not request.url.startswith(("data:", "blob:")) and request.url != path.as_uri():
            messages.append(f"request of {request.url}")

    page.on("request", note_request)
    page.goto(path.as_uri())
    return page, messages
