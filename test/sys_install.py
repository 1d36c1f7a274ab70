#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What `cmake --install` puts down: empty projects built against it in each way
that is offered, from a tree that was moved; what the libraries show; the header."""

import functools
import os
import re
import shlex

from lib.case import case, check, check_that, main, skip_file
from lib.world import Process, scratch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("LWR_BUILD")
                        or os.path.join(ROOT, "build", "release"))
EXAMPLES = ("namespace", "vmm")

# A program with symbols that lwIP and the library's inner parts have too.
PROGRAM = r"""
#include <lwrelay.h>
#include <stdio.h>
#include <string.h>

int tcp_input(void), pbuf_alloc(void), lwr__relay_init(void);

int tcp_input(void) { return 1; }
int pbuf_alloc(void) { return 2; }
int lwr__relay_init(void) { return 3; }

int main(void)
{
	struct lwr_relay_options options;
	struct lwr_relay *relay;
	uint32_t link;
	char spec[64];

	memset(&options, 0, sizeof(options));
	options.size = sizeof(options);
	if (lwr_relay_open(&options, &relay))
		return 1;
	snprintf(spec, sizeof(spec), "stream:link-%d.sock",
		 tcp_input() + pbuf_alloc() + lwr__relay_init());
	if (lwr_link_add(relay, spec, NULL, &link))
		return 2;
	lwr_relay_close(relay, NULL, NULL);
	printf("%s, link %u\n", lwr_version(), (unsigned)link);
	return 0;
}
"""

PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(user LANGUAGES C)
find_package(lwrelay %s REQUIRED %s)
add_executable(app app.c)
target_link_libraries(app PRIVATE lwrelay::%s)
"""


def sh(command, cwd=None, seconds=50, **env):
    """The standard output of a shell command that has to succeed."""
    process = Process(["sh", "-c", command], cwd=cwd, env=dict(os.environ, **env))
    status = process.wait(seconds)
    check_that(status == 0, "%s: status %s: %s" % (
        command, status, (process.out() + process.err()).strip()[-1500:]))
    return process.out()


@functools.lru_cache(maxsize=None)
def prefix():
    """An installed tree, not where it was installed to."""
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        skip_file("no build directory at %s (set LWR_BUILD)" % BUILD)
    top = scratch()
    sh("cmake --install %s --prefix %s/first" % (shlex.quote(BUILD), top))
    os.mkdir(top + "/a place")
    os.rename(top + "/first", top + "/a place/moved")
    return top + "/a place/moved"


@functools.lru_cache(maxsize=None)
def libdir():
    for folder, _, files in os.walk(prefix()):
        if "liblwrelay.a" in files:
            return folder
    return prefix() + "/lib"


@functools.lru_cache(maxsize=None)
def version():
    text = open(os.path.join(ROOT, "CMakeLists.txt")).read()
    return re.search(r"VERSION (\d+\.\d+\.\d+) LANGUAGES", text).group(1)


def header():
    return open(prefix() + "/include/lwrelay.h").read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def pkg_config(*args):
    return sh("pkg-config %s lwrelay" % " ".join(args),
              PKG_CONFIG_PATH=libdir() + "/pkgconfig").strip()


def run_app(folder, linked):
    """Runs the program, and looks whether it has the library inside."""
    needed = sh("readelf -d app", folder)
    check("liblwrelay.so.0" in needed, linked == "shared", "needs the shared library")
    out = sh("./app", folder, LD_LIBRARY_PATH=libdir() if linked == "shared" else "")
    check(out, "%s, link 1\n" % version(), "the program's output")


# --- empty projects ------------------------------------------------------------


def build_with_pkg_config(compiler, flags, linked, name="app.c"):
    folder = scratch()
    write(folder + "/" + name, PROGRAM)
    sh("%s -Wall -Wextra -Werror -o app %s %s -pthread" % (compiler, name, flags), folder)
    run_app(folder, linked)


@case()
def project_with_pkg_config_shared():
    build_with_pkg_config("cc", pkg_config("--cflags", "--libs"), "shared")


@case()
def project_with_pkg_config_static():
    flags = pkg_config("--static", "--cflags", "--libs")
    build_with_pkg_config("cc", flags.replace("-llwrelay", "-l:liblwrelay.a"), "static")


@case()
def project_in_cxx_with_pkg_config():
    build_with_pkg_config("c++ -std=c++17", pkg_config("--cflags", "--libs"), "shared",
                          "app.cc")


