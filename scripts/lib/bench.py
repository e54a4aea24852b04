"""The figures of docs/measurements.md, measured: see scripts/bench."""

import asyncio
import contextlib
import sqlite3
import statistics
import subprocess
import sys
import time

from carrier import Carrier
from harness import CARRIER, Customer, Hooks, Server, paced, quantile

FIRST = 14155500000
# New calls a second until so many are up.
RATE = 50


def main():
    binary, *words = sys.argv[1:]
    runs = 3
    if words[:1] == ["--runs"]:
        runs, words = int(words[1]), words[2:]
    unknown = set(words) - set(FIGURES) - set(COMMANDS)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join([*FIGURES, *COMMANDS])}")
    for name, measure in FIGURES.items():
        if not words or name in words:
            try:
                repeated(name, runs, lambda: asyncio.run(measure(binary)))
            except Failed as error:
                raise SystemExit(f"{name}: {error}") from None
    for name, commands in COMMANDS.items():
        if not words or name in words:
            for command in commands:
                print(f"{name}: {' '.join(command)}", flush=True)
                subprocess.run(command, check=True)


class Failed(Exception):
    """What was asked of the server was not done: there is nothing to measure."""


def repeated(name, runs, measure):
    """Prints each figure of a measurement: its runs, their median, and what is to be reached."""
    found = {}
    for _ in range(runs):
        for what, (value, goal) in measure().items():
            found.setdefault(what, ([], goal))[0].append(value)
    for what, (values, goal) in found.items():
        median = statistics.median(values)
        told = " ".join(f"{value:.3f}" for value in values)
        wanted = f"of {goal:g}: {median / goal:5.2f}" if goal else ""
        print(f"{name:4} {what:58} {median:9.3f}  {wanted:16} ({told})", flush=True)


class Bench:
    """A server and its carrier, a customer, a webhook receiver."""

    def __init__(self, binary, talk=False, hold=None, **settings):
        self.carrier = Carrier(CARRIER, talk, hold)
        self.server = Server(binary, self.carrier.port, **settings)
        self.customer, self.hooks = Customer(self.server), Hooks()

    async def __aenter__(self):
        await self.hooks.start()
        return self

    async def __aexit__(self, *_):
        await self.customer.close()
        self.server.stop()
        self.carrier.stop()
        await self.hooks.close()

    async def place(self, n, **more):
        """(the number, its call id, when /makecall was written)"""
        number = str(FIRST + n)
        status, answer, at = await self.customer.post(
            "/makecall", number=number, webhookUrl=self.hooks.url, **more)
        if status != 200:
            raise Failed(f"/makecall: {status} {answer}")
        return number, answer["callId"], at

    async def calls(self, rate, count, **more):
        """So many calls up, all answered."""
        placed = await paced(rate, count, lambda n: self.place(n, **more))
        await self.heard("call.answered", [call_id for _, call_id, _ in placed])
        return placed

    async def command(self, path, **body):
        status, answer, at = await self.customer.post(path, **body)
        if status != 200:
            raise Failed(f"{path}: {status} {answer}")
        return at

    async def heard(self, name, call_ids, limit=30):
        if not await self.hooks.until(lambda: all(self.hooks.arrival(it, name) for it in call_ids), limit):
            raise Failed(f"{name} did not come for every call")


def spread(what, values, **goals):
    """p50, p99 and the like of times in ns, as ms."""
    return {f"{what}, {name}, ms": (quantile(values, float(name[1:]) / 100) / 1e6, goal)
            for name, goal in goals.items()}


async def p1(binary):
    found, medians = {}, {}
    for sync in "normal", "full":
        async with Bench(binary, hold=1.0, database_sync=sync) as bench:
            await bench.calls(20, 40)
            placed = await paced(100, 1000, lambda n: bench.place(1000 + n))
            await bench.heard("call.ended", [call_id for _, call_id, _ in placed])
            report = bench.carrier.ask("report")
        late = [report[number]["invited"] - at for number, _, at in placed]
        goals = dict(p50=1.0, p99=5.0) if sync == "normal" else dict(p50=None, p99=None)
        found |= spread(f"/makecall to INVITE, 100 a second, sync {sync}", late, **goals)
        medians[sync] = quantile(late, 0.5)
    found["full to normal at p50, ratio"] = medians["full"] / medians["normal"], None
    return found


