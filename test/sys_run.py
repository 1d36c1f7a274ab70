#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`lwrelay run` with real clients, as root and as an ordinary user; taps of
`lwrelay serve`; what the program says and returns when something is wrong."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

from lib import dns, server, world
from lib.case import (Failure, Skip, case, check, check_that, main, program,
                      skip_file, wait_for, within)
from lib.web import HttpServer
from lib.user import AS_NOBODY, NOBODY, USERS, as_user
from lib.relay import is_passt, shared_lan, wait_ready
from lib.world import Netns, Process, run, scratch

MIB = 1 << 20


def binary(uid):
    """The program, where that user can execute it."""
    path = program()
    if uid and not os.path.exists(binary.copy):
        shutil.copy(path, binary.copy)
        os.chmod(binary.copy, 0o755)
    return binary.copy if uid else path


def start(uid, options, command, netns=None, **popen):
    argv = as_user(uid) + [binary(uid), "run"] + list(options) + ["--"] + list(command)
    return Process(argv, netns or shared_lan().r, **popen)


def inside(uid, command, options=(), status=0, seconds=30):
    """Runs a command in `lwrelay run`; its standard output."""
    process = start(uid, options, command)
    seen = process.wait(seconds)
    if seen != status:
        raise Failure("%s: expected status %d, saw %d; it said: %s" % (
            " ".join(command)[:60], status, seen, process.err().strip()[-300:]))
    return process.out()


@functools.lru_cache(maxsize=None)
def interpreter(uid):
    """A Python that the user can execute."""
    for path in (sys.executable, "/usr/bin/python3"):
        # by way of a shell: setpriv itself still has root's capabilities
        argv = (AS_NOBODY if uid else []) + ["sh", "-c", 'exec "$0" -c ""', path]
        if subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0:
            return path
    raise Skip("that user can execute no python3")


def python(uid, code, *args):
    return [interpreter(uid), "-c", code] + [str(a) for a in args]


# --- real clients ------------------------------------------------------------


@case(variants=USERS)
def curl_fetches_and_uploads(uid):
    upload = os.path.join(scratch(), "upload")
    with open(upload, "wb") as file:
        file.write(server.pattern(16 * MIB))
    wanted = hashlib.sha256(server.pattern(16 * MIB)).hexdigest()
    for v in (4, 6):
        web = HttpServer(shared_lan().s, shared_lan().SERVER[v])
        seen = inside(uid, ["sh", "-c", "curl -sSfg %s | sha256sum" %
                            web.url("/bytes/%d" % (16 * MIB))])
        check(seen.split()[0], wanted, "hash of the download, IPv%d" % v)
        seen = inside(uid, ["curl", "-sSfg", "-T", upload, web.url("/")])
        check(seen, wanted, "hash of the upload, IPv%d" % v)
        web.close()


@case(variants=USERS)
def names_are_resolved(uid):
    lan = shared_lan()
    web = HttpServer(lan.s, lan.SERVER[4])
    names = dns.DnsServer(lan.s, lan.SERVER[4], dns.address_records(
        {"www.example.test": lan.SERVER[4]}))
    seen = inside(uid, ["curl", "-sSf", web.url(name="www.example.test")],
                  ["--dns", names.endpoint()])
    check(seen, "hello from the server\n", "the page")
    inside(uid, ["curl", "-sSf", web.url(name="no.example.test")],
           ["--dns", names.endpoint()], status=6)
    web.close()
    names.close()


@case()
def happy_eyeballs_falls_back_within_half_a_second():
    lan = shared_lan()
    web = HttpServer(lan.s, lan.SERVER[4])
    names = dns.DnsServer(lan.s, lan.SERVER[4], dns.address_records(
        {"dual.example.test": [lan.SERVER[4], lan.SILENT[6]]}))

    def fetch():
        seen = inside(0, ["curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total} %{remote_ip}",
                          web.url(name="dual.example.test")], ["--dns", names.endpoint()])
        took, addr = seen.split()
        check(addr, lan.SERVER[4], "the address that curl used")
        return float(took)

    within(0.5, fetch, "it")
    web.close()
    names.close()


CONNECT = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family)
sock.settimeout(20)
start = time.monotonic()
try:
    sock.connect((sys.argv[1], int(sys.argv[2])))
    error = 0
except socket.timeout:
    error = -1
except OSError as e:
    error = e.errno
