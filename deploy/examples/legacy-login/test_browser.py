#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""The example in headless Chromium: `make test-browser`.

PORTCULLIS names the binary. With PORTCULLIS_SCREENSHOTS, a folder, each page is also kept as a picture.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

EXAMPLE = pathlib.Path(__file__).resolve().parent
PORTCULLIS = os.environ["PORTCULLIS"]
SCREENSHOTS = os.environ.get("PORTCULLIS_SCREENSHOTS")
# Seconds; only a failure uses them up.
PATIENCE = 20
PHONE_AGENT = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"


def eventually(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class World:
    """The example as `./run` starts it, on ports that are free."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        self.port, self.admin_port, app_port = free_ports(3)
        text = (EXAMPLE / "portcullis.yaml").read_text()
        for written, used in ((8080, self.port), (9180, self.admin_port), (9001, app_port)):
            address = f'"127.0.0.1:{written}"'
            assert text.count(address) == 1, address
            text = text.replace(address, f'"127.0.0.1:{used}"')
        (folder / "portcullis.yaml").write_text(text)
        (folder / "users").write_text((EXAMPLE / "users").read_text())
        subprocess.run([PORTCULLIS, "keys", "generate", "--algorithm", "EdDSA", "--out", folder / "signing.pem"], check=True, capture_output=True)
        self.output = open(folder / "output", "w+")
        self.processes = [
            subprocess.Popen([sys.executable, EXAMPLE / "app.py", "--port", str(app_port)]),
            subprocess.Popen([PORTCULLIS, "serve", "--config", folder / "portcullis.yaml"], stdout=self.output, stderr=self.output),
        ]
        self.url = f"http://localhost:{self.port}"
        try:
            eventually("the gateway is ready", lambda: self.status(f"http://127.0.0.1:{self.admin_port}/readyz") == 200)
            eventually("the application answers", lambda: self.status(f"{self.url}/login") == 200)
        except AssertionError:
            self.stop()
            raise

    @staticmethod
    def status(url):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def call(self, method, path, json_body=None, token=None, agent="ExampleApp/2.1"):
        """As a program calls the session API: status and body."""
        fields = {"User-Agent": agent} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = json.dumps(json_body).encode() if json_body else None
        request = urllib.request.Request(self.url + path, data, fields | ({"Content-Type": "application/json"} if data else {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"{}")

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(PATIENCE)
        self.output.close()
        self.folder.cleanup()


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, world, phone=False):
        self.world, self.phone = world, phone
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for word in ("--headless=new", "--window-size=1100,900", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-GB"):
            options.add_argument(word)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if phone:
            metrics = {"width": 390, "height": 844, "pixelRatio": 2.0}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics, "userAgent": PHONE_AGENT})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def open(self, path):
        self.driver.get(self.world.url + path)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.driver.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector).strip()

    def wait(self, what, condition):
        WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: condition(), what)

    def wait_for_page(self, path):
        self.wait(f"the page {path}", lambda: self.driver.current_url == self.world.url + path)
        self.wait("it is there", lambda: self.driver.execute_script("return document.readyState") == "complete")

    def wait_for_devices(self, active, ended):
        self.wait("the list is shown", lambda: self.find("#active").get_attribute("aria-busy") == "false")
        self.wait(f"{active} devices, {ended} of old", lambda: (len(self.all("#active > li")), len(self.all("#ended > li"))) == (active, ended))

    def fill_in(self, user, password, device):
        for name, value in (("username", user), ("password", password), ("device", device)):
            self.find(f"#{name}").clear()
            self.find(f"#{name}").send_keys(value)

    def log_in(self, user, password, device, comes_to="/"):
        self.open("/")
        self.wait_for_page("/login")
        self.wait("the page has found no session", lambda: self.find("#device").get_attribute("value") != "")
        self.fill_in(user, password, device)
        self.find("#login button").click()
        self.wait_for_page(comes_to)

    def complaints(self):
        """What the console says but for the statuses of calls."""
        return [line["message"] for line in self.driver.get_log("browser") if line["source"] != "network"]

    def picture(self, name):
        if SCREENSHOTS:
            self.driver.save_screenshot(f"{SCREENSHOTS}/{name}-{'phone' if self.phone else 'desktop'}.png")

    def quit(self):
        self.driver.quit()


class LegacyLoginTests(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.stop)

    def browser(self, phone=False):
        browser = Browser(self.world, phone)
        self.addCleanup(browser.quit)
        return browser

    def test_logs_in_lists_the_devices_and_ends_another_one_here_and_everywhere(self):
        desktop, phone = self.browser(), self.browser(phone=True)
        for browser in (desktop, phone):
            browser.open("/")
            browser.wait_for_page("/login")
            browser.picture("login")
        desktop.fill_in("alice", "not her password", "Desk")
        desktop.find("#login button").click()
        desktop.wait("it says why", lambda: "do not belong together" in desktop.text("#problem"))
        desktop.picture("login-failed")

        desktop.log_in("alice", "wonderland", "Desk")
        self.assertEqual(desktop.text("#user"), "alice")
        desktop.picture("orders")
        phone.log_in("alice", "wonderland", "Phone <b>of</b> Alice")
        phone.picture("orders")
        # Scripts see no token: stolen by a script it would be a session for somebody else.
        self.assertEqual(desktop.driver.execute_script("return document.cookie"), "")
        cookies = {cookie["name"]: cookie for cookie in desktop.driver.get_cookies()}
        self.assertTrue(all(cookie["httpOnly"] and cookie["secure"] for cookie in cookies.values()), cookies)
        self.assertIn("__Host-portcullis", cookies)

        desktop.open("/sessions")
        desktop.wait_for_devices(2, 0)
        self.assertEqual(desktop.text("#active > li:first-child .device"), "Desk")
        self.assertEqual(desktop.text("#active > li:first-child .badge"), "this device")
        self.assertTrue(desktop.find("#active > li:first-child .badge").is_displayed())
        other = "#active > li:nth-child(2)"
        self.assertEqual(desktop.text(f"{other} .device"), "Phone <b>of</b> Alice")
        self.assertFalse(desktop.find(f"{other} .badge").is_displayed())
        self.assertEqual(desktop.text(f"{other} .ip"), "127.0.0.1")
        self.assertEqual(desktop.text(f"{other} .browser"), "Chrome 140")
        for part in ("created", "seen"):
            self.assertRegex(desktop.text(f"{other} .{part}"), r"^\d+ \w+ \d{4}, \d\d:\d\d$")
        desktop.picture("devices")
        phone.open("/sessions")
        phone.wait_for_devices(2, 0)
        phone.picture("devices")

        # One of two logs the other out …
        self.assertEqual(desktop.find(f"{other} .end").accessible_name, "Log out Phone <b>of</b> Alice")
        desktop.find(f"{other} .end").click()
        desktop.wait_for_devices(1, 1)
        self.assertEqual(desktop.text("#status"), "Phone <b>of</b> Alice has been logged out.")
        self.assertEqual(desktop.driver.switch_to.active_element.get_attribute("id"), "title")
        desktop.driver.refresh()
        desktop.wait_for_devices(1, 1)
        self.assertRegex(desktop.text("#ended .ending"), r"^Logged out on \d+ \w+ \d{4}, \d\d:\d\d because you ended it from this list\.$")
        self.assertFalse(desktop.find("#ended .end").is_displayed())
        desktop.picture("devices-ended")
        # … which finds itself at the login page, and is told why.
        phone.open("/")
        phone.wait_for_page("/login")
        phone.wait("it is told", lambda: phone.text("#notice") == "You have been logged out on this device.")
        phone.picture("login-after-logout")

        # Back to where it was.
        phone.log_in("alice", "wonderland", "Phone", comes_to="/sessions")
        phone.wait_for_devices(2, 1)
        phone.picture("devices-ended")
        phone.find("#logout-all").click()
        phone.wait("it asks", lambda: phone.find("#everywhere").is_displayed())
        phone.picture("everywhere")
        phone.find("#everywhere-yes").click()
        phone.wait_for_page("/login")
        self.assertEqual(phone.driver.get_cookies(), [])
        desktop.open("/")
        desktop.wait_for_page("/login")

        desktop.log_in("alice", "wonderland", "Desk", comes_to="/sessions")
        desktop.wait_for_devices(1, 3)
        reasons = [line.text for line in desktop.all("#ended .ending")]
        self.assertEqual(sorted(re.sub(".* because ", "", line) for line in reasons), [
            "you ended it from this list.", "you logged out everywhere.", "you logged out everywhere."])
        desktop.find("#logout").click()
        desktop.wait_for_page("/login")
        self.assertEqual([desktop.complaints(), phone.complaints()], [[], []])

    def test_works_with_the_keyboard_alone(self):
        browser = self.browser()
        status, other = self.world.call("POST", "/auth/login", {"username": "alice", "password": "wonderland", "device": "Terminal"})
        self.assertEqual(status, 200)
        browser.open("/login")
        browser.wait("the page has found no session", lambda: browser.find("#device").get_attribute("value") != "")

        def press(*keys):
            webdriver.ActionChains(browser.driver).send_keys(*keys).perform()

        def focused():
            return browser.driver.switch_to.active_element

        press(Keys.TAB)
        self.assertEqual(focused().accessible_name, "User name")
        press("alice", Keys.TAB)
        self.assertEqual(focused().accessible_name, "Password")
        press("wonderland", Keys.TAB)
        self.assertEqual(focused().accessible_name, "Name of this device")
        press(Keys.ENTER)
        browser.wait_for_page("/")
        browser.open("/sessions")
        browser.wait_for_devices(2, 0)
        names = []
        while not names or names[-1] != "Log out Terminal":
            press(Keys.TAB)
            names.append(focused().accessible_name)
            self.assertLess(len(names), 10, names)
        self.assertEqual(names, ["To the content", "Orders", "Your devices", "Log out Terminal"])
        press(Keys.ENTER)
        browser.wait_for_devices(1, 1)
        self.assertEqual(self.world.call("GET", "/auth/session", token=other["access_token"])[1]["code"], "session_revoked")
        self.assertEqual(browser.complaints(), [])

    def test_goes_on_by_itself_when_the_access_token_is_over(self):
        browser = self.browser()
        browser.log_in("bob", "builder", "Desk")
        browser.open("/sessions")
        browser.wait_for_devices(1, 0)
        # What its Max-Age does after five minutes.
        browser.driver.delete_cookie("__Host-portcullis")
        browser.open("/sessions")
        browser.wait_for_page("/sessions")
        browser.wait_for_devices(1, 0)
        self.assertEqual(browser.text("#user"), "bob")
        # The same under a page that is open.
        browser.driver.delete_cookie("__Host-portcullis")
        self.world.call("POST", "/auth/login", {"username": "bob", "password": "builder", "device": "Terminal"})
        browser.find("#logout-all").click()
        browser.wait("it asks", lambda: browser.find("#everywhere").is_displayed())
        browser.find("#everywhere-yes").click()
        browser.wait_for_page("/login")
        self.assertEqual(browser.complaints(), [])

    def test_lets_nothing_through_without_a_login_but_the_login_page(self):
        fields = {"Accept": "text/html"}
        for path in ("/", "/sessions", "/login/below", "/anything"):
            request = urllib.request.Request(self.world.url + path, headers=fields)
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.assertEqual(answer.url, f"{self.world.url}/login", path)
                self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
        for path in ("/login", "/static/login.js", "/static/style.css"):
            self.assertEqual(World.status(self.world.url + path), 200, path)
        self.assertEqual(self.world.call("GET", "/sessions")[0], 401)


if __name__ == "__main__":
    unittest.main(verbosity=2)
