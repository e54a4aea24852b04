"""A client of requests, as the documentation's helper makes it. Prints a line each: what, status, body.

BASE, KEY, NUMBER and HOOK from the environment.
"""

import json
import os
import time

import requests

NUMBER, HOOK = os.environ["NUMBER"], os.environ["HOOK"]


class Client:
    def __init__(self, base_url, token):
        self.base_url = base_url.rstrip("/")
        self.session = requests.Session()
        self.session.headers.update({"Authorization": f"Bearer {token}", "Content-Type": "application/json"})

    def make_call(self, number, webhook_url=None, **more):
        payload = {"number": number, **more}
        if webhook_url:
            payload["webhookUrl"] = webhook_url
        return self.ask("makecall", "POST", "/makecall", payload)

    def ask(self, what, method, path, payload=None, headers=None):
        answer = self.session.request(method, self.base_url + path, json=payload, headers=headers, timeout=20)
        print(what, answer.status_code, json.dumps(answer.json()), sep="\t")
        return answer


client = Client(os.environ["BASE"] + "/", os.environ["KEY"])
client.ask("me", "GET", "/api/me")
placed = client.make_call(NUMBER, HOOK, metadata={"order": 7})
placed.raise_for_status()
call = placed.json()["callId"]
# What a client does that had no answer: the same call, not another one.
once = {"Idempotency-Key": "order-7"}
first = client.ask("first", "POST", "/makecall", {"number": NUMBER}, once).json()
assert client.ask("again", "POST", "/makecall", {"number": NUMBER}, once).json() == first
for _ in range(100):
    if client.session.get(f"{client.base_url}/calls/{call}", timeout=20).json()["status"] == "answered":
        break
    time.sleep(0.05)
client.ask("hangup", "POST", "/hangup", {"callId": call})
client.ask("unknown", "POST", "/hangup", {"callId": "1720012345.88"})
client.ask("analytics", "POST", "/api/analytics", {"days": 7, "timezone": "Europe/Rome"})
