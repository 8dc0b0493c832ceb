#!/usr/bin/env python3
"""The same faults for evenly, nginx and HAProxy, as processes on loopback under load: one table, in Markdown.

usage: scripts/faults.py EVENLY [FAULT ...]        (all faults if none is named)
Needs nginx and haproxy (Debian packages) and a built test program `faults_members`, which serves as the members:
    cargo test -p evenly --test faults_members --no-run
Every proxy has two threads or workers, the same time limits, and is told to try idempotent requests again elsewhere.
"""

import collections
import contextlib
import glob
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 30


def free_port():
    """Below the ports of outgoing connections: one of those would meet itself where nobody listens."""
    global last_port
    while True:
        last_port += 1
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("0.0.0.0", last_port))
            return last_port


last_port = 22_000 + os.getpid() % 9_000


def eventually(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.005)


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Client:
    """One connection of HTTP/1.1; raises at whatever is no whole answer."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def send(self, path):
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    def answer(self):
        """Its status, and whether the connection goes on."""
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        head = head.decode("latin-1").lower()
        length = re.search(r"\r\ncontent-length: *(\d+)", head)
        length = int(length[1]) if length else 0
        while len(self.rest) < length:
            self.more()
        self.rest = self.rest[length:]
        return int(head.split()[1]), "\r\nconnection: close" not in head

    def more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        self.rest += piece

    def get(self, path="/"):
        self.send(path)
        return self.answer()

    def close(self):
        self.socket.close()


class Load:
    """Clients on kept connections that ask without pause. A reset, a refusal or a wrong status is a failure."""

    def __init__(self, port, clients=8, path="/", status=200):
        self.port, self.path, self.status = port, path, status
        self.done = False
        self.times, self.failures = [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = None
        while not self.done:
            began = time.monotonic()
            try:
                client = client or Client(self.port)
                status, is_kept = client.get(self.path)
                if status != self.status:
                    raise ValueError(f"status {status}")
            except (OSError, ValueError) as error:
                self.failures.append(str(error))
                is_kept = False
                time.sleep(0.001)
            self.times.append(time.monotonic() - began)
            if not is_kept and client:
                client.close()
                client = None

    def goes_on(self, count):
        wanted = len(self.times) + count
        eventually("the load goes on", lambda: len(self.times) >= wanted)

    def stop(self):
        self.done = True
        for thread in self.threads:
            thread.join()
        return self

    def told(self):
        asked, failed = len(self.times), len(self.failures)
        worst = max(self.times) * 1000
        why, often = collections.Counter(self.failures).most_common(1)[0] if failed else ("", 0)
        why = f" ({often}: {why})" if failed else ""
        return f"**{failed}** of {asked:,} failed{why}, worst {worst:.0f} ms"


class Member:
    """The test program of evenly as a process of its own."""

    program = None

    def __init__(self, port=None):
        self.port = port or free_port()
        environment = {**os.environ, "EVENLY_TEST_UPSTREAM": f"127.0.0.1:{self.port}"}
        arguments = [Member.program, "upstream_process", "--exact", "--nocapture"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(arguments, env=environment, stdout=quiet, stderr=quiet)
        eventually("the member listens", lambda: listens(self.port))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def again(self):
        self.kill()
        return Member(self.port)


class Counting:
    """A member that answers everything with 500, and counts."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.count = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        rest = b""
        with contextlib.suppress(OSError), stream:
            while piece := stream.recv(65536):
                rest += piece
                while b"\r\n\r\n" in rest:
                    rest = rest.split(b"\r\n\r\n", 1)[1]
                    self.count += 1
                    stream.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")


