# SPDX-License-Identifier: BSD-3-Clause
"""Processes and network namespaces that end with the test, come what may.

A namespace is held open by a descriptor and has no name: when the test and its
children are gone, killed or not, so is the namespace.
"""

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from .case import PATIENCE, Failure, skip_file

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
_processes = []


def _libc(name, *args):
    if getattr(LIBC, name)(*args) < 0:
        err = ctypes.get_errno()
        raise OSError(err, "%s: %s" % (name, os.strerror(err)))


def unshare(flags):
    _libc("unshare", flags)


def need_namespaces():
    """Makes sure namespaces can be made; an ordinary user becomes root of a
    user namespace. Ends the file as skipped where neither is possible."""
    if os.geteuid() == 0:
        return
    again = ["unshare", "--map-root-user", "--mount", "--net", sys.executable] + sys.argv
    probe = subprocess.run(["unshare", "--map-root-user", "--mount", "--net", "true"],
                           stderr=subprocess.PIPE, text=True)
    if probe.returncode or os.environ.get("LWR_TEST_INNER"):
        skip_file("needs root or user namespaces: " + probe.stderr.strip())
    os.environ["LWR_TEST_INNER"] = "1"
    os.execvp(again[0], again)


def scratch():
    """A directory for this test, removed at exit."""
    path = tempfile.mkdtemp(prefix="lwrelay-test-")
    os.chmod(path, 0o755)
    atexit.register(shutil.rmtree, path, True)
    return path


# --- processes --------------------------------------------------------------


class Process:
    """A child with its output in files, so that no pipe can fill up."""

    def __init__(self, argv, netns=None, pass_fds=(), stdin=subprocess.DEVNULL,
                 before=None, **popen):
        self.argv = argv
        self.out_file = tempfile.TemporaryFile()
        self.err_file = tempfile.TemporaryFile()

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for signo in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(signo, signal.SIG_DFL)  # a shell's "&" ignores them
            if netns is not None:
                _libc("setns", netns.fd, CLONE_NEWNET)
            if before:
                before()

        popen.setdefault("stdout", self.out_file)
        popen.setdefault("stderr", self.err_file)
        self.popen = subprocess.Popen(argv, stdin=stdin, pass_fds=pass_fds,
                                      preexec_fn=prepare, **popen)
        _processes.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def out(self):
        return _content(self.out_file)

    def err(self):
        return _content(self.err_file)

    def send_signal(self, signo):
        self.popen.send_signal(signo)

    def wait(self, seconds=20):
        """The exit status; kills and fails if there is none in time."""
        try:
            return self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("%s did not end within %g s; it said: %s" % (
                self.argv[0], seconds * PATIENCE, self.err().strip()[-400:]))

    def stop(self, signo=signal.SIGTERM, seconds=5):
        if self.alive():
            self.send_signal(signo)
        return self.wait(seconds)

    def kill(self):
        if self.alive():
            self.popen.kill()
            self.popen.wait()

    def resident_kib(self):
        return _status_kib(self.pid, "VmRSS:")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def switches(self):
        """How often the process went to sleep by itself."""
        with open("/proc/%d/status" % self.pid) as status:
            for line in status:
                if line.startswith("voluntary_ctxt_switches:"):
                    return int(line.split()[1])
        raise Failure("no voluntary_ctxt_switches for pid %d" % self.pid)


def _status_kib(pid, key):
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith(key):
                return int(line.split()[1])
    return 0


def _content(file):
    # pread: the child shares the offset of the descriptor
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


@atexit.register
def _end_all():
    for process in _processes:
        process.kill()


def run(*argv, netns=None, check=True, seconds=20):
    """Runs a command to its end; returns its standard output."""
    process = Process(list(argv), netns)
    status = process.wait(seconds)
    _processes.remove(process)
    if check and status:
        raise Failure("%s: status %d: %s" % (" ".join(argv), status, process.err()))
    return process.out()


# --- namespaces -------------------------------------------------------------


class Netns:
    """A new network namespace with its loopback up."""

    def __init__(self):
        opened = []

        def make():
            try:
                unshare(CLONE_NEWNET)
                opened.append(os.open("/proc/thread-self/ns/net",
                                      os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                opened.append(error)

        worker = threading.Thread(target=make)
        worker.start()
        worker.join()
        if isinstance(opened[0], OSError):
            skip_file("cannot make a network namespace: %s" % opened[0])
        self.fd = opened[0]
        self.path = "/proc/%d/fd/%d" % (os.getpid(), self.fd)
        self.ip("link", "set", "lo", "up")

    @contextlib.contextmanager
    def entered(self):
        """Sockets that this thread makes in the block belong to it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _libc("setns", self.fd, CLONE_NEWNET)
            yield
        finally:
            _libc("setns", home, CLONE_NEWNET)
            os.close(home)

    def ip(self, *args, check=True):
        return run("ip", *args, netns=self, check=check)

    def sysctl(self, name, value):
        with self.entered():
            with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
                file.write(str(value))

    def close(self):
        os.close(self.fd)


class Lan:
    """R, where the relay runs, and S, where the servers are, behind a veth.

    Beside the server's addresses there are in each family one that never
    answers (silent), and destinations that R's routes forbid each in its way.
    """

    RELAY = {4: "198.51.100.1", 6: "2001:db8:1::1"}
    SERVER = {4: "198.51.100.2", 6: "2001:db8:1::2"}
    SECOND = {4: "198.51.100.3", 6: "2001:db8:1::3"}
    SILENT = {4: "198.51.100.66", 6: "2001:db8:1::66"}
    UNREACHABLE = {4: "203.0.113.1", 6: "2001:db8:2::1"}
    PROHIBITED = {4: "203.0.113.2", 6: "2001:db8:2::2"}
    NO_ROUTE = {4: "203.0.113.3", 6: "2001:db8:2::3"}

    def __init__(self):
        self.r, self.s = Netns(), Netns()
        self.r.ip("link", "add", "up0", "type", "veth", "peer", "name", "dn0",
                  "netns", self.s.path)
        for netns, name, addrs in ((self.r, "up0", [self.RELAY]),
                                   (self.s, "dn0", [self.SERVER, self.SECOND])):
            for addr in addrs:
                netns.ip("addr", "add", addr[4] + "/24", "dev", name)
                netns.ip("addr", "add", addr[6] + "/64", "dev", name, "nodad")
            netns.ip("link", "set", name, "up")
        for version in (4, 6):
            self._routes(version)
        with self.r.entered():
            _allow_ping_sockets()

    def _routes(self, version):
        mac = self.s.ip("-br", "link", "show", "dn0").split()[2]
        family = "-%d" % version
        self.r.ip("neigh", "replace", self.SILENT[version], "lladdr", mac,
                  "dev", "up0", "nud", "permanent")
        self.r.ip(family, "route", "add", "default", "via", self.SERVER[version])
        for kind, addr in (("unreachable", self.UNREACHABLE),
                           ("prohibit", self.PROHIBITED), ("throw", self.NO_ROUTE)):
            self.r.ip(family, "route", "add", kind, addr[version])

    def close(self):
        self.r.close()
        self.s.close()


def _allow_ping_sockets():
    with contextlib.suppress(OSError):
        with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
            file.write("0 65535")
