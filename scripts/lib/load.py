"""A load with its books kept: see scripts/load."""

import argparse
import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import wave

from harness import CARRIER, CREDITS, Customer, Hooks, Server, free_port, paced, quantile, read

# How long what outlives a call may take: timers of SIP run for 32 s.
SETTLE = 45
# One call in so many is hung up by the customer.
HUNG_UP = 10
# Somebody looks on this often, in seconds.
LOOK = 0.02


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    carrier_port = free_port(socket.SOCK_DGRAM, CARRIER)
    server = Server(options.binary, carrier_port, database_sync=options.sync)
    load = Load(options, server, carrier_port)
    try:
        asyncio.run(load.run())
    finally:
        load.stop_carrier()
        complaints = server.said().strip()
        server.stop()
    load.books.note("what the server complained of", complaints.splitlines()[-1] if complaints else "nothing")
    load.books.print()
    if not load.books.balanced:
        sys.exit("load: not everything is accounted for")
    print("load: ok")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--hold", type=float, default=5)
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--sync", choices=["normal", "full"], default="normal")
    return parser.parse_args()


class Load:
    def __init__(self, options, server, carrier_port):
        self.options, self.server, self.carrier_port = options, server, carrier_port
        self.books, self.carrier = Books(), None
        self.customer, self.hooks = Customer(server), Hooks(self.on_event)
        self.answers, self.commands, self.hung_up = {}, [], set()
        self.looks = {"/calls": [], "/health": []} if options.look else {}

    async def run(self):
        await self.hooks.start()
        await self.warm_up()
        base = Base(self.server)
        self.hooks.events.clear()
        self.hooks.ended = 0
        count, rate = self.options.calls, self.options.rate
        self.start_carrier(count)
        began, cpu = time.monotonic(), self.server.cpu_ns()
        looking = [asyncio.create_task(self.look(path)) for path in self.looks]
        await paced(rate, count, self.place)
        for task in looking:
            task.cancel()
        limit = self.options.hold + SETTLE
        ended = await self.hooks.until(lambda: self.hooks.ended >= count, limit)
        self.books.check("every call ended", self.hooks.ended, count, ended)
        await asyncio.gather(*self.commands)
        took, cpu = time.monotonic() - began, self.server.cpu_ns() - cpu
        await self.hooks.until(lambda: not self.undelivered(), 10)
        await self.customer.close()
        await self.hooks.close()
        self.check_answers()
        self.check_rows()
        self.check_money()
        self.check_webhooks()
        self.check_recordings()
        self.check_carrier()
        await base.check(self.books)
        self.books.note("took", f"{took:.1f} s; {cpu / 1e6 / count:.2f} ms of CPU a call")
        taken = [ms for _, ms, _ in self.answers.values()]
        self.books.note("/makecall answered, p50 / p99",
                        f"{quantile(taken, .5):.1f} / {quantile(taken, .99):.1f} ms (the phone rings at once)")
        for path, took in self.looks.items():
            self.books.note(f"{path} meanwhile, p50 / p99",
                            f"{quantile(took, .5):.1f} / {quantile(took, .99):.1f} ms ({len(took)} requests)")

    async def warm_up(self):
        """One call, so that pools are filled and prompts decoded before the base is taken."""
        self.start_carrier(1)
        await self.place(0)
        await self.hooks.until(lambda: self.hooks.ended == 1, self.options.hold + SETTLE)
        await asyncio.gather(*self.commands)
        self.stop_carrier()
        self.answers.clear(), self.commands.clear(), self.hung_up.clear()
        await self.customer.close()

    async def place(self, n):
        status, answer, at = await self.customer.post(
            "/makecall", number=str(14155500000 + n), webhookUrl=self.hooks.url)
        self.answers[n] = status, (time.time_ns() - at) / 1e6, answer.get("callId")

    async def look(self, path):
        """Asks for `path` again and again while calls are placed."""
        while True:
            began = time.monotonic()
            status, _, _ = await self.customer.get(path)
            took = time.monotonic() - began
            if status != 200:
                self.books.check(path, status, 200)
            self.looks[path].append(took * 1000)
            await asyncio.sleep(max(0, LOOK - took))

    def on_event(self, _, event):
        """The customer: plays to whoever answers, and hangs up on some."""
        call_id = event["callId"]
        if event["event"] == "call.answered":
            self.commands.append(asyncio.create_task(self.command("/play", call_id, file="tone")))
            n = int(event["number"]) - 14155500000
            if n % HUNG_UP == HUNG_UP - 1:
                self.hung_up.add(call_id)
                self.commands.append(asyncio.create_task(self.hang_up(call_id)))

    async def hang_up(self, call_id):
        await asyncio.sleep(self.options.hold / 2)
        await self.command("/hangup", call_id)

    async def command(self, path, call_id, **body):
        status, answer, _ = await self.customer.post(path, callId=call_id, **body)
        if status != 200:
            self.books.check(f"{path} {call_id}", answer, 200)

    # --- SIPp ---

    def start_carrier(self, calls):
        folder = self.server.folder
        with open(f"{folder}/carrier.xml", "w") as scenario:
            hold = str(int(self.options.hold * 1000))
            scenario.write(read(f"{os.path.dirname(__file__)}/carrier.xml").replace("HOLD", hold))
        log = open(f"{folder}/sipp.log", "w")
        self.carrier = subprocess.Popen(
            ["sipp", "-sf", f"{folder}/carrier.xml", "-i", CARRIER, "-p", str(self.carrier_port), "-mi", CARRIER,
             "-mp", str(free_port(socket.SOCK_DGRAM, CARRIER)), "-rtp_echo", "-nostdin", "-m", str(calls),
             "-l", "100000", "-trace_err", "-error_file", f"{folder}/sipp-errors.log"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        time.sleep(0.5)

    def stop_carrier(self):
        if self.carrier and self.carrier.poll() is None:
            self.carrier.terminate()
            self.carrier.wait()

    def check_carrier(self):
        try:
            status = self.carrier.wait(SETTLE)
        except subprocess.TimeoutExpired:
            status = "still running"
        said = read(f"{self.server.folder}/sipp.log")
        found = re.findall(r"Successful call\s*\|\s*\d+\s*\|\s*(\d+)", said)
        self.books.check("calls good for SIPp", int(found[-1]) if found else 0, self.options.calls)
        self.books.check("SIPp's exit status", status, 0)

    # --- The books ---

    def undelivered(self):
        return self.server.rows("SELECT count(*) FROM outbox WHERE state <> 'delivered'")[0][0]

    def check_answers(self):
        count = self.options.calls
        good = [call_id for status, _, call_id in self.answers.values() if status == 200]
        self.books.check("/makecall answered 200", len(good), count)
        self.books.check("different call ids", len(set(good)), count)

    def check_rows(self):
        count = self.options.calls + 1
        rows = self.server.rows("SELECT call_id, status, end_reason, ended_at, answered_at FROM calls")
        self.books.check("rows", len(rows), count)
        self.books.check("rows completed", sum(row[1] == "completed" and row[3] is not None for row in rows), count)
        wanted = {True: "api_hangup", False: "normal_hangup"}
        wrong = [row for row in rows if row[2] != wanted[row[0] in self.hung_up]]
        self.books.check("rows with another end than theirs", len(wrong), 0)

    def check_money(self):
        count = self.options.calls + 1
        credits, holds = self.server.rows("SELECT credits, holds FROM api_keys")[0]
        ledger = self.server.rows("SELECT sum(credits), sum(holds) FROM ledger")[0]
        kinds = dict(self.server.rows("SELECT kind, count(DISTINCT call) FROM ledger GROUP BY kind"))
        self.books.check("balance", credits, CREDITS - count)
        self.books.check("sum of the ledger", ledger[0], credits)
        self.books.check("held", (holds, ledger[1]), (0, 0))
        self.books.check("calls with a hold, with a deduction", (kinds.get("hold"), kinds.get("deduct")), (count, count))

    def check_webhooks(self):
        self.books.check("webhooks not delivered", self.undelivered(), 0)
        events = {call: [event for _, event in arrived] for call, arrived in self.hooks.events.items()}
        self.books.check("calls heard of by webhook", len(events), self.options.calls)
        whole = sum([event["sequenceNumber"] for event in of_call] == list(range(1, len(of_call) + 1))
                    for of_call in events.values())
        self.books.check("calls with events 1..n in order", whole, self.options.calls)
        last = sum(of_call[-1]["event"] == "call.ended" and
                   sum(event["event"] == "call.ended" for event in of_call) == 1 for of_call in events.values())
        self.books.check("calls with one call.ended, the last", last, self.options.calls)
        self.books.note("webhooks", self.hooks.count)

    def check_recordings(self):
        count = self.options.calls + 1
        rows = self.server.rows("SELECT r.filename, r.bytes, r.partial, r.finished_at, c.ended_at - c.answered_at "
                                "FROM recordings r JOIN calls c ON c.id = r.call")
        folder = os.path.dirname(self.server.recording("x"))
        self.books.check("recordings", len(rows), count)
        self.books.check("files", len(os.listdir(folder)), count)
        self.books.check("finished, not partial", sum(row[2] is None and row[3] is not None for row in rows), count)
        true, off = 0, []
        for filename, size, _, _, ms in rows:
            path = self.server.recording(filename)
            with wave.open(path) as file:
                frames = file.getnframes()
            true += os.path.getsize(path) == size == 44 + 2 * frames
            off.append(abs(frames / 8 - ms))
        self.books.check("headers true", true, count)
        self.books.check("within 100 ms of the call", sum(ms <= 100 for ms in off), count)
        self.books.note("recording against call, p50 / max", f"{quantile(off, .5):.0f} / {max(off, default=0):.0f} ms")


class Base:
    """What the process had before the load."""

    def __init__(self, server):
        self.server, self.descriptors = server, len(server.descriptors())
        self.threads, self.resident = server.threads(), server.resident_kib()

    def left_over(self):
        metrics = self.server.metrics()
        return {
            "calls still active": (metrics["calls_active"], 0),
            "SIP legs": (metrics["sip_legs"], 0),
            "ports in use": (metrics["media_ports_in_use"], 0),
            "recordings being written": (metrics["media_recordings_active"], 0),
            "descriptors over the base": (max(0, len(self.server.descriptors()) - self.descriptors), 0),
            "threads over the base": (max(0, self.server.threads() - self.threads), 0),
        }

    async def check(self, books):
        deadline = time.monotonic() + SETTLE
        while any(left != want for left, want in self.left_over().values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        for what, (left, want) in self.left_over().items():
            books.check(what, int(left), want)
        books.note("resident memory", f"{self.resident} KiB before, {self.server.resident_kib()} KiB after")


class Books:
    """What was found, against what was wanted."""

    def __init__(self):
        self.lines, self.balanced = [], True

    def check(self, what, found, wanted, good=True):
        good = good and found == wanted
        self.balanced &= good
        self.lines.append((what, found, f"wanted {wanted}", "ok" if good else "WRONG"))

    def note(self, what, found):
        self.lines.append((what, found, "", ""))

    def print(self):
        for what, found, wanted, verdict in self.lines:
            print(f"{what:44} {found!s:>28}  {wanted:24} {verdict}".rstrip())


if __name__ == "__main__":
    main()
