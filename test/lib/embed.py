# SPDX-License-Identifier: BSD-3-Clause
"""A program that embeds the library, in a process of its own:

python3 embed.py LIBRARY LINK...    opens a relay on a thread of its own with
these links, says "ready", and works through the lines that it is told:

close       closes the relay; answers {"seconds", "descriptors", "threads"},
            what the last two have become more or less than before the open
open        opens it again
"""

import ctypes
import json
import os
import sys
import time


class Network(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("subnet", ctypes.c_char_p),
                ("subnet6", ctypes.c_char_p), ("mtu", ctypes.c_uint16),
                ("no_ipv6", ctypes.c_bool), ("host_loopback", ctypes.c_bool)]


def count(what):
    return len(os.listdir("/proc/self/" + what))


class Embed:
    def __init__(self, library, links):
        self.lib = ctypes.CDLL(library)
        self.links = links
        self.relay = ctypes.c_void_p()

    def checked(self, what, result):
        if result < 0:
            sys.exit("%s: %s" % (what, os.strerror(-result)))

    def open(self):
        number = ctypes.c_uint32()
        self.before = count("fd"), count("task")
        self.checked("open", self.lib.lwr_relay_open(
            None, ctypes.byref(self.relay)))
        for link in self.links:
            self.checked(link, self.lib.lwr_link_add(
                self.relay, link.encode(), None, ctypes.byref(number)))
        return {}

    def close(self):
        start = time.monotonic()
        self.lib.lwr_relay_close(self.relay, None, None)
        seconds = time.monotonic() - start
        return {"seconds": seconds,
                "descriptors": count("fd") - self.before[0],
                "threads": count("task") - self.before[1]}


def main():
    embed = Embed(sys.argv[1], sys.argv[2:])
    # libuv makes a pipe for signals once and keeps it.
    embed.links, links = [], embed.links
    embed.open()
    embed.close()
    embed.links = links
    embed.open()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(getattr(embed, line.strip())()), flush=True)


if __name__ == "__main__":
    main()
