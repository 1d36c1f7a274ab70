/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static char path[96];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lwr-unix-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static int exists(void)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Binds path with a socket of `type`; returns it. */
static int bound(int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	memcpy(sa.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void unix_listens_and_removes_its_file(void **state)
{
	struct lwr_unix u;
	int fd;

	(void)state;
	assert_int_equal(lwr__unix_open(&u, path, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&u.addr, sizeof(u.addr)), 0);
	close(fd);
	lwr__unix_close(&u);
	assert_false(exists());
}

static void unix_replaces_a_stale_socket(void **state)
{
	static const int type[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct lwr_unix u;

	(void)state;
	for (int i = 0; i < 3; i++) {
		close(bound(type[i]));
		assert_true(exists());
		assert_int_equal(
			lwr__unix_open(&u, path, SOCK_STREAM, LWR_UNIX_ALL), 0);
		lwr__unix_close(&u);
		assert_false(exists());
	}
}

static void unix_leaves_a_live_owner_alone(void **state)
{
	static const int type[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct lwr_unix u;

	(void)state;
	for (int i = 0; i < 3; i++) {
		int fd = bound(type[i]);

		assert_int_equal(lwr__unix_open(&u, path, SOCK_STREAM,
						LWR_UNIX_ALL),
				 -EADDRINUSE);
		assert_true(exists());
		close(fd);
		unlink(path);
	}
}

static void unix_live_owner_does_not_notice(void **state)
{
	struct lwr_unix a, b;

	(void)state;
	assert_int_equal(lwr__unix_open(&a, path, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	assert_int_equal(lwr__unix_open(&b, path, SOCK_STREAM, LWR_UNIX_ALL),
			 -EADDRINUSE);
	assert_int_equal(accept(a.fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	lwr__unix_close(&a);
}

static void unix_keeps_a_file_that_is_no_socket(void **state)
{
	struct lwr_unix u;

	(void)state;
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(lwr__unix_open(&u, path, SOCK_STREAM, LWR_UNIX_ALL),
			 -EEXIST);
	assert_true(exists());
	unlink(path);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(lwr__unix_open(&u, path, SOCK_STREAM, LWR_UNIX_ALL),
			 -EEXIST);
	assert_true(exists());
}

static void unix_path_limits(void **state)
{
	struct lwr_unix u;
	char longest[110];

	(void)state;
	assert_int_equal(lwr__unix_open(&u, "", SOCK_STREAM, LWR_UNIX_ALL),
			 -EINVAL);
	assert_int_equal(lwr__unix_open(&u, "/nonexistent/s", SOCK_STREAM,
					LWR_UNIX_ALL),
			 -ENOENT);
	memset(longest, 0, sizeof(longest));
	memset(longest, 'x', 108);
	assert_int_equal(lwr__unix_open(&u, longest, SOCK_STREAM, LWR_UNIX_ALL),
			 -ENAMETOOLONG);
	memcpy(longest, dir, strlen(dir));
	longest[strlen(dir)] = '/';
	longest[107] = '\0';
	assert_int_equal(lwr__unix_open(&u, longest, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	lwr__unix_close(&u);
	assert_int_not_equal(access(longest, F_OK), 0);
}

static void unix_close_keeps_what_replaced_its_file(void **state)
{
	struct lwr_unix u;
	char moved[128];

	(void)state;
	assert_int_equal(lwr__unix_open(&u, path, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	/* Not removed, or its inode number might be used again. */
	snprintf(moved, sizeof(moved), "%s.moved", path);
	assert_int_equal(rename(path, moved), 0);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	lwr__unix_close(&u);
	assert_true(exists());
	unlink(moved);
}

static void unix_abstract_names_need_no_file(void **state)
{
	struct lwr_unix a, b;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@lwr-test-%d", getpid());
	assert_int_equal(lwr__unix_open(&a, name, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	assert_int_equal(lwr__unix_open(&b, name, SOCK_STREAM, LWR_UNIX_ALL),
			 -EADDRINUSE);
	lwr__unix_close(&a);
	assert_int_equal(lwr__unix_open(&b, name, SOCK_STREAM, LWR_UNIX_ALL),
			 0);
	lwr__unix_close(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unix_listens_and_removes_its_file),
		TEST(unix_replaces_a_stale_socket),
		TEST(unix_leaves_a_live_owner_alone),
		TEST(unix_live_owner_does_not_notice),
		TEST(unix_keeps_a_file_that_is_no_socket),
		TEST(unix_path_limits),
		TEST(unix_close_keeps_what_replaced_its_file),
		TEST(unix_abstract_names_need_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
