# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces, child processes and /proc, all of which end with this program."""
import ctypes
import glob
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time

PREFIX = "lwb"
FOLDER = "lwrelay-bench-"
TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def ip(*words, check=True):
    r = subprocess.run(["ip", *map(str, words)], capture_output=True,
                       text=True, timeout=20)
    if check and r.returncode != 0:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: "
                           f"{r.stderr.strip()}")
    return r.stdout


def sysctl(ns, path, value):
    """Returns False where the kernel or a container forbids it."""
    r = subprocess.run(["ip", "netns", "exec", ns, "sh", "-c",
                        'echo "$1" > "/proc/sys/$2"', "sh", value, path],
                       capture_output=True, timeout=20)
    return r.returncode == 0


def remove_stale():
    """Namespaces and folders of runs that were killed."""
    left = [(line.split()[0], f"^{PREFIX}(\\d+)-")
            for line in ip("netns", "list", check=False).splitlines()]
    left += [(path, FOLDER + r"(\d+)-") for path in
             glob.glob(f"{tempfile.gettempdir()}/{FOLDER}*")]
    for name, pattern in left:
        m = re.search(pattern, name)
        if not m or os.path.exists(f"/proc/{m[1]}"):
            continue
        if name.startswith("/"):
            shutil.rmtree(name, ignore_errors=True)
        else:
            ip("netns", "del", name, check=False)


def folder():
    """A temporary one that remove_stale() knows."""
    return tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")


def run_ahead(pid=0, ahead=True):
    """The highest priority that starves nobody, where we may."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -20 if ahead else 0)
    except PermissionError:
        pass


class Child:
    """A process in a namespace, pinned; dies with us, ended by its pid.

    ahead: before all processes that are not, where the kernel allows it.
    """

    def __init__(self, argv, ns, cpus, stdin=None, pass_fds=(), log=None,
                 ahead=False):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, cpus)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            if ahead:
                run_ahead()

        self.log = log
        err = open(log, "ab") if log else subprocess.DEVNULL
        self.proc = subprocess.Popen(
            ["ip", "netns", "exec", ns, *map(str, argv)], stdin=stdin,
            stdout=err if log else subprocess.PIPE, stderr=err,
            pass_fds=pass_fds, preexec_fn=prepare)
        if log:
            err.close()
        self.pid = self.proc.pid
        self.rest = b""

    def alive(self):
        return self.proc.poll() is None

    def line(self, timeout):
        """One line of its output as JSON, or None."""
        end = time.monotonic() + timeout
        fd = self.proc.stdout.fileno()
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return None
            data = os.read(fd, 65536)
            if not data:
                return None
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def say(self, text):
        self.proc.stdin.write(text.encode())
        self.proc.stdin.flush()

    def close(self):
        for stream in (self.proc.stdin, self.proc.stdout):
            if stream:
                stream.close()
        self.proc.terminate()
        try:
            self.proc.wait(3)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(5)


def tree(pid):
    """pid and its descendants."""
    pids = [pid]
    for p in pids:
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/children") as f:
                    pids += map(int, f.read().split())
        except OSError:
            pass
    return pids


def cpu_seconds(pid):
    """Of the process, its threads and children, to the nanosecond."""
    total = 0
    for p in tree(pid):
        for path in glob.glob(f"/proc/{p}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except OSError:
                pass
    return total * 1e-9


def status_sum(paths, key):
    total = 0
    for path in paths:
        try:
            with open(path) as f:
                m = re.search(key + r":\s+(\d+)", f.read())
            total += int(m[1]) if m else 0
        except OSError:
            pass
    return total


def rss_kib(pid):
    return status_sum([f"/proc/{p}/status" for p in tree(pid)], "VmRSS")


def wakeups(pid):
    """How often the process and its threads have slept so far."""
    paths = []
    for p in tree(pid):
        paths += [f"/proc/{p}/task/{t}/status"
                  for t in os.listdir(f"/proc/{p}/task")]
    return status_sum(paths, r"\nvoluntary_ctxt_switches")


def busy_ticks():
    with open("/proc/stat") as f:
        user, nice, system, idle, iowait, irq, soft, *_ = \
            map(int, f.readline().split()[1:])
    return user + nice + system + irq + soft


def stolen_seconds():
    """A hypervisor's other guests had so much of our processors so far."""
    with open("/proc/stat") as f:
        return int(f.readline().split()[8]) / TICKS


def busy_during(seconds):
    """Sleeps. Returns how many processors were busy meanwhile, on average."""
    before = busy_ticks()
    time.sleep(seconds)
    return (busy_ticks() - before) / TICKS / seconds