print(error, time.monotonic() - start)
"""


def connect_inside(uid, addr, port, *options):
    error, took = inside(uid, python(uid, CONNECT, addr, port), options).split()
    return int(error), float(took)


def true_error(uid, addr, port, errors):
    """How long it took. Not always at once: Linux forgets an ICMP error that comes
    while connect() still has the socket, and repeats the SYN after a second."""
    error, took = connect_inside(uid, addr, port)
    check_that(error in errors, "connect to %s: expected %s, saw %s" % (
        addr, [errno.errorcode[e] for e in errors], errno.errorcode.get(error, error)))
    return took


@case(variants=USERS)
def connect_gives_the_true_error(uid):
    lan = shared_lan()
    for v in (4, 6):
        closed = server.closed_port(lan.s, lan.SERVER[v])
        for addr, port, errors in (
                (lan.SERVER[v], server.port_of(closed), [errno.ECONNREFUSED]),
                (lan.UNREACHABLE[v], 80, [errno.EHOSTUNREACH]),
                (lan.NO_ROUTE[v], 80, [errno.ENETUNREACH]),
                (lan.PROHIBITED[v], 80, [errno.EHOSTUNREACH, errno.ENETUNREACH,
                                         errno.EACCES])):
            within(0.5, lambda: true_error(uid, addr, port, errors),
                   "a connect to " + addr)


@case(families=True)
def silent_destination_fails_at_the_connect_timeout(v):
    error, took = connect_inside(0, shared_lan().SILENT[v], 80, "--connect-timeout", "1")
    check_that(error in (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ECONNREFUSED),
               "expected EHOSTUNREACH or ETIMEDOUT, saw %s" % error)
    check_that(0.9 < took < 4, "failed after %.2f s, expected 1" % took)


MANY = """
import socket, sys
addr, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
socks = []
for number in range(count):
    sock = socket.create_connection((addr, port), 10)
    sock.sendall(b"%06d" % number)
    socks.append(sock)
for number, sock in enumerate(socks):
    seen = b""
    while len(seen) < 6:
        data = sock.recv(6 - len(seen))
        assert data, "end of file on %d" % number
        seen += data
    assert seen == b"%06d" % number, seen
print(len(socks))
"""


@case(variants=USERS)
def a_thousand_connections_at_once(uid):
    echo = server.EchoServer(shared_lan().s, shared_lan().SERVER[4])
    check(inside(uid, python(uid, MANY, echo.addr, echo.port, 1000)).strip(), "1000",
          "connections that echo")
    echo.close()


@case(seconds=90)
def iperf3_runs_both_ways():
    if not shutil.which("iperf3"):
        raise Skip("iperf3 is not installed")
    lan = shared_lan()
    port = server.port_of(server.closed_port(lan.s, lan.SERVER[4]))
    for way in ([], ["-R"], ["--bidir"], ["-u", "-b", "50M"]):
        target = Process(["iperf3", "-s", "-1", "-p", str(port)], lan.s)
        wait_for(lambda: server_listens(lan.s, port), 5, "the iperf3 server")
        seen = json.loads(inside(0, ["iperf3", "-J", "-t", "1", "-p", str(port),
                                     "-c", lan.SERVER[4]] + way))
        check(seen.get("error"), None, "error of iperf3 %s" % way)
        total = seen["end"].get("sum_received") or seen["end"]["sum"]
        check_that(total["bytes"] > MIB, "iperf3 %s moved %d bytes" % (way, total["bytes"]))
        target.wait(10)


def server_listens(netns, port):
    """LISTEN in /proc/net/tcp or tcp6, without connecting."""
    found = False
    for name in ("tcp", "tcp6"):
        with netns.entered(), open("/proc/thread-self/net/" + name) as table:
            found |= any(":%04X " % port in line and " 0A " in line for line in table)
    return found


HALF_CLOSE = """
import hashlib, socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
sock.sendall(b"q" * 1000)
sock.shutdown(socket.SHUT_WR)
digest, total = hashlib.sha256(), 0
while True:
    data = sock.recv(1 << 20)
    if not data:
        break
    digest.update(data)
    total += len(data)