async def p3(binary, count=300, seconds=15):
    """Also P6: the gaps between our packets at the carrier."""
    async with Bench(binary, talk=True, calls_record="false") as bench:
        placed = await bench.calls(RATE, count)
        for _, call_id, _ in placed:
            await bench.command("/play", callId=call_id, file="long")
        await asyncio.sleep(3)
        before, threads, began = bench.server.cpu_ns(), dict_of(bench.server.cpu_by_thread()), time.monotonic()
        bench.carrier.ask("count")
        await asyncio.sleep(seconds)
        elapsed = (time.monotonic() - began) * 1e9
        cpu = bench.server.cpu_ns() - before
        after = dict_of(bench.server.cpu_by_thread())
        packets, missing, gaps = bench.carrier.ask("counted")
    off = [gap - 20_000_000 for gap in gaps]
    media = sum(ns - threads.get(name, 0) for name, ns in after.items() if name.startswith("media"))
    return {
        f"CPU a call, {count} calls, % of a core": (cpu / elapsed / count * 100, 0.04),
        "of it the media threads, % of a core": (media / elapsed / count * 100, None),
        "packets missing at the carrier": (missing, None),
        "packets of each call a second": (packets / (elapsed / 1e9) / count, None),
        "gap from 20 ms, p1, ms": (quantile(off, 0.01) / 1e6, -1.0),
        "gap from 20 ms, p99, ms": (quantile(off, 0.99) / 1e6, 1.0),
        "gap from 20 ms, p99.9, ms": (quantile(off, 0.999) / 1e6, 3.0),
    }


def dict_of(threads):
    summed = {}
    for name, ns in threads:
        summed[name] = summed.get(name, 0) + ns
    return summed


