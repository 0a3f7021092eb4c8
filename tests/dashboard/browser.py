"""A real browser, and a dashboard that is served to it below a path."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import make_server

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from stratix_kombu.dashboard import Dashboard
from stratix_kombu.dashboard.server import _Handler, _Server
from tests.services import require
from tests.waiting import WAIT_S, until

PREFIX = "/ops/jobs"
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    """Chromium, as somebody uses it."""

    def __init__(self) -> None:
        options = Options()
        options.binary_location = require("chromium")
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(require("chromedriver")))
        self.driver.set_window_size(1300, 900)
        self.driver.set_page_load_timeout(60)
        self.base = ""
        self._command("Network.enable")

    def go(self, path: str) -> None:
        """Open a page of the dashboard."""
        self.driver.get(self.base + path)

    @property
    def text(self) -> str:
        """What the page says."""
        try:
            return self.driver.find_element(By.TAG_NAME, "body").text
        except WebDriverException:  # the next page is being loaded
            return ""

    @property
    def url(self) -> str:
        return self.driver.current_url

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def has(self, selector: str) -> bool:
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def follow(self, text: str) -> None:
        """Click the link with that text, and wait for its page."""
        self.leave(lambda: self.driver.find_element(By.LINK_TEXT, text))

    def press(self, text: str, within: str = "") -> None:
        """Click the button with that text, and wait for the next page."""
        path = f"{within or '//main'}//button[normalize-space()='{text}']"
        self.leave(lambda: self.driver.find_element(By.XPATH, path))

    def fill(self, action: str, **fields: str) -> None:
        """Fill in the form that is sent to a path that ends like this, and send it."""
        form = self.find(f"form[action$='{action}']")
        for details in self.driver.find_elements(By.CSS_SELECTOR, "main details:not([open]) > summary"):
            if form in details.find_element(By.XPATH, "..").find_elements(By.CSS_SELECTOR, "form"):
                details.click()
        for name, value in fields.items():
            field = form.find_element(By.CSS_SELECTOR, f"[name='{name.rstrip('_')}']:not([type='hidden'])")
            if field.tag_name == "select":
                Select(field).select_by_value(value)
            elif field.get_attribute("type") == "checkbox":
                field.click()
            else:
                field.clear()
                field.send_keys(value)
        self.leave(lambda: form.find_element(By.CSS_SELECTOR, "button"))

    def click(self, selector: str, number: int = 0) -> None:
        """Click one of the elements that there are."""
        self._click(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector)[number])

    def _click(self, find: Callable[[], WebElement]) -> None:
        """The page brings itself up to date: what was found may be another one's place by now."""

        def clicked() -> bool:
            try:
                find().click()
            except StaleElementReferenceException:
                return False
            return True

        until(clicked, WAIT_S)

    def leave(self, find: Callable[[], WebElement]) -> None:
        """Click it, and wait for the next page."""
        page = self.driver.find_element(By.TAG_NAME, "html")
        self._click(find)
        until(lambda: self._is_gone(page), WAIT_S)
        until(lambda: self.driver.execute_script("return document.readyState") == "complete", WAIT_S)

    def _is_gone(self, page: WebElement) -> bool:
        try:
            return page.id != self.driver.find_element(By.TAG_NAME, "html").id
        except WebDriverException:  # neither the one nor the other
            return False

    def problems(self) -> list[str]:
        """What the browser has complained of since it was last asked: errors and violations of the policy."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [one["message"] for one in log if one["level"] != "INFO"]

    def be(self, user: str) -> None:
        """Who looks from now on."""
        self._command("Network.setExtraHTTPHeaders", headers={"X-User": user} if user else {})

    def scripts(self, run: bool) -> None:
        self._command("Emulation.setScriptExecutionDisabled", value=not run)

    def width(self, pixels: int) -> None:
        """As on a phone; 0 for a desktop's."""
        if not pixels:
            self._command("Emulation.clearDeviceMetricsOverride")
            return
        sizes = {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        self._command("Emulation.setDeviceMetricsOverride", **sizes)

    def _command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def close(self) -> None:
        self.driver.quit()


@contextmanager
def served(dashboard: Dashboard) -> Iterator[str]:
    """The URL of a dashboard below a path."""

    def mounted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            start_response("404 Not Found", [])
            return [b""]
        environ.update(SCRIPT_NAME=PREFIX, PATH_INFO=path[len(PREFIX) :])
        return dashboard.wsgi(environ, start_response)

    with listening(mounted) as port:
        yield f"http://127.0.0.1:{port}{PREFIX}"


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """A server of a WSGI application; its port."""
    server = make_server("127.0.0.1", 0, app, _Server, _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
