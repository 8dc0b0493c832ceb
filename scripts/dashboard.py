#!/usr/bin/env python3
"""The dashboard in headless Chromium: real clicks on a real proxy, and screenshots to look at.

usage: scripts/dashboard.py [EVENLY] [FOLDER FOR SCREENSHOTS]
Needs chromium and chromium-driver (Debian packages) and selenium (PyPI). Says what it did; exits 1 at the first fault.
"""

import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

EVENLY = sys.argv[1] if len(sys.argv) > 1 else "target/debug/evenly"
SHOTS = sys.argv[2] if len(sys.argv) > 2 else "target/dashboard"


class Member(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 500 if self.path == "/broken" else 200
        body = b"hello\n"
        self.send_response(status)
        if self.path.startswith("/cached"):
            self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def member():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Member)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


def load(port, stop):
    paths = ["/", "/cached/1", "/cached/2", "/other"]
    at = 0
    while not stop.is_set():
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{paths[at % 4]}", timeout=5).read()
        except OSError:
            pass
        at += 1
        stop.wait(0.01)


def browser(width, height, dark):
    options = webdriver.ChromeOptions()
    for flag in ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 f"--user-data-dir={tempfile.mkdtemp()}", f"--window-size={width},{height}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
    return driver


def members_of(admin):
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/members") as answer:
        return {each["id"]: each for each in json.load(answer)[0]["members"]}


def check(page, admin, ids):
    wait = WebDriverWait(page, 20)
    row = lambda id: page.find_element(By.XPATH, f"//tr[th[text()='{id}']]")
    wait.until(lambda _: len(page.find_elements(By.CSS_SELECTOR, "tbody tr")) == len(ids))
    wait.until(lambda _: all("/s" in row(id).text for id in ids))
    print("members are shown:", [row(id).text.replace("\n", " ") for id in ids])
    wait.until(lambda _: len(page.find_element(By.CSS_SELECTOR, "#chart-requests path.first").get_attribute("d")) > 40)
    print("the chart of requests is drawn")

    bar = row(ids[0]).find_element(By.CSS_SELECTOR, ".bar")
    filled = bar.find_element(By.TAG_NAME, "span").size["width"] / bar.size["width"]
    share = float(row(ids[0]).find_element(By.CSS_SELECTOR, ".share").text.split(" %")[0]) / 100
    assert abs(filled - share) < 0.05, f"the bar shows {filled}, the text {share}"
    print("the bar is as long as the share")

    # A click drains, another one brings back.
    target = ids[0]
    row(target).find_element(By.XPATH, ".//button[text()='Drain']").click()
    wait.until(lambda _: "draining" in row(target).text)
    assert members_of(admin)[target]["draining"], "the proxy was not told"
    assert f"draining {target}" in page.find_element(By.ID, "said").text
    row(target).find_element(By.XPATH, ".//button[text()='Undrain']").click()
    wait.until(lambda _: "draining" not in row(target).text)
    assert not members_of(admin)[target]["draining"]
    print("drain and undrain by click")

    # By keyboard alone: focus stays on the button while the page refreshes itself.
    more = row(target).find_element(By.XPATH, ".//button[text()='+']")
    page.execute_script("arguments[0].focus()", more)
    before = members_of(admin)[target]["weight"]
    for _ in range(2):
        page.switch_to.active_element.send_keys(Keys.ENTER)
        before += 1
        wait.until(lambda _: members_of(admin)[target]["weight"] == before)
        wait.until(lambda _: row(target).find_element(By.TAG_NAME, "output").text == str(before))
    assert page.switch_to.active_element == more, "the focus was lost"
    print("weight by keyboard, the focus stays")

    changes = page.find_element(By.ID, "changes").text
    assert f"draining {target}" in changes and "started" in changes, changes
    wide = page.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} px wider than the window"
    faults = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert not faults, faults
    print("changes are listed, nothing is cut off, the console is clean")


def main():
    os.makedirs(SHOTS, exist_ok=True)
    ids = [member(), member(), member()]
    port, admin = free_port(), free_port()
    command = [EVENLY, "run", "--config"]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        weighted = ", ".join(f'"{id}^{weight}"' for id, weight in zip(ids, [3, 2, 1]))
        file.write(f'[server]\nport = "127.0.0.1:{port}"\nproxy_pass = [{weighted}]\nbalance = "round_robin"\n'
                   f'cache = true\n[admin]\nlisten = "127.0.0.1:{admin}"\n[health]\nslow_start = 0\n')
        file.flush()
        proxy = subprocess.Popen([*command, file.name], stderr=subprocess.DEVNULL)
        stop = threading.Event()
        threading.Thread(target=load, args=(port, stop), daemon=True).start()
        try:
            # Something to draw.
            time.sleep(4)
            for name, width, height, dark in [("wide-light", 1280, 1000, False), ("wide-dark", 1280, 1000, True),
                                              ("phone-dark", 390, 1800, True)]:
                page = browser(width, height, dark)
                try:
                    page.get(f"http://127.0.0.1:{admin}/")
                    check(page, admin, ids)
                    page.save_screenshot(f"{SHOTS}/{name}.png")
                    print(f"looked at: {SHOTS}/{name}.png")
                finally:
                    page.quit()
        finally:
            stop.set()
            proxy.terminate()
            proxy.wait(10)
    print("the dashboard works")


main()
