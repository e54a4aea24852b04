"""The demonstration's customer: a webhook receiver and an IVR in a screenful of Python.

Starts the server and a test telephone, places a call, asks for four digits, answers according to
them, hangs up, and checks that everything was seen. Standard library only.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIN = "1234"
LIMIT = 60  # seconds for the whole demonstration


def main():
    binary, folder = sys.argv[1], os.path.abspath(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    demo = Demo(binary, folder)
    try:
        demo.start()
        demo.run()
        demo.check()
    finally:
        demo.stop()
    print("demo: ok")


class Demo:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.children, self.events, self.inbox = [], [], queue.Queue()
        self.deadline = time.monotonic() + LIMIT
        self.receiver = ThreadingHTTPServer(("127.0.0.1", 0), handler(self.inbox))
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.hook = f"http://127.0.0.1:{self.receiver.server_port}/hooks"
        self.http, admin = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
        sip, self.phone_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.environment = os.environ | {
            "KAPHILA_CONFIG": f"{folder}/kaphila.toml",
            "KAPHILA_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "KAPHILA_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "KAPHILA_SIP_UDP": f"127.0.0.1:{sip}",
            "KAPHILA_WEBHOOKS_ALLOW_HTTP": "true",
            "KAPHILA_WEBHOOKS_ALLOW_PRIVATE": "true",
        }

    # --- The servers ---

    def start(self):
        step("kaphila init, trunk add, key create")
        self.kaphila("init", "--dir", self.folder)
        self.kaphila("trunk", "add", "telephone", "--uri", f"sip:127.0.0.1:{self.phone_port}")
        made = self.kaphila("key", "create", "--name", "demo", "--credits", "10", "--trunk", "telephone")
        self.key = json.loads(made)["key"]
        step("kaphila phone: a telephone that types 1234 when it is asked, and listens")
        self.spawn("phone", "phone", "--listen", f"127.0.0.1:{self.phone_port}", "--json",
                   "--scenario", f"ivr:{PIN}", "--record", f"{self.folder}/heard-by-the-telephone.wav")
        step("kaphila serve")
        self.spawn("serve", "serve")

    def kaphila(self, *words):
        done = subprocess.run([self.binary, *words], env=self.environment, text=True,
                              capture_output=True, timeout=30)
        if done.returncode != 0:
            raise SystemExit(f"kaphila {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def spawn(self, name, *words):
        """Starts a long-lived command and waits until it says that it is ready."""
        log = open(f"{self.folder}/{name}.log", "w")
        child = subprocess.Popen([self.binary, *words], env=self.environment, text=True,
                                 stdout=subprocess.PIPE, stderr=log)
        self.children.append(child)
        for line in child.stdout:
            print(f"    {line}", end="")
            if "ready" in line:
                break
        else:
            raise SystemExit(f"kaphila {name} did not start: see {log.name}")
        lines = getattr(self, f"{name}_lines", [])
        setattr(self, f"{name}_lines", lines)
        threading.Thread(target=lambda: lines.extend(child.stdout), daemon=True).start()

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        self.receiver.shutdown()

    # --- The IVR ---

    def run(self):
        step("POST /makecall")
        call = self.post("/makecall", number="14155550100", webhookUrl=self.hook, callerId="19172452367")
        print(f"    {json.dumps(call)}")
        self.call_id = call["callId"]
        step("webhooks, as they come")
        self.until("call.answered")
        self.post("/gather", callId=self.call_id, numDigits=4, timeout=15000,
                  text="Welcome to Kaphila. Please enter your four digit pin.")
        digits = self.until("gather.complete")["digits"]
        words = "Thank you. That is right. Good bye." if digits == PIN else "That is wrong. Good bye."
        self.post("/voice", callId=self.call_id, text=words)
        self.until("tts.played")
        self.post("/hangup", callId=self.call_id)
        self.until("call.ended")
        step(f"kaphila trace {self.call_id}")
        print(self.kaphila("trace", self.call_id), end="")
        self.download()

    def post(self, path, **body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"})
        return json.load(self.open(request))

    def open(self, request):
        try:
            return urllib.request.urlopen(request, timeout=15)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{request.full_url}: {error.code} {error.read().decode()}") from None

    def until(self, wanted):
        """Prints webhooks until the one that is wanted has come."""
        while True:
            try:
                event = self.inbox.get(timeout=max(0, self.deadline - time.monotonic()))
            except queue.Empty:
                raise SystemExit(f"{wanted} did not come within {LIMIT} s") from None
            self.events.append(event)
            shown = {name: event[name] for name in SHOWN if event.get(name) is not None}
            print(f"    {event['sequenceNumber']:2}  {event['event']:20} {json.dumps(shown)}")
            if event["event"] == wanted:
                return event

    def download(self):
        url = f"http://127.0.0.1:{self.http}/recordings/{self.call_id}/download"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.key}"})
        self.recording = f"{self.folder}/call-{self.call_id}.wav"
        with open(self.recording, "wb") as file:
            file.write(self.open(request).read())
        step(f"the recording: {os.path.relpath(self.recording)}")

    # --- Was everything seen? ---

    def check(self):
        names = [event["event"] for event in self.events]
        for wanted in WANTED:
            expect(wanted in names, f"webhook {wanted}")
        numbers = [event["sequenceNumber"] for event in self.events]
        expect(numbers == list(range(1, len(names) + 1)), "webhooks in order, none missing")
        expect(names[-1] == "call.ended", "call.ended last")
        digits = "".join(event["digit"] for event in self.events if event["event"] == "dtmf.received")
        expect(digits == PIN, f"each digit once ({digits})")
        ended = self.events[-1]
        expect(ended["status"] == "completed" and ended["endReason"] == "api_hangup", "completed by /hangup")
        with wave.open(self.recording) as file:
            seconds = file.getnframes() / file.getframerate()
            expect(file.getframerate() == 8000 and file.getnchannels() == 1, "8 kHz mono recording")
        expect(0 <= seconds - ended["callDuration"] < 1.5, f"recording of {seconds:.1f} s as long as the call")
        account = json.load(self.open(urllib.request.Request(
            f"http://127.0.0.1:{self.http}/api/me", headers={"Authorization": f"Bearer {self.key}"})))
        expect(account["apiKey"]["credits"] == 9, "one credit charged")
        expect(self.heard() > -40, f"the telephone heard the prompts ({self.heard()} dB)")

    def heard(self):
        """How loud the telephone heard the server, in dB below full scale."""
        while time.monotonic() < self.deadline:
            for line in list(self.phone_lines):
                report = json.loads(line)
                if report["event"] == "recorded":
                    return report["heardDb"]
            time.sleep(0.05)
        raise SystemExit("the telephone did not report")


SHOWN = ["status", "digit", "digits", "method", "text", "endReason", "callDuration", "filename", "duration"]
WANTED = ["call.initiated", "call.answered", "recording.started", "gather.started", "dtmf.received",
          "gather.progress", "gather.complete", "tts.played", "recording.completed", "call.ended"]


def handler(inbox):
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            inbox.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Receiver


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def step(text):
    print(f"\033[1m==> {text}\033[0m", flush=True)


def expect(seen, what):
    if not seen:
        raise SystemExit(f"demo: failed: {what}")
    print(f"    seen: {what}")


main()
