"""A carrier that keeps the time: it answers every INVITE at once, plays to each call and listens to it.

Runs as a process of its own, so that its CPU is counted apart. When a packet came is the kernel's word
(SO_TIMESTAMPNS), not that of a busy interpreter; all times are ns of the wall clock. Calls are named by
the number dialled, without the trunk's prefix. One socket carries the RTP of all calls.
"""

import collections
import multiprocessing
import re
import select
import socket
import struct
import sys
import threading
import time

SO_TIMESTAMPNS = 35
SILENCE = frozenset(b"\xff\x7f\xfe\x7e")
PTIME = 0.020


class Carrier:
    """The carrier as its user sees it."""

    def __init__(self, host, talk=False, hold=None):
        """`talk`: it plays to each call. `hold`: it hangs up so many seconds after its answer."""
        self.sip, self.rtp = udp(host), udp(host)
        self.port = self.sip.getsockname()[1]
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(
            target=lambda: Inside(self.sip, self.rtp, theirs, talk, hold).run(), daemon=True)
        self.process.start()
        self.sip.close(), self.rtp.close()

    def ask(self, *command):
        """`report`: times by number; `bye NUMBER`, `press NUMBER`: when it was sent;
        `listen_to NUMBER`: forget what was heard of it; `count`: begin to count packets;
        `counted`: what came since: packets, missing, gaps in ns."""
        self.pipe.send(command)
        return self.pipe.recv()

    def stop(self):
        self.process.terminate()
        self.process.join()


class Call:
    def __init__(self, headers, at):
        self.invited_at, self.headers, self.cancelled = at, headers, False
        self.bye_at = self.bye_sent = self.loud_at = self.rtp_to = None
        self.number = re.search(r"sip:(?:00)?(\d+)@", headers["to"]).group(1)
        self.packet = bytearray(b"\x80\x00" + bytes(10) + b"\x55" * 160)
        self.sequence, self.clock, self.ssrc, self.event_type = 0, 0, int(self.number) & 0xFFFFFFFF, 101


