"""Runs in a Python that has chime-frb-api: a snippet from standard input, its calls led to CHIME_URL.

The snippet may call FRBMaster() bare and name the addresses of the observatory: only where requests go is changed.
What it leaves in `result` is printed as JSON; `sent` holds (method, path) of all requests.
"""

import json
import logging
import os
import sys
import time

import chime_frb_api
import requests
from chime_frb_api.backends import frb_master
from chime_frb_api.modules import swarm

OURS = os.environ["CHIME_URL"]
THEIRS = ("https://frb.chimenet.ca/frb-master", "http://frb-vsop.chime:8001")
sent = []
_request = requests.Session.request


def request(self, method, url, *words, **more):
    for theirs in THEIRS:
        url = url.replace(theirs, OURS)
    sent.append((method.upper(), url.removeprefix(OURS)))
    return _request(self, method, url, *words, **more)


requests.Session.request = request
# it waits 30 s and 120 s between its looks
swarm.sleep = lambda _s: time.sleep(0.1)
logging.disable(logging.CRITICAL)
chime_frb_api.frb_master = frb_master
names = {"sent": sent, "result": None, "__name__": "__main__"}
exec(compile(sys.stdin.read(), "snippet", "exec"), names)
print("RESULT " + json.dumps(names["result"]))
