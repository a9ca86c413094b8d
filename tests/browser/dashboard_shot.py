"""Logs in to Horizon in a headless Chromium and saves a picture; run by scripts/dashboard-shot.

Speaks W3C WebDriver (https://www.w3.org/TR/webdriver2/) to Debian's chromedriver with nothing but
the standard library.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SECONDS = float(os.environ.get("DASHBOARD_TIMEOUT", "900"))
USER = os.environ.get("OS_USERNAME", "demo")
PASSWORD = os.environ.get("OS_PASSWORD", "11111")
ARGUMENTS = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--window-size=1400,1000",
]
# What Horizon and Django show where something is wrong.
COMPLAINTS = ".alert-danger, .errorlist, .help-block.alert, .error"


class Failed(Exception):
    """Something on the page, or the browser, is not as it must be."""


class Browser:
    """One session of one chromedriver, with a new and empty profile."""

    def __init__(self, profile):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.base = f"http://127.0.0.1:{self._port()}"
        arguments = ARGUMENTS + [f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "timeouts": {"pageLoad": int(SECONDS * 1000), "script": 60000, "implicit": 0},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{made['sessionId']}"

    def _port(self):
        """The port that chromedriver says it listens on."""
        said = []
        for line in self.driver.stdout:
            said.append(line)
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found.group(1))
        raise Failed("chromedriver did not start:\n" + "".join(said))

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with self.opener.open(request, timeout=SECONDS + 60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            value = json.loads(error.read().decode(errors="replace")).get("value", {})
            words = value.get("message", str(error)).splitlines() or [str(error)]
            raise Failed(words[0]) from error
        except OSError as error:
            raise Failed(f"chromedriver does not answer: {error}") from error

    def go(self, url):
        self._call("POST", "/url", {"url": url})

    def url(self):
        return self._call("GET", "/url")

    def title(self):
        return self._call("GET", "/title")

    def all(self, css):
        found = self._call("POST", "/elements", {"using": "css selector", "value": css})
        return [element[ELEMENT] for element in found]

    def one(self, css):
        """The element, as soon as it is there."""
        found = self.until(lambda: self.all(css), f"`{css}`")
        return found[0]

    def text(self, element):
        return self._call("GET", f"/element/{element}/text")

    def type(self, element, text):
        self._call("POST", f"/element/{element}/clear", {})
        self._call("POST", f"/element/{element}/value", {"text": text})

    def click(self, element):
        self._call("POST", f"/element/{element}/click", {})

    def script(self, text):
        return self._call("POST", "/execute/sync", {"script": text, "args": []})

    def screenshot(self):
        return base64.b64decode(self._call("GET", "/screenshot"))

    def complaints(self):
        """What the page itself says is wrong."""
        texts = [self.text(element).strip() for element in self.all(COMPLAINTS)]
        return " / ".join(text for text in texts if text)

    def until(self, holds, what):
        """Asks again and again until something holds; gives what came of it."""
        deadline = time.monotonic() + SECONDS
        while True:
            value = holds()
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failed(f"no {what} within {SECONDS:.0f} s at {self.url()}")
            time.sleep(0.5)

    def close(self):
        try:
            self._call("DELETE", "")
        except Failed:
            pass
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()


def log_in(browser, url):
    browser.go(url)
    form = browser.url()
    browser.type(browser.one("input[name=username]"), USER)
    browser.type(browser.one("input[name=password]"), PASSWORD)
    browser.click(browser.one("#loginBtn"))
    # A click may come back before the next page does.
    browser.until(lambda: is_loaded(browser) and (is_inside(browser) or browser.complaints()), "next page")
    if not is_inside(browser):
        words = browser.complaints() or "the page gives no reason"
        raise Failed(f"{USER} was not let in at {form}: {words}")


def is_loaded(browser):
    return browser.script("return document.readyState === 'complete'")


def is_inside(browser):
    return "/auth/login" not in browser.url() and not browser.all("input[name=password]")


def show_project(browser, url):
    """The page of the project, which is where a login leads; asked for where it does not."""
    if "/project" not in browser.url():
        browser.go(url.rstrip("/") + "/project/")
    browser.until(lambda: is_loaded(browser), "end of loading")
    if not is_inside(browser):
        raise Failed(f"the page of the project asks for a login again: {browser.url()}")
    if not browser.all("body *"):
        raise Failed(f"{browser.url()} is empty")
    # Charts are drawn a moment after the page has come.
    time.sleep(2)


def save(picture, path):
    if picture[:8] != b"\x89PNG\r\n\x1a\n":
        raise Failed("the browser's picture is no PNG")
    with open(path, "wb") as file:
        file.write(picture)


def main():
    url, path = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="dashboard-shot-", ignore_cleanup_errors=True) as profile:
        browser = None
        try:
            browser = Browser(profile)
            log_in(browser, url)
            show_project(browser, url)
            save(browser.screenshot(), path)
            print(f"{browser.title()} ({browser.url()})")
        except Failed as failure:
            print(f"dashboard-shot: {failure}", file=sys.stderr)
            return 1
        finally:
            if browser is not None:
                browser.close()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
