"""For the fuzzer: half of its requests speak of a call that is live, and place calls that can be carried.

Random call ids and numbers are refused at once; what lies behind is to be reached too.
"""

import os
import random
import time

import requests
import schemathesis

URL = os.environ["FUZZ_URL"]
KEY = {"Authorization": f"Bearer {os.environ['FUZZ_KEY']}"}
NUMBER = "14155550100"
known = {"at": 0.0, "calls": []}


def live():
    """The id of a live call, one being placed where there is none."""
    if time.monotonic() - known["at"] > 0.5:
        calls = requests.get(f"{URL}/calls", headers=KEY, timeout=10).json()["calls"]
        if len(calls) < 3:
            requests.post(f"{URL}/makecall", headers=KEY, json={"number": NUMBER}, timeout=20)
        known.update(at=time.monotonic(), calls=[call["callId"] for call in calls])
    return random.choice(known["calls"]) if known["calls"] else None


@schemathesis.hook
def before_call(context, case, kwargs):
    if random.random() < 0.5:
        return
    call = live()
    if call and isinstance(case.path_parameters, dict) and "call_id" in case.path_parameters:
        case.path_parameters["call_id"] = call
    if isinstance(case.body, dict):
        if call and "callId" in case.body:
            case.body["callId"] = call
        if "number" in case.body:
            case.body["number"] = NUMBER