print(total, digest.hexdigest())
"""


@case(families=True)
def half_close_then_64_mib_of_answer(v):
    answer = server.pattern(64 * MIB)

    def handler(sock):
        server.read_all(sock)
        sock.sendall(answer)

    service = server.Service(shared_lan().s, shared_lan().SERVER[v], handler)
    seen = inside(0, python(0, HALF_CLOSE, service.addr, service.port))
    check(seen.split(), [str(64 * MIB), hashlib.sha256(answer).hexdigest()],
          "bytes and hash of the answer")
    service.close()


BOTH_WAYS = """
import hashlib, socket, sys, threading
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 50)
block = bytes(range(256)) * 4096
def send():
    for _ in range(64):
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
digest, total = hashlib.sha256(), 0
while True:
    data = sock.recv(1 << 16)
    if not data:
        break
    digest.update(data)
    total += len(data)
print(total, digest.hexdigest())
"""


@case(seconds=90)
def sixty_four_mib_each_way_at_once():
    expected = hashlib.sha256(bytes(range(256)) * 4096 * 64).hexdigest()
    uploads = []

    def handler(sock):
        sender = threading.Thread(target=lambda: (
            sock.sendall(bytes(range(256)) * 4096 * 64), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        uploads.append(server.read_all(sock))
        sender.join()

    service = server.Service(shared_lan().s, shared_lan().SERVER[4], handler)
    seen = inside(0, python(0, BOTH_WAYS, service.addr, service.port), seconds=80)
    check(seen.split(), [str(64 * MIB), expected], "what the guest read")
    wait_for(lambda: uploads, 5, "the server's end")
    check(uploads[0], (64 * MIB, expected), "what the server read")
    service.close()


LAST_WORDS = r"""
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b"x" * 6000000)
"""


@case(variants=USERS)
def last_bytes_of_a_command_that_has_ended_arrive(uid):
    uploads, may_read = [], threading.Event()

    def handler(sock):
        may_read.wait(20)
        uploads.append(server.read_all(sock)[0])

    service = server.Service(shared_lan().s, shared_lan().SERVER[4], handler)
    threading.Timer(0.7, may_read.set).start()
    inside(uid, python(uid, LAST_WORDS, service.addr, service.port))
    wait_for(lambda: uploads, 10, "the server's end")
    check(uploads[0], 6000000, "what the server read")
    service.close()


# --- the namespace -----------------------------------------------------------


@case(variants=USERS)
def namespace_has_addresses_routes_and_nothing_else(uid):
    links = json.loads(inside(uid, ["ip", "-j", "addr"]))
    check(sorted(x["ifname"] for x in links)[0], "eth0", "the interface")
    check({x["ifname"] for x in links} <= {"lo", "eth0", "sit0", "tunl0", "ip6tnl0"}, True,
          "interfaces %s" % [x["ifname"] for x in links])
    eth0 = next(x for x in links if x["ifname"] == "eth0")
    addrs = ["%s/%d" % (a["local"], a["prefixlen"]) for a in eth0["addr_info"]]
    check_that("10.0.2.15/24" in addrs and "fd00::15/64" in addrs, "addresses %s" % addrs)
    lo = next(x for x in links if x["ifname"] == "lo")
    check_that("UP" in lo["flags"], "lo is down")
    for v, gateway in ((4, "10.0.2.2"), (6, "fd00::2")):
        route = inside(uid, ["ip", "-%d" % v, "route", "show", "default"])
        check_that("via %s dev eth0" % gateway in route, "IPv%d default route: %r" % (v, route))


@case()
def options_of_the_network_are_obeyed():
    out = inside(0, ["sh", "-c", "ip link show eth0; ip addr; cat /etc/resolv.conf"],
                 ["--mtu", "9000", "--subnet", "192.168.77.0/24", "--no-ipv6"])
    check_that("mtu 9000" in out, "MTU: %s" % out.splitlines()[:1])
    check_that("192.168.77.15/24" in out, "address")
    check_that("nameserver 192.168.77.3" in out, "nameserver")
    check_that("fd00::" not in out, "an IPv6 address in spite of --no-ipv6")


@case(variants=USERS)
def resolv_conf_is_private(uid):
    with open("/etc/resolv.conf") as file:
        before = file.read()
    seen = inside(uid, ["cat", "/etc/resolv.conf"])
    check_that("nameserver 10.0.2.3" in seen, "resolv.conf inside: %r" % seen)
    with open("/etc/resolv.conf") as file:
        check(file.read(), before, "resolv.conf outside")


@case(variants=USERS)
def gateway_answers_ping(uid):
    if not shutil.which("ping"):
        raise Skip("ping is not installed")
    for addr in ("10.0.2.2", "fd00::2"):
        inside(uid, ["ping", "-c", "1", "-W", "2", addr])


@case(variants=USERS)
def host_loopback_is_closed_unless_opened(uid):
    lan = shared_lan()
    listener = server.listen(lan.r, "127.0.0.1")
    port = server.port_of(listener)
    check(connect_inside(uid, "10.0.2.2", port)[0], errno.ECONNREFUSED,
          "connect to the gateway's address")
    check(connect_inside(uid, "10.0.2.2", port, "--host-loopback")[0], 0,
          "connect with --host-loopback")


@case()
def two_runs_at_once_do_not_meet():
    echo = server.EchoServer(shared_lan().s, shared_lan().SERVER[4])
    both = [start(0, (), python(0, MANY, echo.addr, echo.port, 100)) for _ in range(2)]
    for process in both:
        check(process.wait(20), 0, "exit status: " + process.err())
    echo.close()


# --- the command: status, signals, terminal ------------------------------------


@case(variants=USERS)
def exit_status_is_the_command_s(uid):
    for command, status in ((["true"], 0), (["false"], 1), (["sh", "-c", "exit 42"], 42),
                            (["sh", "-c", "kill -9 $$"], 137), (["sh", "-c", "kill $$"], 143)):
        inside(uid, command, status=status)


@case()
def command_that_cannot_be_run_is_said():
    for command, status in ((["/no/such/command"], 127), (["no-such-command"], 127),
                            (["/etc/passwd"], 126)):
        process = start(0, (), command)
        check(process.wait(10), status, "status for " + command[0])
        check_that(process.err().startswith("lwrelay: " + command[0])
                   and process.err().count("\n") == 1, "it said %r" % process.err())


@case(variants=USERS)
def identity_inside_is_the_caller_s_or_root_as_asked(uid):
    check(inside(uid, ["id", "-u"]).strip(), str(uid), "uid")
    check(inside(uid, ["id", "-u"], ["--map-root"]).strip(), "0", "uid with --map-root")


def background(uid, script, options=()):
    """A shell script in `run` that has said "up"."""
    process = start(uid, options, ["sh", "-c", script])
    wait_for(lambda: "up" in process.out() or not process.alive(), 10, "the command starts")
    check_that(process.alive(), "it ended: " + process.err())
    return process


@case(variants=USERS)
def signals_reach_the_command(uid):
    for name in ("TERM", "INT", "HUP", "USR1", "USR2", "QUIT"):
        process = background(uid, "trap 'exit 7' %s; echo up; while :; do sleep 0.05; done"
                             % name)
        process.send_signal(getattr(signal, "SIG" + name))
        check(process.wait(5), 7, "status after SIG" + name)


@case(variants=USERS)
def background_children_do_not_hold_it_up(uid):
    begin = time.monotonic()
    inside(uid, ["sh", "-c", "sleep 30 & exit 3"], status=3)
    check_that(time.monotonic() - begin < 20, "it waited for the background child")


@case(variants=USERS)
def nothing_is_left_after_sigkill(uid):
    mark = "9876%d" % os.getpid()
    process = background(uid, "echo up; exec sleep %s" % mark)
    wait_for(lambda: processes_with("sleep " + mark), 2, "the command runs")
    before = interfaces(shared_lan().r)
    process.kill()  # the program itself: the wrappers before it exec
    wait_for(lambda: not processes_with("sleep " + mark), 3, "the command's end")
    check(interfaces(shared_lan().r), before, "interfaces of the relay's namespace")
    with open("/proc/self/mountinfo") as mounts:
        check("lwrelay" in mounts.read(), False, "a mount is left behind")


def processes_with(text):
    """PIDs whose command line is the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/cmdline" % pid) as file:
                line = file.read().replace("\0", " ").strip()
            if line == text:
                found.append(int(pid))
    return found


def interfaces(netns):
    return sorted(x["ifname"] for x in json.loads(netns.ip("-j", "link")))


@case()
def standard_input_and_output_pass_through():
    read_end, write_end = os.pipe()
    process = start(0, (), ["cat"], stdin=read_end)
    os.close(read_end)
    os.write(write_end, b"through the pipe")
    os.close(write_end)
    check(process.wait(10), 0, "status")
    check(process.out(), "through the pipe", "output of cat")


@case()
def terminal_is_passed_and_control_c_ends_the_command():
    outer, inner = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    process = start(0, (), ["sh", "-c", "tty; exec sleep 60"], stdin=inner, stdout=inner,
                    stderr=inner, pass_fds=[inner], before=take_terminal)
    seen = read_until(outer, b"/dev/pts/", 10)
    check_that(b"/dev/pts/" in seen, "tty said %r" % seen)
    os.write(outer, b"\x03")
    check(process.wait(5), 130, "status after ^C")
    os.close(outer)
    os.close(inner)


def read_until(fd, text, seconds):
    os.set_blocking(fd, False)
    seen = bytearray()

    def more():
        with contextlib.suppress(BlockingIOError):
            seen.extend(os.read(fd, 1000))
        return text in seen

    wait_for(more, seconds, "%r from the terminal" % text)
    time.sleep(0.1)  # let exec happen; the outcome does not depend on it
    return bytes(seen)


# --- serve: tap links, files, descriptors ---------------------------------------


def serve(*options, netns=None, pass_fds=()):
    """`lwrelay serve` that has become ready."""
    read_end, write_end = os.pipe()
    process = Process([program(), "serve", "--ready-fd", str(write_end)] + list(options),
                      netns or shared_lan().r, pass_fds=[write_end] + list(pass_fds))
    os.close(write_end)
    wait_ready(process, read_end)
    return process


def configure_guest(netns, name):
    netns.ip("addr", "add", "10.0.2.15/24", "dev", name)
    netns.ip("addr", "add", "fd00::15/64", "dev", name, "nodad")
    netns.ip("link", "set", name, "up")
    netns.ip("route", "add", "default", "via", "10.0.2.2")
    netns.ip("-6", "route", "add", "default", "via", "fd00::2")


@case()
def tap_in_another_namespace_serves_it():
    lan, guest = shared_lan(), Netns()
    process = serve("--link", "tap:tap0@" + guest.path)
    try:
        configure_guest(guest, "tap0")
        for v in (4, 6):
            web = HttpServer(lan.s, lan.SERVER[v])
            seen = run("sh", "-c", "curl -sSfg %s | sha256sum" % web.url("/bytes/10000000"),
                       netns=guest)
            check(seen.split()[0], hashlib.sha256(server.pattern(10000000)).hexdigest(),
                  "hash of the download, IPv%d" % v)
            web.close()
        guest.ip("link", "del", "tap0")
        check(process.wait(3), 0, "status when the tap is deleted")
    finally:
        process.kill()
        guest.close()


def qdisc_of(netns, name):
    return run("tc", "qdisc", "show", "dev", name, netns=netns).split()[1]


@case()
def tap_sends_at_once_unless_somebody_chose_otherwise():
    guest = Netns()
    guest.ip("tuntap", "add", "mode", "tap", "vnet_hdr", "name", "tap1")
    run("tc", "qdisc", "add", "dev", "tap1", "root", "pfifo", netns=guest)
    process = serve("--link", "tap:tap0@" + guest.path,
                    "--link", "tap:tap1@" + guest.path)
    try:
        configure_guest(guest, "tap0")
        check(qdisc_of(guest, "tap0"), "noqueue", "discipline of the relay's tap")
        check(qdisc_of(guest, "tap1"), "pfifo", "discipline of the user's")
    finally:
        process.kill()
        guest.close()


@case()
def tap_of_two_guests_in_one_process():
    lan, guests = shared_lan(), [Netns(), Netns()]
    process = serve("--link", "tap:tap0@" + guests[0].path,
                    "--link", "tap:tap0@" + guests[1].path)
    try:
        web = HttpServer(lan.s, lan.SERVER[4])
        for guest in guests:
            configure_guest(guest, "tap0")
            seen = run("curl", "-sSf", web.url(), netns=guest)
            check(seen, "hello from the server\n", "the page")
        web.close()
    finally:
        process.kill()
        for guest in guests:
            guest.close()


def idle_serve(*options, **named):
    return serve("--link", "stream:" + os.path.join(scratch(), "link"), *options, **named)


@case()
def pid_file_names_the_process():
    path = os.path.join(scratch(), "pid")
    process = idle_serve("--pid-file", path)
    with open(path) as file:
        check(file.read().strip(), str(process.pid), "content of the pid file")
    check(process.stop(), 0, "status")


@case()
def exit_fd_ends_it():
    read_end, write_end = os.pipe()
    process = idle_serve("--exit-fd", str(read_end), pass_fds=[read_end])
    os.close(read_end)
    os.close(write_end)
    check(process.wait(2), 0, "status when the exit descriptor is closed")


