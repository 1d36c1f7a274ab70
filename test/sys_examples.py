#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The examples of docs/examples/ do what they say, with the shared library."""

import functools
import hashlib
import os
import shutil

from lib import server, world
from lib.case import case, check, main, skip_file
from lib.relay import shared_lan
from lib.user import USERS, as_user
from lib.web import HttpServer
from lib.world import Process, scratch

MIB = 1 << 20
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("LWR_BUILD")
                        or os.path.join(ROOT, "build", "release"))


@functools.lru_cache(maxsize=None)
def examples():
    """A directory with the examples and the library, which any user may read."""
    folder = scratch()
    for name in ("examples/namespace", "examples/vmm", "liblwrelay.so.0"):
        path = os.path.join(BUILD, name)
        if not os.path.exists(path):
            skip_file("no %s (set LWR_BUILD)" % path)
        shutil.copy(path, folder)
    return folder


def start(name, *args, uid=0):
    return Process(as_user(uid) + ["env", "LD_LIBRARY_PATH=" + examples(),
                                   os.path.join(examples(), name)] + list(args),
                   shared_lan().r)


def finish(process, status=0, seconds=30):
    """Waits for the end; what it printed."""
    seen = process.wait(seconds)
    check(seen, status, "exit status (it said %s)" % process.err().strip())
    return process.out()


# --- namespace -----------------------------------------------------------------


@case(variants=USERS)
def namespace_gives_a_command_a_network(uid):
    web = HttpServer(shared_lan().s, shared_lan().SERVER[4])
    fetch = "curl -sSf %s | sha256sum" % web.url("/bytes/%d" % (16 * MIB))
    out = finish(start("namespace", "sh", "-c", fetch, uid=uid))
    check(out.split()[0], hashlib.sha256(server.pattern(16 * MIB)).hexdigest(),
          "hash of what was fetched")
    web.close()


@case(variants=USERS)
def namespace_asks_the_relay_for_names(uid):
    out = finish(start("namespace", "cat", "/etc/resolv.conf", uid=uid))
    check(out, "nameserver 10.0.2.3\n", "resolv.conf inside")


@case()
def namespace_returns_what_the_command_returned():
    finish(start("namespace", "sh", "-c", "exit 7"), status=7)
    finish(start("namespace", "sh", "-c", "kill -TERM $$"), status=128 + 15)
    finish(start("namespace", "/does/not/exist"), status=127)


@case()
def namespace_says_what_is_wrong():
    process = start("namespace")
    finish(process, status=127)
    check(process.err(), "namespace: usage: namespace COMMAND: Invalid argument\n",
          "without a command")


# --- vmm -----------------------------------------------------------------------


@case(variants={"one": 1, "a_few": 1000, "many": 200000})
def vmm_has_a_reply_to_each_request(count):
    out = finish(start("vmm", str(count)), seconds=50)
    check(out, "%d requests, %d replies\n" % (count, count), "what it counted")


if __name__ == "__main__":
    world.need_namespaces()
    main()
