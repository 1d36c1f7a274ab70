/* SPDX-License-Identifier: BSD-3-Clause */
/* DHCPv4 messages (RFC 2131, RFC 2132): between relay/dhcp*.c. */
#ifndef LWR_RELAY_DHCP_H
#define LWR_RELAY_DHCP_H

#include "core/pkt.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LWR_DHCP_MAGIC = 0x63825363,
	LWR_DHCP_SNAME_LEN = 64,
	LWR_DHCP_FILE_LEN = 128,
	LWR_DHCP_VEND_LEN = 64, /* options of BOOTP, the magic number too */
	LWR_DHCP_FIXED_LEN = 240, /* up to and with the magic number */
	LWR_DHCP_REPLY_MAX = 1472,
	LWR_DHCP_NAME_MAX = 63,
	LWR_DHCP_LEASE_S = 24 * 3600,
};

enum {
	LWR_DHCP_MSG_DISCOVER = 1,
	LWR_DHCP_MSG_OFFER,
	LWR_DHCP_MSG_REQUEST,
	LWR_DHCP_MSG_DECLINE,
	LWR_DHCP_MSG_ACK,
	LWR_DHCP_MSG_NAK,
	LWR_DHCP_MSG_RELEASE,
	LWR_DHCP_MSG_INFORM,
};

enum {
	LWR_DHCP_OPT_PAD = 0,
	LWR_DHCP_OPT_MASK = 1,
	LWR_DHCP_OPT_ROUTER = 3,
	LWR_DHCP_OPT_DNS = 6,
	LWR_DHCP_OPT_NAME = 12,
	LWR_DHCP_OPT_DOMAIN = 15,
	LWR_DHCP_OPT_MTU = 26,
	LWR_DHCP_OPT_BROADCAST = 28,
	LWR_DHCP_OPT_REQUESTED = 50,
	LWR_DHCP_OPT_LEASE = 51,
	LWR_DHCP_OPT_OVERLOAD = 52,
	LWR_DHCP_OPT_TYPE = 53,
	LWR_DHCP_OPT_SERVER = 54,
	LWR_DHCP_OPT_LIST = 55,
	LWR_DHCP_OPT_MESSAGE = 56,
	LWR_DHCP_OPT_SIZE = 57,
	LWR_DHCP_OPT_RENEW = 58,
	LWR_DHCP_OPT_REBIND = 59,
	LWR_DHCP_OPT_CLIENT_ID = 61,
	LWR_DHCP_OPT_RAPID = 80,
	LWR_DHCP_OPT_FQDN = 81,
	LWR_DHCP_OPT_SEARCH = 119,
	LWR_DHCP_OPT_ROUTES = 121,
	LWR_DHCP_OPT_MS_ROUTES = 249, /* the same to old Windows */
	LWR_DHCP_OPT_END = 255,
};

/* What a client says; addresses in host order, 0 where it does not say. */
struct lwr_dhcp_request {
	uint32_t xid;
	uint16_t flags;
	uint32_t ciaddr;
	uint8_t chaddr[16];
	bool bootp; /* there is no option 53 */
	uint8_t type; /* option 53 */
	uint32_t requested;
	uint32_t server;
	uint16_t size; /* largest IP packet it takes; 0: not said */
	bool rapid;
	uint8_t overload;
	uint8_t list_len;
	uint8_t list[255];
	uint8_t id_len;
	uint8_t id[255];
	uint8_t name_len; /* host name; 0: none, or no valid one */
	char name[LWR_DHCP_NAME_MAX];
	bool fqdn; /* option 81 was there */
	uint8_t fqdn_flags;
	uint8_t fqdn_len; /* of its name */
	uint8_t fqdn_name[255];
};

/* Parses the UDP payload of a packet to port 67. False: not a valid request. */
bool lwr__dhcp_parse(const struct lwr_pkt *pkt, struct lwr_dhcp_request *r);

struct lwr_dns;
struct lwr_link;

/* What is answered. */
struct lwr_dhcp_answer {
	uint8_t type; /* 0: nothing */
	bool rapid;
	uint32_t yiaddr; /* the address offered or granted; 0: none */
};

/*
 * Writes the whole message, of at most LWR_DHCP_REPLY_MAX bytes. Returns its
 * length.
 */
size_t lwr__dhcp_reply(uint8_t *msg, const struct lwr_link *link,
		       const struct lwr_dns *dns,
		       const struct lwr_dhcp_request *q,
		       const struct lwr_dhcp_answer *a);

#endif
