"""A real browser for tests of pages: Chromium from the system, driven by Playwright; skipped where one is missing."""

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def chromium():
    """Module by module, since Playwright keeps an event loop running in this thread as long as it is open."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=180_000)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens a page. After the test: nothing was asked for but what lies beside it, or below ``root``.

    ``own`` pages had no error either.
    """
    contexts, troubles = [], []

    def visit(url: str, *, width: int = 1280, height: int = 900, own: bool = True, root: str = "", **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        near = (root or url.partition("#")[0].rpartition("/")[0] + "/", "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(near) else troubles.append(asked.url))
        if own:
            page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("requestfailed", lambda asked: troubles.append(f"{asked.url}: {asked.failure}"))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []
