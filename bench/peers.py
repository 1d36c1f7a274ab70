# SPDX-License-Identifier: BSD-3-Clause
"""Finds the relays to compare with; builds the newest passt that can be had.

Debian 12's passt is two years behind, so the source package of suite trixie
is fetched through an apt source list of its own, made from the machine's own
mirror configuration, and built with make into the build's cache.
"""
import glob
import os
import re
import shutil
import subprocess

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror():
    """The URI of the Debian archive that this machine uses, or None."""
    paths = glob.glob("/etc/apt/sources.list.d/*.sources")
    paths += glob.glob("/etc/apt/sources.list.d/*.list")
    for path in paths + ["/etc/apt/sources.list"]:
        try:
            text = open(path).read()
        except OSError:
            continue
        for uri in re.findall(r"^(?:URIs:|deb )[^#\n]*?(\w+://\S+)", text,
                              re.MULTILINE):
            if re.search(r"/debian/*$", uri):
                return uri
    return None


def apt_options(root, uri):
    os.makedirs(f"{root}/apt/lists/partial", exist_ok=True)
    os.makedirs(f"{root}/apt/cache/archives/partial", exist_ok=True)
    with open(f"{root}/apt/sources.list", "w") as f:
        f.write(f"deb-src [signed-by={KEYRING}] {uri} {SUITE} main\n")
    return ["-o", f"Dir::Etc::sourcelist={root}/apt/sources.list",
            "-o", "Dir::Etc::sourceparts=-",
            "-o", f"Dir::State::lists={root}/apt/lists",
            "-o", f"Dir::Cache={root}/apt/cache",
            "-o", "APT::Sandbox::User=root"]


def download(root):
    """Leaves passt_*.orig.tar.* in root."""
    uri = mirror()
    if not uri:
        raise RuntimeError("no Debian mirror in apt's configuration")
    options = apt_options(root, uri)
    for words in (["update", "-qq"],
                  ["source", "-qq", "--download-only", "--tar-only", "passt"]):
        subprocess.run(["apt-get", *options, *words], cwd=root, check=True,
                       timeout=300, stdout=subprocess.DEVNULL)


def build(root):
    """Returns the folder with pasta and passt, built once."""
    done = glob.glob(f"{root}/passt-*/pasta")
    if done:
        return os.path.dirname(done[0])
    os.makedirs(root, exist_ok=True)
    if not glob.glob(f"{root}/passt_*.orig.tar.*"):
        download(root)
    tar = glob.glob(f"{root}/passt_*.orig.tar.*")[0]
    subprocess.run(["tar", "-xf", tar], cwd=root, check=True, timeout=60)
    folder = glob.glob(f"{root}/passt-*/")[0].rstrip("/")
    version = os.path.basename(folder)[len("passt-"):]
    subprocess.run(["make", "-s", "-j2", f"VERSION={version}"], cwd=folder,
                   check=True, timeout=600, stdout=subprocess.DEVNULL)
    return folder


def find(cache, newest=True):
    """{'pasta': path, 'passt': path, 'slirp4netns': path}, None if absent."""
    found = {n: shutil.which(n) for n in ("pasta", "passt", "slirp4netns")}
    if not newest:
        return found
    try:
        folder = build(os.path.abspath(cache))
        found.update(pasta=f"{folder}/pasta", passt=f"{folder}/passt")
    except (OSError, RuntimeError, IndexError, subprocess.SubprocessError) \
            as e:
        print(f"bench: newest passt not built ({e}); the installed one it is")
    return found


def version(path):
    """What a program says it is; passt's folder or package where it does not.

    (passt 2025-05 prints nothing when its output is not a terminal.)
    """
    if not path:
        return None
    r = subprocess.run([path, "--version"], capture_output=True, text=True,
                       timeout=10)
    words = r.stdout.split("\n")[0].split()
    if words and "unknown" not in words:
        return " ".join(w for w in words if w != "version")
    name = os.path.basename(path)
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    if folder.startswith("passt-"):
        return name + " " + folder[len("passt-"):]
    r = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "passt"],
                       capture_output=True, text=True)
    return f"{name} {r.stdout}" if r.returncode == 0 else name