class Proxy:
    """A running proxy. `kind` says which."""

    def __init__(self, kind, members, retry_500=False, slow=False, descriptors=None):
        self.kind, self.port = kind, free_port()
        self.folder = tempfile.mkdtemp(prefix=f"faults-{kind}-")
        self.file = os.path.join(self.folder, "configuration")
        self.retry_500, self.slow = retry_500, slow
        self.configure([member.port for member in members])
        self.log = open(os.path.join(self.folder, "log"), "wb")
        command = self.command()
        if descriptors:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder)
        eventually(f"{kind} listens", lambda: listens(self.port))

    def command(self):
        return {
            "evenly": [EVENLY, "run", "--config", self.file],
            "nginx": ["nginx", "-c", self.file, "-p", self.folder, "-e", os.path.join(self.folder, "error")],
            "HAProxy": ["haproxy", "-W", "-f", self.file],
        }[self.kind]

    def configure(self, ports, weight=1):
        text = getattr(self, f"{self.kind.lower()}_file")(ports, weight)
        pathlib.Path(self.file + ".new").write_text(text)
        os.rename(self.file + ".new", self.file)

    def evenly_file(self, ports, weight):
        members = ", ".join(f'"127.0.0.1:{port}^{weight}"' for port in ports)
        wait = 60 if self.slow else 1
        text = f'[server]\nport = "127.0.0.1:{self.port}"\nproxy_pass = [{members}]\nresponse_timeout = {wait}\n'
        text += "http_read_timeout = 2\nhttp_write_timeout = 60\n" if not self.slow else "http_read_timeout = 600\nidle_timeout = 600\n"
        return text + ("[retry]\nstatuses = [500]\n" if self.retry_500 else "")

    def nginx_file(self, ports, weight):
        members = "".join(f"server 127.0.0.1:{port} weight={weight} max_fails=5 fail_timeout=2s;" for port in ports)
        wait = 60 if self.slow else 1
        also = " http_500" if self.retry_500 else ""
        return f"""daemon off; worker_processes 2; pid {self.folder}/pid; error_log {self.folder}/error crit;
            worker_rlimit_nofile 30000; events {{ worker_connections 15000; }}
            http {{ access_log off; client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
              fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
              upstream members {{ {members} keepalive 64; }}
              server {{ listen 127.0.0.1:{self.port}; keepalive_requests 100000000; keepalive_timeout 600s;
                client_header_timeout 2s; send_timeout 60s;
                location / {{ proxy_pass http://members; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_connect_timeout 2s; proxy_read_timeout {wait}s; proxy_next_upstream error timeout{also};
                  proxy_max_temp_file_size 0; }} }} }}"""

    def haproxy_file(self, ports, weight):
        members = "".join(
            f"  server m{at} 127.0.0.1:{port} weight {weight} check inter 2s\n" for at, port in enumerate(ports)
        )
        wait = 60 if self.slow else 1
        also = " 500" if self.retry_500 else ""
        return (
            f"global\n  nbthread 2\ndefaults\n  mode http\n  timeout connect 2s\n"
            f"  timeout client 600s\n  timeout server {wait}s\n  timeout http-request 2s\n  timeout http-keep-alive 600s\n"
            f"  retries 3\n  option redispatch 1\n"
            f"  retry-on conn-failure empty-response response-timeout{also}\n"
            f"frontend all\n  bind 127.0.0.1:{self.port}\n  default_backend members\n"
            f"backend members\n  balance roundrobin\n{members}"
        )

    def reload(self):
        self.process.send_signal(signal.SIGUSR2 if self.kind == "HAProxy" else signal.SIGHUP)

    def drain(self):
        how = {"evenly": signal.SIGTERM, "nginx": signal.SIGQUIT, "HAProxy": signal.SIGUSR1}
        self.process.send_signal(how[self.kind])

    def pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [self.process.pid, *map(int, children.stdout.split())]

    def memory_kib(self):
        """Memory of all its processes, what they share counted once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.search(r"Pss: +(\d+)", text)[1])
        return total

    def end(self):
        for pid in reversed(self.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def member_killed(kind):
    """`kill -9` of one of four, again and again"""
    with running(kind, 4) as (proxy, members):
        load = Load(proxy.port)
        kills = 0
        while len(load.times) < 12_000:
            load.goes_on(700)
            members[kills % 4].kill()
            load.goes_on(700)
            members[kills % 4] = members[kills % 4].again()
            kills += 1
        return f"{load.stop().told()}, {kills} kills"


def member_frozen(kind):
    """SIGSTOP of one of four for 5 s, time limit 1 s"""
    with running(kind, 4) as (proxy, members):
        load = Load(proxy.port)
        load.goes_on(500)
        members[0].process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        members[0].process.send_signal(signal.SIGCONT)
        load.goes_on(500)
        return load.stop().told()


def all_down_and_back(kind):
    """all of three killed for 3 s, then started again"""
    with running(kind, 3) as (proxy, members):
        Client(proxy.port).get()
        for member in members:
            member.kill()
        waits, statuses, down = [], set(), time.monotonic()
        while time.monotonic() < down + 3:
            began = time.monotonic()
            statuses.add(Client(proxy.port).get()[0])
            waits.append(time.monotonic() - began)
        members[:] = [member.again() for member in members]
        back = time.monotonic()
        eventually("it is as before", lambda: Client(proxy.port).get()[0] == 200)
        took = time.monotonic() - back
        median = sorted(waits)[len(waits) // 2] * 1000
        worst = max(waits) * 1000
        said = "/".join(map(str, sorted(statuses)))
        return f"{said} in {median:.1f} ms (worst {worst:.0f}); 200 again after {took * 1000:.0f} ms"


def member_flapping(kind):
    """one of three half a second there, half a second gone, eight times"""
    with running(kind, 3) as (proxy, members):
        load = Load(proxy.port)
        for _ in range(8):
            time.sleep(0.5)
            members[0].kill()
            time.sleep(0.5)
            members[0] = members[0].again()
        return load.stop().told()


def all_answering_500(kind):
    """every answer is 500, and 500 is to be tried again: requests at the members for one of a client"""
    members = [Counting() for _ in range(3)]
    proxy = Proxy(kind, members, retry_500=True)
    try:
        # HAProxy's and our own checks by connection are no requests.
        load = Load(proxy.port, clients=4, status=500)
        eventually("enough", lambda: len(load.times) >= 3000)
        asked = len(load.stop().times)
        own = f", {len(load.failures)} answered otherwise ({load.failures[0]})" if load.failures else ""
        return f"× {sum(member.count for member in members) / asked:.2f} of {asked:,}{own}"
    finally:
        proxy.end()


def reloads(kind):
    """60 reloads in 6 s, each with other weights"""
    with running(kind, 3) as (proxy, members):
        load = Load(proxy.port)
        for turn in range(60):
            proxy.configure([member.port for member in members], weight=turn % 9 + 1)
            proxy.reload()
            time.sleep(0.1)
        load.goes_on(200)
        return load.stop().told()


def drain(kind):
    """told to stop with 200 requests in flight"""
    with running(kind, 1, slow=True) as (proxy, _):
        clients = [Client(proxy.port) for _ in range(200)]
        for client in clients:
            client.send("/delay/2000")
        time.sleep(1)
        proxy.drain()
        answered = 0
        for client in clients:
            with contextlib.suppress(OSError, ValueError):
                status, is_kept = client.answer()
                answered += status == 200
                # As every client does that is told so.
                if not is_kept:
                    client.close()
        last = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            proxy.process.wait(PATIENCE)
        ended = "never" if proxy.process.poll() is None else f"{(time.monotonic() - last) * 1000:.0f} ms"
        return f"**{200 - answered}** lost; ended {ended} after the last answer"


def idle_clients(kind):
    """4,000 kept connections after one request each: memory for each"""
    with running(kind, 1, slow=True) as (proxy, _):
        Client(proxy.port).get()
        before = proxy.memory_kib()
        clients = [Client(proxy.port) for _ in range(4000)]
        for client in clients:
            assert client.get()[0] == 200
        after = proxy.memory_kib()
        return f"{(after - before) / len(clients):.1f} KiB"


def slow_readers(kind):
    """300 clients that ask for 20 MB and read nothing: memory for each, and the others"""
    with running(kind, 1, slow=True) as (proxy, _):
        before = proxy.memory_kib()
        clients = [Client(proxy.port) for _ in range(300)]
        for client in clients:
            client.send("/bytes/20000000")
        for client in clients:
            client.more()
        load = Load(proxy.port, clients=4)
        load.goes_on(2000)
        each = (proxy.memory_kib() - before) / len(clients)
        return f"{each:.0f} KiB; {load.stop().told()}"


def slowloris(kind):
    """300 heads that never end, time limit 2 s: when all are closed, and the others"""
    with running(kind, 1) as (proxy, _):
        began = time.monotonic()
        clients = [Client(proxy.port) for _ in range(300)]
        for client in clients:
            client.socket.sendall(b"GET / HTTP/1.1\r\nHost: te")
        load = Load(proxy.port, clients=4)
        for client in clients:
            with contextlib.suppress(OSError):
                while client.socket.recv(65536):
                    pass
        took = time.monotonic() - began
        return f"{took:.1f} s; {load.stop().told()}"


def few_descriptors(kind):
    """256 descriptors for each process, 600 clients come and go: the first answer after, and the load then"""
    with running(kind, 1, descriptors=256) as (proxy, _):
        clients = [Client(proxy.port) for _ in range(600)]
        time.sleep(1)
        used = sum(cpu_s(pid) for pid in proxy.pids())
        time.sleep(2)
        used = sum(cpu_s(pid) for pid in proxy.pids()) - used
        for client in clients:
            client.close()
        freed = time.monotonic()

        def is_well():
            with contextlib.suppress(OSError, ValueError):
                return Client(proxy.port).get()[0] == 200
            return False

        eventually("it answers", is_well)
        took = time.monotonic() - freed
        load = Load(proxy.port, clients=4)
        load.goes_on(500)
        return f"{took * 1000:.0f} ms; {load.stop().told()}; {used / 2 * 100:.0f} % CPU while out of them"


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(kind, count, **settings):
    members = [Member() for _ in range(count)]
    proxy = None
    try:
        proxy = Proxy(kind, members, **settings)
        yield proxy, members
    finally:
        if proxy:
            proxy.end()
        for member in members:
            member.kill()


FAULTS = [
    member_killed,
    member_frozen,
    all_down_and_back,
    member_flapping,
    all_answering_500,
    reloads,
    drain,
    idle_clients,
    slow_readers,
    slowloris,
    few_descriptors,
]

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    EVENLY = os.path.abspath(sys.argv[1])
    programs = [name for name in glob.glob(f"{ROOT}/target/*/deps/faults_members-*") if "." not in os.path.basename(name)]
    if not programs:
        sys.exit("no members: cargo test -p evenly --test faults_members --no-run")
    Member.program = max(programs, key=os.path.getmtime)
    kinds = ["evenly", "nginx", "HAProxy"]
    print("| fault | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds), sep="\n", flush=True)
    for fault in FAULTS:
        if len(sys.argv) > 2 and fault.__name__ not in sys.argv[2:]:
            continue
        cells = []
        for kind in kinds:
            try:
                cells.append(fault(kind))
            except (AssertionError, OSError, ValueError) as error:
                cells.append(f"gave up: {error}")
        print(f"| {fault.__doc__} | " + " | ".join(cells) + " |", flush=True)
