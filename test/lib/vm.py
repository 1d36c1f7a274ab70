# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests without KVM, of packages that are unpacked and never installed:
Debian's cloud kernel in QEMU, and User Mode Linux. Their root is made here of
busybox, a script and what it needs, or is this machine's own."""

import functools
import glob
import gzip
import lzma
import os
import re
import shutil
import subprocess

from .case import Failure, Skip
from .world import Process, run, scratch

KERNEL_PACKAGE = "linux-image-cloud-amd64"
UML_PACKAGE = "user-mode-linux"
MODULES = ("virtio_pci", "virtio_net", "af_packet", "ipv6")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "cache", "vm")


def need(*commands):
    for command in commands:
        if not shutil.which(command):
            raise Skip("%s is not installed" % command)


@functools.lru_cache(maxsize=None)
def kernel():
    """The directory of the unpacked package; fetched once."""
    return _unpacked("tree", "boot/vmlinuz-*", _kernel_package)


@functools.lru_cache(maxsize=None)
def uml():
    """The program of User Mode Linux."""
    installed = shutil.which("linux.uml")
    if installed:
        return installed
    return _unpacked("uml", "usr/bin/linux.uml", lambda: UML_PACKAGE) + "/usr/bin/linux.uml"


def _kernel_package():
    depends = run("apt-cache", "depends", KERNEL_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise Failure("apt knows no %s" % KERNEL_PACKAGE)
    return found.group(1)


def _unpacked(name, wanted, package):
    tree = os.path.join(CACHE, name)
    if not glob.glob(os.path.join(tree, wanted)):
        need("apt-get", "apt-cache", "dpkg")
        try:
            os.makedirs(CACHE, exist_ok=True)
            _fetch_or_update(tree, package)
        except (Failure, OSError) as problem:
            raise Skip("the package of the guest cannot be had: %s" % problem)
    return tree


def _fetch_or_update(tree, package):
    try:
        _fetch(tree, package())
    except Failure:  # the package lists may be missing or old
        run("apt-get", "-qq", "update", check=False, seconds=60)
        _fetch(tree, package())


def _fetch(tree, package):
    run("sh", "-c", 'cd "$0" && apt-get -qq download "$1"', CACHE, package, seconds=120)
    archive = glob.glob("%s/%s_*.deb" % (CACHE, package))[0]
    partial = CACHE + "/partial"
    shutil.rmtree(partial, True)
    run("dpkg", "-x", archive, partial, seconds=60)
    os.unlink(archive)
    os.rename(partial, tree)


def _module_path(place, name):
    wanted = name.replace("_", "[-_]")
    found = glob.glob("%s/*/kernel/**/%s.ko*" % (place, wanted), recursive=True)
    return found[0] if found else None  # none: it is built in


def _module_bytes(path):
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def modules(place, names):
    """[(name, bytes)] in the order in which they are loaded, of a lib/modules."""
    out, seen = [], set()

    def add(name):
        path = _module_path(place, name)
        if name in seen or not path:
            return
        seen.add(name)
        data = _module_bytes(path)
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in filter(None, found.group(1).decode().split(",") if found else []):
            add(other)
        out.append((name, data))

    for name in names:
        add(name)
    return out


def libraries(path):
    """The shared libraries of a program."""
    text = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True).stdout
    return sorted(set(re.findall(r"(/\S+)", text)))


class Cpio:
    """An initramfs in the "newc" format."""

    def __init__(self):
        self.out = bytearray()
        self.dirs = set()

    def add(self, path, data, mode=0o100755):
        parent = os.path.dirname(path)
        if parent and parent not in self.dirs:
            self.dirs.add(parent)
            self.add(parent, b"", 0o040755)
        fields = (len(self.out) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                  len(path) + 1, 0)
        self.out += b"070701" + b"".join(b"%08X" % f for f in fields)
        self.out += path.encode() + b"\0"
        self.out += bytes(-len(self.out) % 4)
        self.out += data
        self.out += bytes(-len(self.out) % 4)

    def finish(self):
        self.add("TRAILER!!!", b"", 0)
        return gzip.compress(bytes(self.out), 1)


INIT = """#!/bin/busybox sh
echo INIT-RUNS
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mkdir -p /proc /sys /dev /tmp /etc
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m.ko || echo "insmod $m failed"; done
ip link set lo up
ip link set vec0 name eth0 2>/dev/null
sh /script
echo SCRIPT-ENDED
sync
poweroff -f
"""