async def p7(binary, count=500):
    found = {}
    for record in "true", "false":
        recorded = "recorded" if record == "true" else "not recorded"
        async with Bench(binary, talk=True, calls_record=record) as bench:
            await asyncio.sleep(1)
            resident = [bench.server.resident_kib()]
            for part in range(2):
                await paced(RATE, count // 2, lambda n: bench.place(part * count + n))
                await asyncio.sleep(5)
                resident.append(bench.server.resident_kib())
        idle, half, full = resident
        found["idle process, MiB"] = idle / 1024, 40
        found[f"a call of {count}, {recorded}, KiB"] = (full - idle) / count, 64
        found[f"each more than {count // 2}, {recorded}, KiB"] = (full - half) / (count - count // 2), None
    return found


async def p8(binary):
    async with Bench(binary, talk=True) as bench:
        late = []
        for number, call_id, _ in await bench.calls(20, 100):
            at = bench.carrier.ask("press", number)
            await bench.heard("dtmf.received", [call_id])
            late.append(bench.hooks.arrival(call_id, "dtmf.received") - at)
    return spread("first packet of a key to dtmf.received", late, p50=10.0, p99=None)


async def p9(binary):
    found = {}
    for record in "true", "false":
        recorded = "recorded" if record == "true" else "not recorded"
        async with Bench(binary, talk=True, hold=1.5, calls_record=record) as bench:
            placed = await bench.calls(20, 300)
            await bench.heard("call.ended", [call_id for _, call_id, _ in placed])
            report = bench.carrier.ask("report")
            late = [bench.hooks.arrival(call_id, "call.ended") - report[number]["bye_sent"]
                    for number, call_id, _ in placed]
        found |= spread(f"BYE in to call.ended, {recorded}", late, p50=None, p99=20.0)
    async with Bench(binary, talk=True) as bench:
        placed = await bench.calls(20, 200)
        asked = await paced(20, len(placed), lambda n: bench.command("/hangup", callId=placed[n][1]))
        await asyncio.sleep(1)
        report = bench.carrier.ask("report")
    late = [report[number]["bye"] - at for (number, _, _), at in zip(placed, asked)]
    return found | spread("/hangup in to BYE on the wire", late, p50=None, p99=5.0)


async def p10(binary):
    async with Bench(binary, talk=True) as bench:
        placed = await bench.calls(20, 100)
        await bench.command("/play", callId=placed[0][1], file="tone")
        await asyncio.sleep(3)
        bench.carrier.ask("listen_to", placed[0][0])

        async def play(n):
            return await bench.command("/play", callId=placed[n][1], file="tone")

        asked = await paced(20, len(placed), play)
        await asyncio.sleep(1)
        report = bench.carrier.ask("report")
    late = [report[number]["loud"] - at for (number, _, _), at in zip(placed, asked)]
    return spread("/play of a warm prompt to its first packet", late, p50=None, p99=40.0)


async def p12(binary, rows=1_000_000):
    """A year of calls of one key, written straight into the database."""
    async with Bench(binary) as bench:
        bench.server.end()
        with contextlib.closing(sqlite3.connect(f"{bench.server.folder}/data/kaphila.db")) as database, database:
            fill(database, rows)
        found = {f"start to ready with {rows} rows, s": (bench.server.start(), 1.0)}
        for path, what, body in [
            ("/api/call-logs", "first page", {}),
            ("/api/call-logs", "first page of a status", {"status": "busy"}),
            ("/api/call-logs", "last page", {"page": rows // 20}),
            ("/api/analytics", "7 days", {"days": 7}),
            ("/api/analytics", "365 days of Berlin", {"days": 365, "timezone": "Europe/Berlin"}),
            ("/api/dashboard", "", {}),
        ]:
            took = []
            for _ in range(200):
                began = time.monotonic_ns()
                await bench.command(path, **body)
                took.append(time.monotonic_ns() - began)
            found |= spread(f"{path} {what}".strip(), took, p50=None, p99=50.0)
    return found


def fill(database, rows):
    """One call each 31.5 s: of ten, seven completed, two unanswered, one busy."""
    now = time.time_ns() // 1_000_000
    statuses = ["completed"] * 7 + ["no-answer"] * 2 + ["busy"]
    step = 365 * 86_400_000 // rows
    database.executemany(
        "INSERT INTO calls (id, call_id, api_key, node, direction, number, callee, use_amd, ring_timeout, record,"
        " charged, status, sip_call_id, from_tag, branch, cseq, remote, transport, created_at, answered_at,"
        " ended_at, duration, amd_status) VALUES (?1, ?2, 1, 0, 'outbound', '14155550100', '14155550100', FALSE,"
        " 30000, TRUE, TRUE, ?3, ?2, 'a', 'b', 1, '127.0.0.2:5060', 'udp', ?4, ?4, ?4, 46, 'HUMAN')",
        ((n, f"{at // 1000}.{n}", statuses[n % 10], at)
         for n in range(1, rows + 1) for at in [now - (rows - n) * step]))
    with open("migrations/sqlite/0002_call_quarters.sql") as migration:
        text = migration.read()
    database.execute(text[text.index("INSERT INTO call_quarters"):text.index("DROP INDEX")])


FIGURES = {"p1": p1, "p3": p3, "p7": p7, "p8": p8, "p9": p9, "p10": p10, "p12": p12}

LOAD_PEER = ["cargo", "run", "--release", "-p", "kaphila-media", "--example", "load_peer", "--"]
COMMANDS = {
    "media": [[*LOAD_PEER, "--calls", calls, "--seconds", "15"] for calls in ("100", "300", "1000", "2000")]
    + [[*LOAD_PEER, "--calls", "300", "--seconds", "15", *more.split()]
       for more in ("--record --amd", "--gaps")] + [[*LOAD_PEER, "--calls", "1000", "--seconds", "15", "--gaps"]],
    "detectors": [["cargo", "bench", "-p", "kaphila-media"]],
    "sip": [["cargo", "bench", "-p", "kaphila-sip"]],
    "store": [["cargo", "bench", "-p", "kaphila", "--bench", "store"]],
}

if __name__ == "__main__":
    main()
