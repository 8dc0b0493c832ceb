"""Real clients through the proxy: curl, requests, httpx, websockets, Chromium. Prints a table; exits 1 if a row failed.

usage: scripts/clients [EVENLY]       (tonic, the gRPC client, is in proxy/tests/grpc.rs)
"""

import asyncio
import contextlib
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import httpx
import requests
import websockets
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

EVENLY = sys.argv[1]
CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PAGE = """<!doctype html><title>waiting</title><pre id=said></pre><script>
const socket = new WebSocket('ws://' + location.host + '/socket');
const said = document.getElementById('said');
socket.onopen = () => ['hello', 'x'.repeat(100000)].forEach(text => socket.send(text));
let count = 0;
socket.onmessage = event => { said.textContent += event.data.length + ' '; if (++count === 2) socket.close(1000); };
socket.onclose = event => { document.title = 'closed ' + event.code + ' ' + event.wasClean; };
</script>"""
rows = []


def row(client, way):
    """Runs one row at once; what it returns is shown."""

    def run(check):
        began = time.monotonic()
        try:
            result, shown = "ok", check() or ""
        except Exception as error:  # whatever a client says is the row's result
            result, shown = "FAILED", f"{type(error).__name__}: {error}"[:300].replace("\n", " ")
        rows.append(result)
        print(f"| {client} | {way} | {result} | {shown} | {time.monotonic() - began:.1f} s |", flush=True)

    return run


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_open(address):
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as one:
        return one.connect_ex(address) == 0


def until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within 30 s")
        time.sleep(0.05)


