"""How soon a page of `explore` shows slots: `python -m benchmarks.explore_page PAGE.html ...`.

Opens each page in the system's Chromium some times and prints the least and the largest number of
seconds until all slots of the first scene are shown, coarsely at least, since the file began to be
read; and the same for another scene, since it was chosen. Needs Playwright, as the tests do.
"""

import pathlib
import shutil

from playwright.sync_api import sync_playwright

from multi_object_datasets.arguments import Parser

# Until isDecoded is there, and then until it is true, a look at each frame.
FIRST_FRAME = """
const look = () => {
  let seen = false;
  try { seen = isDecoded(); } catch {}
  if (seen) window.firstFrame = performance.now(); else requestAnimationFrame(look);
};
look();
"""
OTHER_SCENE = """
(i) => new Promise((resolve) => {
  const start = performance.now();
  showScene(i);
  const look = () => isDecoded() ? resolve(performance.now() - start) : requestAnimationFrame(look);
  look();
})
"""


def measure(browser, path):
    """Returns (milliseconds until the first scene is shown, until each other one is)."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.add_init_script(FIRST_FRAME)
    page.goto(path.absolute().as_uri())
    page.wait_for_function("window.firstFrame")
    first = page.evaluate("window.firstFrame")
    others = []
    for scene in range(1, page.evaluate("scenes.length")):
        page.wait_for_function("isIdle()")
        others.append(page.evaluate(OTHER_SCENE, scene))
    page.close()
    return first, others


def seconds(milliseconds):
    """The least and the largest of some times, as text."""
    return f"{min(milliseconds) / 1000:.2f} to {max(milliseconds) / 1000:.2f} s"


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=pathlib.Path, nargs="+")
    parser.add_argument("--times", type=int, default=5, help="how often each page is opened")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    print("| page | opened | another scene |\n| --- | --- | --- |")
    with sync_playwright() as playwright:
        # Root, as in a container, may not use Chromium's sandbox.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in args.pages:
            firsts, others = zip(*(measure(browser, path) for _ in range(args.times)))
            print(f"| {path.name} | {seconds(firsts)} | {seconds(sum(others, []))} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
