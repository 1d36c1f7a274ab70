# SPDX-License-Identifier: BSD-3-Clause
"""Runs the cases of a test file, one line each; bounded in time; cleans up."""

import contextlib
import functools
import os
import signal
import sys
import time
import traceback

CASES = []
CASE_SECONDS = 60
PATIENCE = 3  # with a machine that is slow or busy: limits are those of an idle one
SKIP_STATUS = 77


class Failure(Exception):
    """The program did not do what was expected."""


class Skip(Exception):
    """The case cannot run here."""


class TimedOut(Exception):
    """The case took longer than it may."""


def case(seconds=CASE_SECONDS, families=False, variants=None):
    """Marks a function as a case. With families it runs for 4 and for 6; with
    variants {suffix: argument} once for each."""
    if families:
        variants = {"ipv4": 4, "ipv6": 6}

    def mark(func):
        for suffix, value in (variants or {}).items():
            CASES.append(("%s_%s" % (func.__name__, suffix),
                          functools.partial(func, value), seconds))
        if not variants:
            CASES.append((func.__name__, func, seconds))
        return func

    return mark


def check(seen, expected, what):
    if seen != expected:
        raise Failure("%s: expected %s, saw %s" % (what, brief(expected), brief(seen)))


def check_that(truth, what):
    if not truth:
        raise Failure(what)


def brief(value):
    shown = repr(value)
    return shown if len(shown) < 200 else shown[:200] + "..."


def wait_for(condition, seconds, what, pause=0.005):
    """Waits until condition() holds; for state nobody announces."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("%s: not within %g s" % (what, seconds * PATIENCE))
        time.sleep(pause)


def within(seconds, func, what, tries=5):
    """func() says how long it took; one of some tries must be as fast, for it is
    the program that is measured and not the machine."""
    slow = []
    while len(slow) < tries:
        slow.append(func())
        if slow[-1] < seconds:
            return
    raise Failure("%s took %.1f ms, expected less than %g" % (
        what, min(slow) * 1e3, seconds * 1e3))


@functools.lru_cache(maxsize=None)
def program():
    """The path of the program under test; ends the file if there is none."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.environ.get("LWRELAY") or os.path.join(
        os.path.dirname(here), "build", "release", "lwrelay")
    if not os.access(path, os.X_OK):
        skip_file("no program at %s (set LWRELAY)" % path)
    return os.path.abspath(path)


def skip_file(reason):
    print("skip %s: %s" % (os.path.basename(sys.argv[0]), reason), flush=True)
    sys.exit(SKIP_STATUS)


def _alarm(_signo, _frame):
    raise TimedOut()


def _terminate(signo, _frame):
    sys.exit(128 + signo)


def _run(name, func, seconds):
    """Returns 'ok', 'FAIL' or 'skip' after printing the line."""
    start = time.monotonic()
    signal.alarm(seconds * PATIENCE)
    try:
        func()
        word, why = "ok", ""
    except Skip as skip:
        word, why = "skip", str(skip)
    except Failure as failure:
        word, why = "FAIL", str(failure)
    except TimedOut:
        word, why = "FAIL", "not finished within %d s at %s" % (seconds * PATIENCE, _where())
    except Exception as error:  # of the test itself, or of its environment
        word, why = "FAIL", "%s: %s at %s" % (type(error).__name__, error, _where())
    finally:
        signal.alarm(0)
    took = "  (%.1f s)" % (time.monotonic() - start)
    print(word, name + (": " + why if why else "") + took, flush=True)
    return word


def _where():
    trace = traceback.extract_tb(sys.exc_info()[2])
    return " < ".join("%s:%d" % (os.path.basename(f.filename), f.lineno)
                      for f in reversed(trace[-4:]))


def main():
    """Runs the cases whose names contain an argument, or all."""
    signal.signal(signal.SIGALRM, _alarm)
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, _terminate)
    wanted = sys.argv[1:]
    words = [_run(*c) for c in CASES
             if not wanted or any(w in c[0] for w in wanted)]
    if "FAIL" in words:
        sys.exit(1)
    if "ok" not in words:
        sys.exit(SKIP_STATUS)


@contextlib.contextmanager
def expecting(exception, what):
    """The block must raise the exception."""
    try:
        yield
    except exception:
        return
    raise Failure("%s: expected %s, saw none" % (what, exception.__name__))