class Inside:
    """The carrier's own process: SIP in the main thread, RTP in two others."""

    def __init__(self, sip, rtp, pipe, talk, hold):
        sys.setswitchinterval(0.0005)
        self.sip, self.rtp, self.pipe, self.talk, self.hold = sip, rtp, pipe, talk, hold
        self.host, self.sip_port = sip.getsockname()
        self.rtp_port = rtp.getsockname()[1]
        self.calls, self.by_number, self.by_rtp = {}, {}, {}
        self.to_end = collections.deque()  # (when, number)
        self.heard = None  # (at, port, sequence) of each packet while they are counted

    def run(self):
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=self.play, daemon=True).start()
        while True:
            while self.to_end and self.to_end[0][0] <= time.monotonic():
                self.bye(self.to_end.popleft()[1])
            wait = max(0, self.to_end[0][0] - time.monotonic()) if self.to_end else None
            for ready in select.select([self.sip, self.pipe], [], [], wait)[0]:
                if ready is self.sip:
                    data, at, peer = receive(self.sip, 65536)
                    self.message(data.decode(), at, peer)
                else:
                    try:
                        name, *arguments = self.pipe.recv()
                    except EOFError:
                        return
                    self.pipe.send(getattr(self, name)(*arguments))

    # --- SIP ---

    def message(self, text, at, peer):
        head, _, body = text.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), value.strip())
        method, call = first.split()[0], self.calls.get(headers["call-id"])
        if method == "INVITE" and not call:
            call = self.calls[headers["call-id"]] = Call(headers, at)
            self.by_number[call.number] = call
            self.media(call, body)
            self.answer(headers, peer, "180 Ringing")
            self.answer(headers, peer, "200 OK", self.sdp(call))
            if self.hold is not None:
                self.to_end.append((time.monotonic() + self.hold, call.number))
        elif method == "BYE":
            if call:
                call.bye_at = call.bye_at or at
                self.by_rtp.pop(call.rtp_to, None)
            self.answer(headers, peer, "200 OK")
        elif method in ("OPTIONS", "CANCEL"):
            self.answer(headers, peer, "200 OK")

    def answer(self, headers, peer, status, body=""):
        to = headers["to"] + ("" if "tag=" in headers["to"] else ";tag=c")
        kind = "Content-Type: application/sdp\r\n" if body else ""
        self.sip.sendto(
            f"SIP/2.0 {status}\r\nVia: {headers['via']}\r\nFrom: {headers['from']}\r\nTo: {to}\r\n"
            f"Call-ID: {headers['call-id']}\r\nCSeq: {headers['cseq']}\r\n"
            f"Contact: <sip:{self.host}:{self.sip_port}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode(), peer)

    def media(self, call, offer):
        address = re.search(r"^c=IN IP4 (\S+)", offer, re.M).group(1)
        port = int(re.search(r"^m=audio (\d+)", offer, re.M).group(1))
        event = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", offer, re.M)
        call.event_type = int(event.group(1))
        call.rtp_to = (address, port)
        self.by_rtp[call.rtp_to] = call

    def sdp(self, call):
        return (f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
                f"m=audio {self.rtp_port} RTP/AVP 0 {call.event_type}\r\na=rtpmap:0 PCMU/8000\r\n"
                f"a=rtpmap:{call.event_type} telephone-event/8000\r\na=fmtp:{call.event_type} 0-16\r\n"
                "a=ptime:20\r\n")

    def bye(self, number):
        call = self.by_number[number]
        headers, self.branch = call.headers, getattr(self, "branch", 0) + 1
        target = re.search(r"<(sip:[^>]+)>", headers["contact"]).group(1)
        address = re.search(r"@?([\d.]+):(\d+)", target)
        request = (f"BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {self.host}:{self.sip_port};branch=z9hG4bK{self.branch}\r\n"
                   f"From: {headers['to']};tag=c\r\nTo: {headers['from']}\r\nCall-ID: {headers['call-id']}\r\n"
                   "CSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n").encode()
        self.by_rtp.pop(call.rtp_to, None)
        call.bye_sent = at = time.time_ns()
        self.sip.sendto(request, (address.group(1), int(address.group(2))))
        return at

    # --- RTP ---

    def play(self):
        """Sends each call a packet every 20 ms, the calls spread over twenty groups of a millisecond."""
        begin = time.monotonic()
        for slot in range(1 << 62):
            time.sleep(max(0, begin + slot * PTIME / 20 - time.monotonic()))
            if not self.talk:
                continue
            for call in list(self.by_rtp.values())[slot % 20::20]:
                struct.pack_into(">HII", call.packet, 2, call.sequence & 0xFFFF, call.clock, call.ssrc)
                call.sequence, call.clock = call.sequence + 1, call.clock + 160 & 0xFFFFFFFF
                self.rtp.sendto(call.packet, call.rtp_to)

    def press(self, number):
        """A key of 100 ms: its first packet, and its end three times."""
        call = self.by_number[number]
        at, clock = time.time_ns(), call.clock
        for duration, end in ((160, 0), (800, 0x80), (800, 0x80), (800, 0x80)):
            packet = struct.pack(">BBHIIBBH", 0x80, call.event_type, call.sequence & 0xFFFF, clock, call.ssrc,
                                 5, end | 10, duration)
            call.sequence += 1
            self.rtp.sendto(packet, call.rtp_to)
        return at

    def listen_to(self, number):
        self.by_number[number].loud_at = None

    def listen(self):
        """Takes packets once a millisecond, as a network card would: being woken for each would cost
        the thread that sends, which is the one measured."""
        self.rtp.setblocking(False)
        while True:
            time.sleep(0.001)
            try:
                while True:
                    data, at, peer = receive(self.rtp, 512)
                    if self.heard is not None and data[1] & 0x7F == 0:
                        self.heard.append((at, peer[1], data[2] << 8 | data[3]))
                    call = self.by_rtp.get(peer)
                    if call and call.loud_at is None and not SILENCE.issuperset(data[12:172]):
                        call.loud_at = at
            except BlockingIOError:
                pass

    def count(self):
        self.heard = []

    def counted(self):
        heard, self.heard = self.heard, None
        last, gaps, missing = {}, [], 0
        for at, port, sequence in heard:
            if port in last:
                before, old = last[port]
                step = (sequence - old) & 0xFFFF
                missing += max(0, step - 1) if step < 0x8000 else 0
                if step == 1:
                    gaps.append(at - before)
            last[port] = at, sequence
        return len(heard), missing, gaps

    def report(self):
        return {number: {"invited": call.invited_at, "bye": call.bye_at, "bye_sent": call.bye_sent,
                         "loud": call.loud_at}
                for number, call in self.by_number.items()}


def udp(host):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    made.bind((host, 0))
    return made


def receive(source, size):
    data, ancillary, _, peer = source.recvmsg(size, 64)
    for _, kind, value in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, ns = struct.unpack("qq", value[:16])
            return data, seconds * 1_000_000_000 + ns, peer
    return data, time.time_ns(), peer