def seconds_to_end(signo):
    process = idle_serve()
    begin = time.monotonic()
    check(process.stop(signo), 0, "status after signal %d" % signo)
    return time.monotonic() - begin


@case()
def sigterm_and_sigint_end_serve_within_a_second():
    for signo in (signal.SIGTERM, signal.SIGINT):
        within(1, lambda: seconds_to_end(signo), "the end")


@case()
def idle_process_does_not_wake_up():
    process = idle_serve()
    time.sleep(0.5)  # it may still be finishing its start
    before = process.switches()
    time.sleep(10)  # the time observed
    woken = process.switches() - before
    process.stop()
    check(woken, 0, "wake-ups in 10 s")


@case()
def stats_are_written_as_json_at_the_end():
    path = os.path.join(scratch(), "stats")
    process = idle_serve("--stats", path)
    process.stop()
    with open(path) as file:
        stats = json.load(file)
    for name in ("frames_g2h", "frames_h2g", "tcp_opened", "drop_short"):
        check(stats.get(name), 0, name)


@case()
def stats_that_cannot_be_written_are_status_1():
    process = Process([program(), "serve", "--link", "stream:" + os.path.join(scratch(), "l"),
                       "--stats", "/no/such/directory/stats"], shared_lan().r)
    with contextlib.suppress(Failure):
        wait_for(lambda: not process.alive(), 0.5, "an early end")
    check(process.stop(), 1, "status")
    check_that("/no/such/directory/stats" in process.err(), "it said %r" % process.err())


# --- errors ----------------------------------------------------------------------


def complaint(argv, status, *words, prefix=(), netns=None, **popen):
    """The program must say one line with these words and return the status."""
    process = Process(list(prefix) + [program()] + list(argv), netns, **popen)
    seen = process.wait(5)
    said = process.err()
    shown = "lwrelay %s" % " ".join(argv)
    check(seen, status, "status of %s (it said %r)" % (shown, said))
    check_that(said.startswith("lwrelay: ") and said.count("\n") == 1
               and said.endswith("\n"), "%s: expected one line, saw %r" % (shown, said))
    for word in words:
        check_that(word in said, "%s: expected %r in %r" % (shown, word, said))


@case()
def wrong_usage_is_status_2_and_one_line():
    link = "stream:" + os.path.join(scratch(), "link")
    for argv, words in (
            ([], ["--help"]),
            (["dance"], ["dance"]),
            (["serve"], ["--link"]),
            (["run"], ["command"]),
            (["run", "--"], ["command"]),
            (["serve", "--no-such-option"], ["--no-such-option"]),
            (["serve", "--link", link, "extra"], ["extra"]),
            (["serve", "--link"], ["--link"]),
            (["serve", "--link", "carrier-pigeon:x"], ["carrier-pigeon"]),
            (["serve", "--link", "stream:"], ["stream:"]),
            (["serve", "--link", "stream:/tmp/" + "x" * 120], ["stream:"]),
            (["serve", "--link", "stream-fd:x"], ["--link", "'x'"]),
            (["serve", "--link", "stream-fd:99"], ["--link", "99"]),
            (["serve", "--link", "tap-fd:98"], ["--link", "98"]),
            (["serve", "--link", "tap:" + "x" * 16], ["tap:"]),
            (["serve", "--link", link, "--mtu", "100"], ["--mtu", "100"]),
            (["serve", "--link", link, "--mtu", "65536"], ["--mtu"]),
            (["serve", "--link", link, "--mtu", "1500x"], ["--mtu"]),
            (["serve", "--link", link, "--subnet", "10.0.2.0"], ["--subnet"]),
            (["serve", "--link", link, "--subnet", "10.0.2.300/24"], ["--subnet"]),
            (["serve", "--link", link, "--subnet", "127.0.0.0/8"], ["--subnet"]),
            (["serve", "--link", link, "--subnet6", "10.0.2.0/24"], ["--subnet6"]),
            (["serve", "--link", link, "--dns", "example.com"], ["--dns", "example.com"]),
            (["serve", "--link", link, "--dns", "1.2.3.4:99999"], ["--dns"]),
            (["serve", "--link", link, "--connect-timeout", "-1"], ["--connect-timeout"]),
            (["serve", "--link", link, "--log-level", "loud"], ["--log-level", "loud"]),
            (["serve", "--link", link, "--log-format", "xml"], ["--log-format"])):
        complaint(argv, 2, *words)


