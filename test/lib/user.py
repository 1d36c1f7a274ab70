# SPDX-License-Identifier: BSD-3-Clause
"""Commands as root and as an ordinary user."""

import os
import stat

from .case import Skip

NOBODY = 65534
USERS = {"root": 0, "user": NOBODY}

# A /dev/net/tun that everybody may open, as on a usual machine, but only here.
OPEN_TUN = ["unshare", "--mount", "sh", "-c",
            "mount -t tmpfs -o mode=755 none /dev/net && "
            'mknod -m 666 /dev/net/tun c 10 200 && exec "$@"', "sh"]
AS_NOBODY = ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"]


def tun_is_open():
    try:
        return stat.S_IMODE(os.stat("/dev/net/tun").st_mode) & 0o006 == 0o006
    except OSError:
        return False


def as_user(uid):
    """What to put before a command to run it as the user."""
    if uid == 0:
        return []
    if os.environ.get("LWR_TEST_INNER"):
        raise Skip("only root can become another user")
    return ([] if tun_is_open() else OPEN_TUN) + AS_NOBODY