def build_with_cmake(components, target, linked):
    folder = scratch()
    write(folder + "/app.c", PROGRAM)
    write(folder + "/CMakeLists.txt", PROJECT % (version(), components, target))
    sh("cmake -S . -B . -G Ninja -DCMAKE_PREFIX_PATH='%s' && cmake --build ." % prefix(),
       folder)
    run_app(folder, linked)


@case()
def project_with_cmake_shared():
    build_with_cmake("", "lwrelay", "shared")


@case()
def project_with_cmake_static():
    build_with_cmake("COMPONENTS static", "static", "static")


@case()
def project_for_a_later_version_finds_none():
    folder = scratch()
    write(folder + "/CMakeLists.txt", PROJECT % ("0.999", "", "lwrelay"))
    out = sh("! cmake -S . -B . -G Ninja -DCMAKE_PREFIX_PATH='%s' 2>&1" % prefix(), folder)
    check_that("compatible with requested version" in out, "cmake says why: " + out)


# --- libraries -----------------------------------------------------------------


def declared():
    """The functions of the header, without its comments."""
    text = re.sub(r"/\*.*?\*/", "", header(), flags=re.S)
    names = re.findall(r"^LWR_API\s[^;(]*?(\w+)\(", text, re.M)
    check(len(names), len(re.findall(r"^LWR_API", text, re.M)), "functions seen")
    return sorted(names)


def defined(command):
    """Global symbols that a library defines, without versions."""
    lines = [line.split() for line in sh(command).splitlines()]
    return sorted(words[2].split("@")[0] for words in lines
                  if len(words) == 3 and words[1] != "A")


@case()
def shared_library_shows_the_header_and_nothing_else():
    check(defined("nm -D --defined-only '%s/liblwrelay.so'" % libdir()), declared(),
          "dynamic symbols")


@case()
def static_library_shows_the_header_and_nothing_else():
    check(defined("nm -g --defined-only '%s/liblwrelay.a'" % libdir()), declared(),
          "global symbols")


@case()
def soname_has_the_version_of_the_interface():
    out = sh("readelf -d '%s/liblwrelay.so'" % libdir())
    check(re.findall(r"SONAME.*\[(.*)\]", out), ["liblwrelay.so.0"], "soname")
    check(os.path.realpath(libdir() + "/liblwrelay.so"),
          os.path.realpath(libdir()) + "/liblwrelay.so." + version(), "file")
    check_that("libuv.so.1" in out, "it names libuv itself")


# --- the header and the rest ---------------------------------------------------


@case()
def header_is_at_most_400_lines():
    check_that(header().count("\n") <= 400, "%d lines" % header().count("\n"))


@case(variants={"c11": ("cc", "c11"), "cxx17": ("c++", "c++17")})
def header_compiles_alone_in(language):
    compiler, standard = language
    suffix = ".cc" if compiler == "c++" else ".c"
    folder = scratch()
    write(folder + "/only" + suffix, "#include <lwrelay.h>\nint it_is_not_empty;\n")
    sh("%s -std=%s -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror "
       "-fsyntax-only -I '%s/include' only%s" % (compiler, standard, prefix(), suffix),
       folder)


@case()
def man_page_has_every_function():
    text = open(prefix() + "/share/man/man3/lwrelay.3").read()
    synopsis = text[text.index(".SH SYNOPSIS"):text.index(".SH DESCRIPTION")]
    check(sorted(re.findall(r"\b(lwr_\w+)\(", synopsis)), declared(), "functions")


@case()
def program_pages_and_licences_are_there():
    for path in ("bin/lwrelay", "share/man/man1/lwrelay.1", "share/man/man3/lwrelay.3",
                 "share/doc/lwrelay/library.md", "share/doc/lwrelay/LICENSE",
                 "share/doc/lwrelay/LICENSE.lwip"):
        check_that(os.path.isfile(os.path.join(prefix(), path)), path)
    check(sh("'%s/bin/lwrelay' --version" % prefix()).split(), ["lwrelay", version()],
          "the program's version")


@case()
def examples_are_there_and_compile_as_they_are():
    folder = os.path.join(prefix(), "share/doc/lwrelay/examples")
    for name in EXAMPLES:
        source = "'%s/%s.c'" % (folder, name)
        lines = open(source.strip("'")).read().count("\n")
        check_that(lines < 150, "%s has %d lines" % (name, lines))
        sh("cc -std=c11 -Wall -Wextra -Werror -o app %s %s" % (
            source, pkg_config("--cflags", "--libs")), scratch())


if __name__ == "__main__":
    main()