@case()
def help_and_version_go_to_standard_output():
    for argv, words in ((["--help"], ["run", "serve", "--link", "--mtu", "--ready-fd"]),
                        (["--version"], ["lwrelay"])):
        process = Process([program()] + argv)
        check(process.wait(5), 0, "status of %s" % argv)
        check(process.err(), "", "what %s says on stderr" % argv)
        for word in words:
            check_that(word in process.out(), "%s does not say %s" % (argv, word))


@case()
def links_that_cannot_be_opened_are_status_1_and_one_line():
    lan = shared_lan()
    for link, words in (("stream:/no/such/directory/link", ["/no/such/directory/link"]),
                        ("stream:/etc/passwd", ["/etc/passwd"]),
                        ("tap:lo", ["lo"]),
                        ("tap:tap0@/no/such/netns", ["/no/such/netns"]),
                        ("tap:tap0@/etc/passwd", ["/etc/passwd"])):
        complaint(["serve", "--link", link], 1, *words, netns=lan.r)
    check(os.path.isfile("/etc/passwd"), True, "/etc/passwd is still there")


@case()
def descriptors_that_are_not_open_are_said():
    link = "stream:" + os.path.join(scratch(), "link")
    for option in ("--ready-fd", "--exit-fd"):
        process = Process([program(), "serve", "--link", link, option, "97"], shared_lan().r)
        status = process.wait(5)
        check_that(status in (1, 2) and process.err().count("\n") == 1
                   and option in process.err(),
                   "%s 97: status %d, it said %r" % (option, status, process.err()))


@case()
def missing_dev_net_tun_is_said():
    complaint(["run", "--", "true"], 1, "/dev/net/tun",
              prefix=["unshare", "--mount", "sh", "-c",
                      'mount -t tmpfs none /dev/net && exec "$@"', "sh"],
              netns=shared_lan().r)


@case()
def forbidden_dev_net_tun_is_said_to_a_user():
    as_user(NOBODY)
    prefix = ["unshare", "--mount", "sh", "-c",
              "mount -t tmpfs -o mode=755 none /dev/net && "
              'mknod -m 600 /dev/net/tun c 10 200 && exec "$@"', "sh"] + AS_NOBODY
    process = Process(prefix + [binary(NOBODY), "run", "--", "true"], shared_lan().r)
    check(process.wait(5), 1, "status")
    check_that("/dev/net/tun" in process.err() and process.err().count("\n") == 1,
               "it said %r" % process.err())


@contextlib.contextmanager
def nested_user_namespace():
    """For Process(before=...): a new user namespace that has all the users, in
    which the process is root. Its map must be written from outside."""
    ours, theirs = socket.socketpair()

    def write_maps():
        pid = int(ours.recv(20))
        for name in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (pid, name), "w") as file:
                file.write("0 0 65536")
        ours.send(b"written")

    def enter():
        world.unshare(world.CLONE_NEWUSER)
        theirs.send(b"%d" % os.getpid())
        theirs.recv(20)

    threading.Thread(target=write_maps, daemon=True).start()
    with ours, theirs:
        yield enter


@case()
def forbidden_user_namespaces_are_said_to_a_user():
    as_user(NOBODY)
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    with nested_user_namespace() as enter:
        process = Process(["sh", "-c", script, "sh"] + AS_NOBODY +
                          [binary(NOBODY), "run", "--", "true"],
                          shared_lan().r, before=enter)
    check(process.wait(5), 1, "status (it said %r)" % process.err())
    check_that("max_user_namespaces" in process.err() and process.err().count("\n") == 1,
               "it said %r" % process.err())


@case()
def forbidden_network_namespaces_are_said():
    script = 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"'
    complaint(["run", "--", "true"], 1, "max_net_namespaces",
              prefix=["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"],
              netns=shared_lan().r)


@case()
def full_standard_output_is_not_status_0():
    with open("/dev/full", "w") as full:
        process = Process([program(), "--help"], stdout=full)
        check_that(process.wait(5) != 0, "--help >/dev/full returned 0")


if __name__ == "__main__":
    world.need_namespaces()
    if is_passt():
        skip_file("passt has no run")
    if not os.path.exists("/dev/net/tun"):
        skip_file("no /dev/net/tun")
    binary.copy = os.path.join(scratch(), "lwrelay")
    main()
