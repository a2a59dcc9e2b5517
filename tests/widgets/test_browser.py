"""The notebook `explore` in a real JupyterLab and a real Chromium: what a person does, and what must not happen."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gaa_core import files

pytestmark = pytest.mark.slow

SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
TOKEN = "a-token-of-this-test"
PATIENCE = 120_000  # milliseconds, for a slow machine


@pytest.fixture(scope="module")
def lab(repository, browser, tmp_path_factory):
    """The address of a JupyterLab on this machine, and the folder with a copy of the notebook."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    text = (repository / "notebooks" / "explore.ipynb").read_text(encoding="utf-8")
    files.write(folder / "explore.ipynb", text.replace("steps = 400 ", "steps = 150 "))
    for name, values in SETTINGS.items():
        files.write_json(home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings", values)
    names = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES")
    environment = os.environ | {f"{name}_DIR": str(home / name.rpartition("_")[2].lower()) for name in names}
    environment |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_TOKEN": TOKEN}
    environment["PYTHONPATH"] = os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])
    options = ["--no-browser", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--LabApp.expose_app_in_browser=True"]
    options += ["--allow-root", f"--ServerApp.root_dir={folder}"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield _address(server, home), folder
        finally:
            server.terminate()
            server.wait(30)


def _address(server: subprocess.Popen, home: Path) -> str:
    """Where the server listens, from the file that it writes once it does."""
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and server.poll() is None:
        for path in (home / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError, KeyError):  # not written to its end
                return f"http://127.0.0.1:{files.read_json(path)['port']}"
        time.sleep(0.2)
    return pytest.fail(f"JupyterLab did not start:\n{(home / 'log').read_text()[-2000:]}")


class Lab:
    """A page of JupyterLab with the notebook open, and everything it asked for or complained of."""

    def __init__(self, page, address: str):
        self.page, self.urls, self.errors = page, [], []
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("websocket", lambda socket: self.urls.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{address}/lab/tree/explore.ipynb?token={TOKEN}")
        self.wait_until_connected()

    def wait_until_connected(self) -> None:
        """JupyterLab shows "idle" before its connection works; a reply to a request shows that it does."""
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")
        self.page.wait_for_function(f"{KERNEL}.connectionStatus === 'connected'")
        self.python("'probe'")

    def python(self, expression: str) -> str:
        """The repr of an expression in the notebook's kernel, once it has done what was asked before."""
        return self.page.evaluate(
            """async code => {
                const future = KERNEL.requestExecute({code: '', user_expressions: {it: code}, store_history: false});
                const reply = await future.done;
                return reply.content.user_expressions.it.data['text/plain'];
            }""".replace("KERNEL", KERNEL),
            expression,
        )

    def button(self, name: str):
        """The first button of this name; an icon before the word is part of what it is called."""
        return self.page.get_by_role("button", name=re.compile(rf"(^|\W){name}$")).first

    def status(self) -> tuple[str, int, float]:
        """(state, step, accuracy of the first rule or NaN) as the playground shows them."""
        line = self.page.locator(".widget-html", has_text=", step ").first.inner_text()
        state, step, share = re.match(r"(\w+), step (\d+)\.[^%\d;]*([\d.]+%)?", line).groups()
        return state, int(step), float(share.rstrip("%")) / 100 if share else float("nan")

    def wait_for(self, what):
        """The first true value of `what()`; the page goes on in the meantime."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not (found := what()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; the playground says {self.status()}, errors: {self.errors}")
            self.page.wait_for_timeout(100)
        return found

    def credits(self) -> list[float]:
        """The first rule's credits, from the words that stand for the picture."""
        words = self.page.locator(PLAYGROUND).get_attribute("title").split("GAA: ")[1].split(". ")[0]
        return [int(share) / 100 for share in re.findall(r"worker \d+ (\d+)%", words)]


KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"


PLAYGROUND, EXPLORER = "img[title*='. Credits. ']", "img[title^='Credits of the run']"


@pytest.fixture(scope="module")
def page(lab, browser):
    """The notebook, run from top to bottom."""
    tab = Lab(browser.new_page(viewport={"width": 1280, "height": 800}), lab[0])
    tab.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    tab.page.locator(EXPLORER).wait_for()
    yield tab
    tab.page.close()


def test_run_all_trains_nothing(page):
    assert page.status()[:2] == ("ready", 0)
    assert page.python("[t.name for t in __import__('threading').enumerate() if t.name == 'gaa-race']") == "[]"


def test_start_moves_the_accuracy_and_a_turned_worker_loses_credit(page):
    page.button("Start").click()
    page.wait_for(lambda: page.status()[2] > 0.5)
    trusted = max(range(10), key=page.credits().__getitem__)
    had = page.credits()[trusted]
    page.button(f"{trusted}").click()
    page.button(f"{trusted} B").wait_for()
    page.wait_for(lambda: page.credits()[trusted] < had / 2)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_playground_fits_the_window(page, look, width, height, theme):
    """From its first control to the end of its picture, which is as wide as the cell."""
    page.page.set_viewport_size({"width": width, "height": height})
    page.page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
    page.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{str(theme == 'Light').lower()}'")
    picture = page.page.locator(PLAYGROUND)
    picture.evaluate("element => element.closest('.jp-OutputArea').scrollIntoView({block: 'start'})")
    page.page.wait_for_timeout(500)  # a layout and two frames
    look(page.page, f"playground_{width}_{theme}")
    inner, outer, room = (
        page.page.locator(selector).first.bounding_box()
        for selector in (PLAYGROUND, ".jp-OutputArea-output:has(.gaa-picture)", ".jp-WindowedPanel-outer")
    )
    assert inner["width"] > 0.98 * outer["width"]
    assert inner["y"] + inner["height"] <= room["y"] + room["height"]
    assert (picture.evaluate("element => getComputedStyle(element).filter") == "none") == (theme == "Light")


def test_pause_stops_at_once(page):
    page.button("Pause").click()
    page.python("playground.race.wait()")
    page.wait_for(lambda: page.status()[0] == "paused")
    step = page.status()[1]
    assert page.python("playground.race.step") == str(step)
    assert page.button("Pause").is_disabled()
    page.button("Step").click()
    page.wait_for(lambda: page.status()[1] == step + 1)


def test_scrub_and_play(page):
    page.page.get_by_role("slider").first.focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    page.page.get_by_text("Step 3: precision").wait_for()
    page.page.locator(".jupyter-widgets.widget-play button").first.click()
    page.wait_for(lambda: int(page.python("explorer.step.value")) > 20)
    page.page.locator(".jupyter-widgets.widget-play button").first.click()


def test_every_control_is_named_and_reached_by_keyboard(page):
    """All but sliders' handles, which ipywidgets leaves without a name: each has a box with one as a twin."""
    page.page.get_by_text("More settings").click()
    session = page.page.context.new_cdp_session(page.page)
    controls = page.page.locator(".jupyter-widgets").locator("button, input, select, textarea, img, [tabindex='0']")
    for place in range(controls.count()):
        controls.nth(place).evaluate("(element, place) => element.setAttribute('data-place', place)", place)
    root = session.send("DOM.getDocument", {"depth": -1})["root"]["nodeId"]
    unnamed, reached = [], 0
    for node in session.send("DOM.querySelectorAll", {"nodeId": root, "selector": "[data-place]"})["nodeIds"]:
        (found, *_) = session.send("Accessibility.getPartialAXTree", {"nodeId": node, "fetchRelatives": False})["nodes"]
        if found["ignored"] or found["role"]["value"] in ("slider", "generic"):
            continue
        reached += any(each["name"] == "focusable" for each in found.get("properties", ()))
        if not found.get("name", {}).get("value", "").strip():
            unnamed.append(session.send("DOM.getOuterHTML", {"nodeId": node})["outerHTML"][:200])
    assert unnamed == []
    assert reached > 30


def test_after_a_reload_the_run_can_be_shown_again(page):
    """A page that was never saved has no output after a reload; the run is in the kernel, and trains on."""
    page.button("Reset").click()
    page.button("Start").click()
    page.wait_for(lambda: page.status()[1] > 2)
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.page.reload()
    page.wait_until_connected()
    page.page.evaluate(
        """async () => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = 5;
            await window.jupyterapp.commands.execute('notebook:insert-cell-below');
            notebook.activeCell.model.sharedModel.setSource('playground');
            await window.jupyterapp.commands.execute('notebook:run-cell');
        }"""
    )
    page.page.locator(PLAYGROUND).last.wait_for()  # the last: a save of its own by JupyterLab keeps the first, too
    assert page.status()[1] > 2


def test_no_page_errors_and_no_request_elsewhere(page):
    assert page.errors == []
    assert {urlsplit(url).hostname for url in page.urls if urlsplit(url).scheme not in ("data", "blob")} == {
        "127.0.0.1"
    }