# Of a Debian whose files are the host's: what is written lies in memory. The
# directory of this script vanishes under the /tmp of the guest, hence the order;
# Debian's mount is set-user-ID, and not to root where a user namespace shows it.
DEBIAN_INIT = """#!/bin/sh
echo INIT-RUNS
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys
busybox mount -t tmpfs run /run
for m in ${0%/*}/modules/*; do busybox insmod $m || echo "insmod $m failed"; done
cp ${0%/*}/script /run/script
mkdir /run/etc
cp -a /etc/. /run/etc 2>/dev/null
rm -f /run/etc/resolv.conf
>/run/etc/resolv.conf
busybox mount --bind /run/etc /etc
busybox mount -t tmpfs lib /var/lib/dhcp
busybox mount -t tmpfs tmp /tmp
ip link set lo up
ip link set vec0 name eth0
sh /run/script
echo SCRIPT-ENDED
sync
busybox poweroff -f
"""

DHCP_SCRIPT = """#!/bin/sh
case $1 in bound|renew)
ip addr replace $ip/$mask dev $interface
[ -z "$mtu" ] || ip link set $interface mtu $mtu
ip route replace default via ${router%% *}
: >/etc/resolv.conf
for d in $dns; do echo nameserver $d >>/etc/resolv.conf; done
echo RESULT dhcp $ip/$mask $router $dns $mtu
esac
"""


def contents(script, loaded=()):
    """{path: bytes} of a guest's root; `loaded` are modules, as modules() says."""
    found = {"init": INIT.encode(), "dhcp": DHCP_SCRIPT.encode(),
             "script": script.encode(),
             "modules/order": " ".join(name for name, _ in loaded).encode()}
    for name, data in loaded:
        found["modules/%s.ko" % name] = data
    paths = {"bin/busybox": shutil.which("busybox")}
    iperf3 = shutil.which("iperf3")
    if iperf3:
        paths["bin/iperf3"] = iperf3
        paths.update((x.lstrip("/"), x) for x in libraries(iperf3))
    for name, path in paths.items():
        with open(path, "rb") as file:
            found[name] = file.read()
    return found


def _kernel_modules():
    found = glob.glob(kernel() + "/**/lib/modules", recursive=True)
    return found[0] if found else ""


def _uml_modules():
    return os.path.join(os.path.dirname(uml()), "..", "lib", "uml", "modules")


def initramfs(script):
    cpio = Cpio()
    for path, data in contents(script, modules(_kernel_modules(), MODULES)).items():
        cpio.add(path, data)
    return cpio.finish()


class Guest:
    """A guest that runs a script and ends."""

    def __init__(self, argv, netns, seconds):
        self.process = Process(argv, netns)
        self.seconds = seconds

    def results(self):
        """{name: words} of the RESULT lines of the script."""
        self.process.wait(self.seconds)
        said = self.process.out()
        if "SCRIPT-ENDED" not in said:
            raise Failure("the guest did not reach the end: %s %s" % (
                said[-600:], self.process.err()[-300:]))
        lines = [x.split() for x in said.splitlines() if x.startswith("RESULT ")]
        return {words[1]: words[2:] for words in lines if len(words) > 1}


class Machine(Guest):
    """QEMU with a network given by its arguments."""

    def __init__(self, netns, script, network, seconds):
        need("qemu-system-x86_64", "busybox")
        image = os.path.join(scratch(), "initramfs")
        with open(image, "wb") as file:
            file.write(initramfs(script))
        super().__init__(
            ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-m", "512", "-smp", "1",
             "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel",
             glob.glob(kernel() + "/boot/vmlinuz-*")[0], "-initrd", image, "-append",
             "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0"] + network,
            netns, seconds)


class _UserMode(Guest):
    """User Mode Linux; its root is a directory of the host."""

    def __init__(self, netns, root, init, network, seconds):
        super().__init__(
            [uml(), "mem=256M", "rootfstype=hostfs", *root, "init=" + init, "con=null",
             "con0=fd:0,fd:1", "quiet", "uml_dir=" + scratch(), network], netns, seconds)

    def results(self):
        self.process.wait(self.seconds)
        said = self.process.out() + self.process.err()
        if "INIT-RUNS" not in said and "Kernel panic" not in said:
            raise Skip("User Mode Linux does not run here: %s" % " ".join(said.split())[-200:])
        return super().results()


class UserMode(_UserMode):
    """With the root that is made here."""

    def __init__(self, netns, script, network, seconds):
        need("busybox")
        root = _directory(contents(script, modules(_uml_modules(), ["ipv6"])))
        super().__init__(netns, ["rootflags=" + root, "rw"], "/init", network, seconds)


class Debian(_UserMode):
    """With the file system of this machine, which it only reads."""

    def __init__(self, netns, script, network, seconds, commands):
        need("busybox", *commands)
        files = {"modules/%s" % name: data
                 for name, data in modules(_uml_modules(), ["ipv6"])}
        files.update(init=DEBIAN_INIT.encode(), script=script.encode())
        super().__init__(netns, ["rootflags=/", "ro"], _directory(files) + "/init",
                         network, seconds)


def _directory(files):
    root = scratch()
    for path, data in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        os.chmod(full, 0o755)
    return root

