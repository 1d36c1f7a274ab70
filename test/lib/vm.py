# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest in QEMU without KVM: Debian's cloud kernel, unpacked and never
installed, and an initramfs made here of busybox, a script and what it needs."""

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
    if not glob.glob(CACHE + "/tree/boot/vmlinuz-*"):
        need("apt-get", "apt-cache", "dpkg")
        try:
            os.makedirs(CACHE, exist_ok=True)
            _fetch_or_update()
        except (Failure, OSError) as problem:
            raise Skip("the kernel package cannot be had: %s" % problem)
    return CACHE + "/tree"


def _fetch_or_update():
    try:
        _fetch()
    except Failure:  # the package lists may be missing or old
        run("apt-get", "-qq", "update", check=False, seconds=60)
        _fetch()


def _fetch():
    depends = run("apt-cache", "depends", KERNEL_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise Failure("apt knows no %s" % KERNEL_PACKAGE)
    run("sh", "-c", 'cd "$0" && apt-get -qq download "$1"', CACHE, found.group(1), seconds=120)
    package = glob.glob(CACHE + "/linux-image-*.deb")[0]
    partial = CACHE + "/partial"
    shutil.rmtree(partial, True)
    run("dpkg", "-x", package, partial, seconds=60)
    os.unlink(package)
    os.rename(partial, CACHE + "/tree")


def _module_path(tree, name):
    wanted = name.replace("_", "[-_]")
    found = (glob.glob("%s/lib/modules/*/kernel/**/%s.ko*" % (tree, wanted), recursive=True)
             or glob.glob("%s/usr/lib/modules/*/kernel/**/%s.ko*" % (tree, wanted),
                          recursive=True))
    return found[0] if found else None  # none: it is built in


def _module_bytes(path):
    with open(path, "rb") as file:
        data = file.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def modules(tree):
    """[(name, bytes)] in the order in which they are loaded."""
    out, seen = [], set()

    def add(name):
        path = _module_path(tree, name)
        if name in seen or not path:
            return
        seen.add(name)
        data = _module_bytes(path)
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in filter(None, found.group(1).decode().split(",") if found else []):
            add(other)
        out.append((name, data))

    for name in MODULES:
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

    def add_file(self, path):
        with open(path, "rb") as file:
            self.add(path.lstrip("/"), file.read())

    def finish(self):
        self.add("TRAILER!!!", b"", 0)
        return gzip.compress(bytes(self.out), 1)


INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mkdir -p /proc /sys /dev /tmp /etc
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m.ko || echo "insmod $m failed"; done
ip link set lo up
sh /script
echo SCRIPT-ENDED
sync
poweroff -f
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


def initramfs(script):
    cpio = Cpio()
    busybox = shutil.which("busybox")
    with open(busybox, "rb") as file:
        cpio.add("bin/busybox", file.read())
    cpio.add("init", INIT.encode())
    cpio.add("dhcp", DHCP_SCRIPT.encode())
    cpio.add("script", script.encode())
    order = []
    for name, data in modules(kernel()):
        cpio.add("modules/%s.ko" % name, data)
        order.append(name)
    cpio.add("modules/order", " ".join(order).encode())
    iperf3 = shutil.which("iperf3")
    if iperf3:
        with open(iperf3, "rb") as file:
            cpio.add("bin/iperf3", file.read())
        for library in libraries(iperf3):
            cpio.add_file(library)
    return cpio.finish()


class Machine:
    """QEMU with a network given by its arguments; runs the script and ends."""

    def __init__(self, netns, script, network, seconds):
        need("qemu-system-x86_64", "busybox")
        image = os.path.join(scratch(), "initramfs")
        with open(image, "wb") as file:
            file.write(initramfs(script))
        self.process = Process(
            ["qemu-system-x86_64", "-M", "pc,accel=tcg", "-m", "512", "-smp", "1",
             "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel",
             glob.glob(kernel() + "/boot/vmlinuz-*")[0], "-initrd", image, "-append",
             "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0"] + network, netns)
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
