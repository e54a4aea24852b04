"""What a load and a measurement share: a server on a temporary folder, a customer of its REST API on
keep-alive connections, a webhook receiver that keeps the time of each event. Standard library only.
"""

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
import wave
from array import array

CREDITS = 1_000_000
CARRIER = "127.0.0.2"


class Server:
    """A `kaphila serve` of its own, with one trunk and one key, until `stop`."""

    def __init__(self, binary, carrier_port, **settings):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="kaphila-load-")
        self.http = free_port(socket.SOCK_STREAM)
        self.admin = free_port(socket.SOCK_STREAM)
        wanted = {
            "config": f"{self.folder}/kaphila.toml",
            "http_listen": f"127.0.0.1:{self.http}",
            "admin_listen": f"127.0.0.1:{self.admin}",
            "sip_udp": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
            "webhooks_allow_http": "true",
            "webhooks_allow_private": "true",
            "log_level": "warn",
        } | settings
        self.environment = os.environ | {f"KAPHILA_{name.upper()}": str(value) for name, value in wanted.items()}
        self.run("init", "--dir", self.folder)
        self.run("trunk", "add", "carrier", "--uri", f"sip:{CARRIER}:{carrier_port}", "--qualify", "0")
        made = json.loads(self.run("key", "create", "--name", "load", "--credits", str(CREDITS),
                                   "--rate-limit", "1000000000", "--trunk", "carrier"))
        self.key, self.key_id = made["key"], made["keyId"]
        write_tone(f"{self.folder}/sounds/tone.wav", 2)
        write_tone(f"{self.folder}/sounds/long.wav", 120)
        self.log = open(f"{self.folder}/serve.log", "w")
        self.start()

    def start(self):
        """Seconds until it said that it is ready."""
        began = time.monotonic()
        self.process = subprocess.Popen([self.binary, "serve", "--drain", "1s"], env=self.environment, text=True,
                                        stdout=subprocess.PIPE, stderr=self.log)
        if not any("ready" in line for line in self.process.stdout):
            raise SystemExit(f"kaphila serve did not start:\n{self.said()}")
        return time.monotonic() - began

    def run(self, *words):
        done = subprocess.run([self.binary, *words], env=self.environment, text=True, capture_output=True,
                              timeout=60)
        if done.returncode != 0:
            raise SystemExit(f"kaphila {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def stop(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self):
        with open(self.log.name) as log:
            return log.read()

    # --- What the process is and has ---

    def cpu_ns(self):
        """CPU time of its threads as the scheduler accounts it, kernel included."""
        return sum(ns for _, ns in self.cpu_by_thread())

    def cpu_by_thread(self):
        tasks = f"/proc/{self.process.pid}/task"
        found = []
        for task in os.listdir(tasks):
            try:
                name = read(f"{tasks}/{task}/comm").strip()
                found.append((name, int(read(f"{tasks}/{task}/schedstat").split()[0])))
            except OSError:
                pass  # it ended meanwhile
        return found

    def resident_kib(self):
        status = read(f"/proc/{self.process.pid}/status")
        return int(status.split("VmRSS:")[1].split()[0])

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def descriptors(self):
        """Open descriptors, those of the database's pool apart: it opens them as it needs them."""
        folder = f"/proc/{self.process.pid}/fd"
        links = []
        for name in os.listdir(folder):
            try:
                links.append(os.readlink(f"{folder}/{name}"))
            except OSError:
                pass
        return [link for link in links if "kaphila.db" not in link]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("kaphila_"): float(value) for name, value in pairs}

    def rows(self, query):
        database = sqlite3.connect(f"file:{self.folder}/data/kaphila.db?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def recording(self, filename):
        return f"{self.folder}/data/recordings/{filename}"


class Customer:
    """Requests on keep-alive connections, as many as are needed at once."""

    def __init__(self, server):
        self.server, self.idle = server, []
        self.head = (f"Host: 127.0.0.1:{server.http}\r\nAuthorization: Bearer {server.key}\r\n"
                     "Content-Type: application/json\r\n")

    async def post(self, path, **body):
        """(status, answer, when the request was written, in ns of the wall clock)"""
        text = json.dumps(body)
        return await self.send(f"POST {path} HTTP/1.1\r\n{self.head}Content-Length: {len(text)}\r\n\r\n{text}")

    async def get(self, path):
        """The same of a GET."""
        return await self.send(f"GET {path} HTTP/1.1\r\n{self.head}\r\n")

    async def send(self, request):
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.http)
        at = time.time_ns()
        writer.write(request.encode())
        status, body = await read_message(reader)
        self.idle.append((reader, writer))
        return int(status.split()[1]), json.loads(body), at

    async def close(self):
        for _, writer in self.idle:
            writer.close()
            await writer.wait_closed()
        self.idle.clear()


class Hooks:
    """A webhook receiver. `events` holds (arrival in ns, event) by call."""

    def __init__(self, on_event=None):
        self.events, self.count, self.on_event, self.writers = {}, 0, on_event, set()
        self.ended, self.first_of = 0, {}

    async def start(self):
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self.listener.sockets[0].getsockname()[1]}/hooks"

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                _, body = await read_message(reader)
                at = time.time_ns()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                event = json.loads(body)
                self.events.setdefault(event["callId"], []).append((at, event))
                self.count += 1
                self.ended += event["event"] == "call.ended"
                if self.on_event:
                    self.on_event(at, event)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def arrival(self, call_id, name):
        """When the call's first event of this name came, or None."""
        return next((at for at, event in self.events.get(call_id, []) if event["event"] == name), None)

    async def until(self, done, limit):
        """Waits until `done()`, at most `limit` seconds."""
        deadline = time.monotonic() + limit
        while not done() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return done()

    async def close(self):
        self.listener.close()
        for writer in list(self.writers):
            writer.close()
        await asyncio.sleep(0.2)


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    length = next((int(field[15:]) for field in fields if field.lower().startswith("content-length:")), 0)
    return first, await reader.readexactly(length)


async def paced(rate, count, start):
    """Calls `start(n)` for each n at `rate` a second, and gathers what it returns."""
    begin, tasks = time.monotonic(), []
    for n in range(count):
        await asyncio.sleep(max(0, begin + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(start(n)))
    return await asyncio.gather(*tasks)


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def write_tone(path, seconds):
    """A square wave of 400 Hz at -12 dB."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        period = array("h", [8000] * 10 + [-8000] * 10)
        file.writeframes((period * (400 * seconds)).tobytes())


def free_port(kind, host="127.0.0.1"):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def read(path):
    with open(path) as file:
        return file.read()
