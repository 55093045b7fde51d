"""Measures a unit atlas in Chromium: python tests/benchmarks/page_times.py reports/fer2013/atlas.html

Prints JSON with milliseconds: until the first paint and until rows are on the screen (median of several loads), and
from a change of a filter until the next frame is painted (the slowest of several). Exit code 1 where a goal is missed.
On a busy machine these are too long; ``changes_processor`` is what the page itself worked for each change.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

GOALS = {"first_paint": 2000, "rows": 2000, "filter": 100}
LOADS = 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """(() => {
  const seen = () => (window.rowsAt = performance.now());
  const look = () => requestAnimationFrame(document.querySelector("[data-place]") ? seen : look);
  look();
})()"""
CHANGE = """async ([selector, value]) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await painted();
  const start = performance.now();
  const element = document.querySelector(selector);
  if (value === null) element.click();
  else {
    element.value = value;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  }
  await painted();
  return performance.now() - start;
}"""
CHANGES = {
    "search s": ("[name=text]", "s"),
    "search smile": ("[name=text]", "smile"),
    "search nothing": ("[name=text]", ""),
    "layer lin2": ("[name=layer]", "lin2"),
    "emotion sad": ("[name=emotion]", "sad"),
    "all emotions": ("[name=emotion]", ""),
    "all layers": ("[name=layer]", ""),
    "dead hidden": ("[name=dead]", "no"),
    "sort by margin": ("th[data-key=margin] button", None),
    "sort by name": ("th[data-key=description] button", None),
}


def measure(path: Path) -> dict:
    """Times in milliseconds, and what was measured."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    paints, rows = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for _ in range(LOADS):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.set_default_timeout(120_000)
            page.add_init_script(WATCH)
            page.goto(path.resolve().as_uri())
            page.wait_for_function("window.rowsAt && performance.getEntriesByName('first-contentful-paint').length")
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            rows.append(page.evaluate("window.rowsAt"))
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        changes, worked = {}, {}
        for name, change in CHANGES.items():
            before = main_thread(session)
            changes[name] = page.evaluate(CHANGE, change)
            worked[name] = main_thread(session) - before
        units = page.evaluate("count")
        browser.close()
    times = {"first_paint": statistics.median(paints), "rows": statistics.median(rows), "filter": max(changes.values())}
    return {
        "units": units,
        "bytes": path.stat().st_size,
        "milliseconds": {name: round(time, 1) for name, time in times.items()},
        "goals": GOALS,
        "changes": {name: round(time, 1) for name, time in changes.items()},
        "changes_processor": {name: round(time, 1) for name, time in worked.items()},
    }


def main_thread(session) -> float:
    """Milliseconds that the page's thread has worked so far, whatever else the machine did."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: page_times.py ATLAS.html")
    found = measure(Path(sys.argv[1]))
    print(json.dumps(found, indent=2))
    sys.exit(any(found["milliseconds"][name] > goal for name, goal in GOALS.items()))