class Parts:
    """What runs: processes that end with this one, and a folder that goes with it."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self, command, *addresses):
        log = open(self.folder / f"{len(self.processes)}.log", "w")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.processes.append(process)
        for address in addresses:
            until(f"{command[0]} listens", lambda: is_open(address) or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError(f"{command}: {pathlib.Path(log.name).read_text()}")

    def evenly(self, name, text, *addresses):
        file = self.folder / f"{name}.toml"
        file.write_text(text)
        self.start([EVENLY, "run", "--config", str(file)], *addresses)

    def certificate(self, host):
        file = self.folder / host
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={host}"
        command += f" -addext subjectAltName=DNS:{host} -keyout {file}.key -out {file}.pem"
        subprocess.run(command.split(), check=True, capture_output=True)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "20", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr}{done.stdout[:200]}")
    return done.stdout


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r}, not {wanted!r}")
    return str(found)


def curl_rows(port, tls, forward, unix, folder):
    shows = ("--output", "/dev/null", "--write-out", "%{http_version} %{response_code}")
    url = f"http://127.0.0.1:{port}"
    row("curl", "HTTP/1.1")(lambda: expect(curl(url + "/get", *shows), "1.1 200"))
    row("curl", "HTTP/1.0")(lambda: expect(curl(url + "/get", "--http1.0", *shows)[-3:], "200"))
    row("curl", "HTTP/2 without TLS, by prior knowledge")(
        lambda: expect(curl(url + "/get", "--http2-prior-knowledge", *shows), "2 200"))
    row("curl", "HTTP/2 without TLS, by Upgrade: stays HTTP/1.1")(
        lambda: expect(curl(url + "/get", "--http2", *shows), "1.1 200"))
    for host in ("one.test", "two.test"):
        at = ("--resolve", f"{host}:{tls}:127.0.0.1", "--cacert", folder / f"{host}.pem")
        row("curl", f"HTTP/2 over TLS, certificate by SNI for {host}")(
            lambda: expect(curl(f"https://{host}:{tls}/get", *at, *shows), "2 200"))
        row("curl", f"HTTP/1.1 over TLS, certificate by SNI for {host}")(
            lambda: expect(curl(f"https://{host}:{tls}/get", "--http1.1", *at, *shows), "1.1 200"))
    wrong = ("--resolve", f"one.test:{tls}:127.0.0.1", "--cacert", folder / "two.test.pem")

    def refused():
        with contextlib.suppress(RuntimeError):
            curl(f"https://one.test:{tls}/get", *wrong)
            raise AssertionError("accepted")

    row("curl", "TLS, asked for another certificate: refused by the client")(refused)
    row("curl", "Unix socket")(
        lambda: expect(curl("http://any/get", "--unix-socket", unix, *shows), "1.1 200"))
    large = folder / "large"
    large.write_bytes(b"0123456789" * 100_000)
    row("curl", "upload of 1 MB after 100 Continue")(
        lambda: expect(len(curl(url + "/post", "--data-binary", f"@{large}", "-H", "Expect: 100-continue")) > 1_000_000, True))
    row("curl", "upload of 1 MB in chunks")(
        lambda: expect(len(curl(url + "/post", "-T", large, "-X", "POST", "-H", "Transfer-Encoding: chunked")) > 1_000_000, True))
    proxy = ("--proxy", f"http://127.0.0.1:{forward}")
    row("curl", "forward proxy, absolute form")(
        lambda: expect(curl(f"http://127.0.0.1:{port}/get", *proxy, *shows), "1.1 200"))
    row("curl", "forward proxy, CONNECT, HTTP inside")(
        lambda: expect(curl(f"http://127.0.0.1:{port}/get", *proxy, "--proxytunnel", *shows), "1.1 200"))
    row("curl", "forward proxy, CONNECT, TLS and HTTP/2 inside")(
        lambda: expect(curl(f"https://127.0.0.1:{tls}/get", *proxy, "--insecure", *shows), "2 200"))
    outside = ("--output", "/dev/null", "--write-out", "%{http_connect}")

    def forbidden():
        try:
            return expect(curl("https://127.0.0.1:9/", *proxy, *outside), "403")
        except RuntimeError as error:
            return expect("403" in str(error), True)

    row("curl", "forward proxy, CONNECT outside of the list: 403")(forbidden)


def httpbin_rows(direct, port):
    """The same question with and without the proxy; what is about the connection is left out."""
    asked = [
        ("GET", "/get?a=b&a=c&%C3%A9=%20", {}),
        ("POST", "/post", {"data": {"a": "b"}}),
        ("PUT", "/put", {"json": {"a": [1, 2]}}),
        ("PATCH", "/patch", {"data": b"\x00\xff" * 1000}),
        ("DELETE", "/delete", {}),
        ("HEAD", "/get", {}),
        ("OPTIONS", "/get", {}),
        ("GET", "/gzip", {}),
        ("GET", "/deflate", {}),
        ("GET", "/brotli", {}),
        ("GET", "/encoding/utf8", {}),
        ("GET", "/html", {}),
        ("GET", "/image/png", {}),
        ("GET", "/stream/20", {}),
        ("GET", "/stream-bytes/50000?seed=1&chunk_size=777", {}),
        ("GET", "/bytes/100000?seed=2", {}),
        ("GET", "/range/5000", {"headers": {"Range": "bytes=100-299"}}),
        ("GET", "/drip?duration=1&numbytes=5&delay=0", {}),
        ("GET", "/delay/1", {}),
        ("GET", "/redirect/3", {}),
        ("GET", "/relative-redirect/2", {}),
        ("GET", "/cookies/set?a=b", {}),
        ("GET", "/cookies", {"headers": {"Cookie": "a=b; c=d"}}),
        ("GET", "/basic-auth/alice/s3cret", {"auth": ("alice", "s3cret")}),
        ("GET", "/basic-auth/alice/s3cret", {"auth": ("alice", "wrong")}),
        ("GET", "/etag/v1", {"headers": {"If-None-Match": "v1"}}),
        ("GET", "/cache", {"headers": {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}}),
        ("GET", "/response-headers?X-A=1&X-A=2", {}),
        *[("GET", f"/status/{status}", {}) for status in (200, 204, 301, 304, 400, 404, 418, 500, 503)],
        ("POST", "/anything/a%2Fb;c=d", {"files": {"file": ("name", b"content" * 1000)}}),
    ]
    about_the_way = {"origin", "url"}
    fields = ("content-type", "content-encoding", "etag", "location", "set-cookie", "content-range", "x-a", "allow")

    def told(answer):
        body = answer.content
        if "/stream/" in str(answer.url):
            body = body.count(b"\n")  # each line repeats the request, and so the way
        elif "json" in answer.headers.get("content-type", "") and body.startswith(b"{"):
            body = {key: value for key, value in answer.json().items() if key not in about_the_way}
            for name in list(body.get("headers", {})):
                if name.startswith("X-") or name in ("Via", "Host", "Content-Type", "Content-Length", "Connection"):
                    del body["headers"][name]
        return answer.status_code, body, {name: answer.headers.get(name) for name in fields}

    def compare(request, method, path, arguments):
        through, plain = (told(request(method, f"http://127.0.0.1:{p}{path}", **arguments)) for p in (port, direct))
        for mine, theirs in zip(through, plain):
            if mine != theirs:
                raise AssertionError(f"{method} {path}: {mine!r}"[:150] + f" without the proxy: {theirs!r}"[:150])

    def all_of(request, clean):
        for method, path, arguments in asked:
            compare(request, method, path, clean(arguments))
        return f"{len(asked)} requests as without the proxy"

    def httpx_of(http2):
        client = httpx.Client(http1=not http2, http2=http2, follow_redirects=True, timeout=20)

        def request(method, url, **arguments):
            if str(direct) in url:  # httpbin's server does not speak HTTP/2
                with httpx.Client(follow_redirects=True, timeout=20) as plain:
                    return plain.request(method, url, **arguments)
            client.cookies.clear()
            return client.request(method, url, **arguments)

        return request

    def for_httpx(arguments):
        if isinstance(arguments.get("data"), bytes):
            return {"content": arguments["data"]}
        return arguments

    row("requests", "httpbin behind the proxy")(lambda: all_of(requests.request, lambda same: same))
    row("httpx", "httpbin, HTTP/1.1")(lambda: all_of(httpx_of(False), for_httpx))
    row("httpx", "httpbin, HTTP/2 by prior knowledge")(lambda: all_of(httpx_of(True), for_httpx))


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def page_or_socket(connection, request):
    if request.path == "/page":
        answer = connection.respond(200, PAGE)
        answer.headers["Content-Type"] = "text/html"
        return answer
    return None


def websocket_rows(parts):
    async def talk(port):
        async with websockets.connect(f"ws://127.0.0.1:{port}/socket", max_size=None) as connection:
            for message in ("hello", "x" * 1_000_000, b"\x00" * 70_000):
                await connection.send(message)
                if await connection.recv() != message:
                    raise AssertionError("another message came back")
            await (await connection.ping())
        return expect(connection.close_code, 1000)

    def chromium(port):
        options = webdriver.ChromeOptions()
        for argument in [*CHROMIUM, f"--user-data-dir={parts.folder}/chromium"]:
            options.add_argument(argument)
        browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        try:
            browser.get(f"http://127.0.0.1:{port}/page")
            WebDriverWait(browser, 20).until(lambda page: page.title.startswith("closed"))
            expect(browser.find_element(By.ID, "said").text.split(), ["5", "100000"])
            return expect(browser.title, "closed 1000 true")
        finally:
            browser.quit()

    async def both():
        async with websockets.serve(echo, "127.0.0.1", 0, process_request=page_or_socket, max_size=None) as server:
            member, port = server.sockets[0].getsockname()[1], free_port()
            text = f'[server]\nport = "127.0.0.1:{port}"\nproxy_pass = ["127.0.0.1:{member}"]\n'
            await asyncio.to_thread(parts.evenly, "websocket", text, ("127.0.0.1", port))
            for client, check in (("websockets", lambda: asyncio.run(talk(port))), ("Chromium", lambda: chromium(port))):
                await asyncio.to_thread(row(client, "WebSocket: text, large, close"), check)

    asyncio.run(both())


def main():
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(pathlib.Path(folder))
        try:
            direct, port, tls, forward = (free_port() for _ in range(4))
            unix = f"{folder}/evenly.sock"
            parts.start([sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{direct}", "--threads", "8", "httpbin:app"],
                        ("127.0.0.1", direct))
            for host in ("one.test", "two.test"):
                parts.certificate(host)
            member = f'proxy_pass = ["127.0.0.1:{direct}"]\n'
            parts.evenly(
                "reverse",
                f'[server]\nport = "127.0.0.1:{port}"\n{member}[tls]\nport = "127.0.0.1:{tls}"\ncertificate = "one.test.pem"\n'
                'key = "one.test.key"\n[[tls.more]]\ncertificate = "two.test.pem"\nkey = "two.test.key"\n',
                ("127.0.0.1", port), ("127.0.0.1", tls))
            parts.evenly("unix", f'[server]\nport = "unix:{unix}"\n{member}', unix)
            parts.evenly(
                "forward",
                f'[server]\nport = "127.0.0.1:{forward}"\nreverse = false\n'
                f'allow = ["127.0.0.1:{port}", "127.0.0.1:{tls}"]\n', ("127.0.0.1", forward))
            print("| client | way | result | | time |\n|---|---|---|---|---|")
            curl_rows(port, tls, forward, unix, parts.folder)
            httpbin_rows(direct, port)
            websocket_rows(parts)
        finally:
            parts.stop()
    failed = rows.count("FAILED")
    print(f"\n{len(rows) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
