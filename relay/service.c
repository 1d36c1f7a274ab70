/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/service.h"

#include "platform/unix.h"
#include "relay/options_link.h"

#include <errno.h>
#include <string.h>

int lwr__service_parse(struct lwr_service *s, const char *text)
{
	static const char unix_[] = "=unix:";
	const char *end;
	uint64_t port;

	if (lwr__digits_parse(text, &port, &end) < 0 || port == 0 ||
	    port > UINT16_MAX || strncmp(end, unix_, strlen(unix_)) != 0)
		return -EINVAL;
	s->port = (uint16_t)port;
	s->path = end + strlen(unix_);
	return *s->path && strlen(s->path) <= LWR_UNIX_PATH_MAX ? 0 : -EINVAL;
}

const char *lwr__service_find(const struct lwr_service *list,
			      const struct lwr_net *net,
			      const struct lwr_dest *guest)
{
	if (!list || !lwr__policy_is_gateway(net, &guest->addr))
		return NULL;
	for (; list->port; list++)
		if (list->port == guest->port)
			return list->path;
	return NULL;
}
