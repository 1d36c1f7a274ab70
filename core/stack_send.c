/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames for the guest, from lwIP and from the relay's services. Headers are
 * put in front of the payload in its own pbuf; the frame goes to the link's
 * ring with a note of what the link has still to do: the transport checksum
 * (its field holds the pseudo-header's sum meanwhile) and segmentation.
 *
 * Packets of the services over the link's MTU are fragmented (RFC 791 3.2,
 * RFC 8200 4.5).
 */
#include "core/csum.h"
#include "core/stack.h"
#include "core/stack_priv.h"

#include "lwip/pbuf.h"

#include <errno.h>
#include <string.h>

enum {
	IP4_HLEN = 20,
	IP6_HLEN = 40,
	FRAG6_HLEN = 8,
	UDP_HLEN = 8,
	TCP_CSUM = 16, /* offset in the TCP header */
	TTL = 64,
};

/* Puts the Ethernet header in front; false: no room for it. */
static bool add_eth(struct lwr_link *link, struct pbuf *p, uint16_t ethertype,
		    const uint8_t dst[6])
{
	struct lwr_cursor c;

	if (pbuf_add_header(p, LWR_ETH_HLEN))
		return false;
	c = lwr__cursor(p->payload, LWR_ETH_HLEN);
	lwr__cursor_put_bytes(&c, dst, 6);
	lwr__cursor_put_bytes(&c, link->net->gateway_mac, 6);
	lwr__cursor_put_u16(&c, ethertype);
	return true;
}

static void addr_at(struct lwr_addr *a, const uint8_t *ip, bool four, bool dst)
{
	*a = four ? lwr__addr_from4(ip + (dst ? 16 : 12)) :
		    lwr__addr_from16(ip + (dst ? 24 : 8));
}

/* Describes a TCP frame that starts at its Ethernet header. */
static void describe_tcp(struct lwr_frame *f, const struct lwr_conn *c,
			 bool four)
{
	uint8_t *frame = f->p->payload;
	uint8_t *ip = frame + LWR_ETH_HLEN;
	uint8_t *th = ip + (four ? IP4_HLEN : IP6_HLEN);
	struct lwr_addr src, dst;
	uint32_t payload, len;
	uint16_t sum;

	f->l4_off = (uint16_t)(th - frame);
	f->hdr_len = (uint16_t)(f->l4_off + (th[12] >> 4) * 4);
	payload = f->p->tot_len - f->hdr_len;
	if (c && payload > c->gso_size) {
		f->gso = four ? LWR_GSO_TCP4 : LWR_GSO_TCP6;
		f->gso_size = c->gso_size;
	}
	addr_at(&src, ip, four, false);
	addr_at(&dst, ip, four, true);
	len = f->p->tot_len - f->l4_off;
	sum = lwr__csum_fold(lwr__csum_pseudo(&src, &dst, LWR_PROTO_TCP, len));
	memcpy(th + TCP_CSUM, &sum, 2);
	f->needs_csum = 1;
}

static void block(struct lwr_link *link, struct lwr_conn *c)
{
	if (!c)
		link->stats.drop_ring_full++;
	else if (lwr__list_empty(&c->on_blocked))
		lwr__list_append(&link->blocked, &c->on_blocked);
}

/* Of a packet that starts at its IP header. */
static const uint8_t *mac_of_packet(const struct lwr_link *link,
				    const struct pbuf *p, bool four)
{
	struct lwr_addr dst;

	if (!link->neighbours.many)
		return link->neighbours.mac;
	addr_at(&dst, p->payload, four, true);
	return lwr__neighbours_find(&link->neighbours, link->net, &dst);
}

err_t lwr__send_tcp(struct lwr_link *link, struct lwr_conn *c, struct pbuf *p,
		    uint16_t ethertype)
{
	bool four = ethertype == LWR_ETHERTYPE_IP4;
	struct lwr_frame f = { .p = p };

	if (lwr__ring_room(&link->h2g) == 0) {
		block(link, c);
		return ERR_MEM;
	}
	if (!add_eth(link, p, ethertype, mac_of_packet(link, p, four)))
		return ERR_BUF;
	describe_tcp(&f, c, four);
	(void)lwr__stack_push(link, &f); /* fails only when the link is down */
	return ERR_OK;
}

struct pbuf *lwr__send_alloc(size_t len)
{
	return pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
}

void lwr__send_eth(struct lwr_link *link, struct pbuf *p, uint16_t ethertype,
		   const uint8_t dst[6])
{
	struct lwr_frame f = { .p = p };

	if (!add_eth(link, p, ethertype, dst) || lwr__stack_push(link, &f) < 0)
		link->stats.drop_ring_full++;
	pbuf_free(p);
}

/* Destination hardware address of an IP destination. */
static void mac_of(const struct lwr_link *link, const struct lwr_addr *dst,
		   uint8_t mac[6])
{
	if (!lwr__addr_is_multicast(dst)) {
		memcpy(mac,
		       lwr__neighbours_find(&link->neighbours, link->net, dst),
		       6);
		return;
	}
	memset(mac, 0xff, 6);
	if (lwr__addr_is4(dst))
		return;
	memset(mac, 0x33, 2); /* RFC 2464 7 */
	memcpy(mac + 2, dst->b + 12, 4);
}

struct ip_packet {
	const struct lwr_addr *src;
	const struct lwr_addr *dst;
	uint8_t proto;
	uint8_t ttl;
	uint32_t id;
	uint16_t offset; /* of this fragment, in bytes */
	bool more;
	bool fragment;
};

static bool add_ip4(struct pbuf *p, const struct ip_packet *ip)
{
	enum { VERSION_IHL = 0x45, MORE = 0x2000 };
	uint16_t len = (uint16_t)(p->tot_len + IP4_HLEN);
	struct lwr_cursor c;
	uint16_t sum;

	if (pbuf_add_header(p, IP4_HLEN))
		return false;
	c = lwr__cursor(p->payload, IP4_HLEN);
	lwr__cursor_put_u8(&c, VERSION_IHL);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, len);
	lwr__cursor_put_u16(&c, (uint16_t)ip->id);
	lwr__cursor_put_u16(&c, (uint16_t)((ip->more ? MORE : 0) |
					   (ip->offset >> 3)));
	lwr__cursor_put_u8(&c, ip->ttl);
	lwr__cursor_put_u8(&c, ip->proto);
	lwr__cursor_put_u16(&c, 0);
	lwr__cursor_put_bytes(&c, ip->src->b + 12, 4);
	lwr__cursor_put_bytes(&c, ip->dst->b + 12, 4);
	sum = lwr__csum(0, p->payload, IP4_HLEN);
	memcpy((uint8_t *)p->payload + 10, &sum, 2);
	return true;
}

static bool add_frag6(struct pbuf *p, const struct ip_packet *ip)
{
	struct lwr_cursor c;

	if (pbuf_add_header(p, FRAG6_HLEN))
		return false;
	c = lwr__cursor(p->payload, FRAG6_HLEN);
	lwr__cursor_put_u8(&c, ip->proto);
	lwr__cursor_put_u8(&c, 0);
	lwr__cursor_put_u16(&c, (uint16_t)(ip->offset | (ip->more ? 1 : 0)));
	lwr__cursor_put_u32(&c, ip->id);
	return true;
}

static bool add_ip6(struct pbuf *p, const struct ip_packet *ip)
{
	enum { FRAGMENT = 44 };
	uint16_t len;
	struct lwr_cursor c;

	if (ip->fragment && !add_frag6(p, ip))
		return false;
	len = p->tot_len;
	if (pbuf_add_header(p, IP6_HLEN))
		return false;
	c = lwr__cursor(p->payload, IP6_HLEN);
	lwr__cursor_put_u32(&c, 6u << 28);
	lwr__cursor_put_u16(&c, len);
	lwr__cursor_put_u8(&c, ip->fragment ? FRAGMENT : ip->proto);
	lwr__cursor_put_u8(&c, ip->ttl);
	lwr__cursor_put_bytes(&c, ip->src->b, 16);
	lwr__cursor_put_bytes(&c, ip->dst->b, 16);
	return true;
}

/* Sends one IP packet with `f` describing what is left to do; takes f->p. */
static void send_packet(struct lwr_link *link, struct lwr_frame *f,
			const struct ip_packet *ip)
{
	bool four = lwr__addr_is4(ip->dst);
	uint8_t mac[6];
	bool ok;

	mac_of(link, ip->dst, mac);
	ok = four ? add_ip4(f->p, ip) : add_ip6(f->p, ip);
	ok = ok && add_eth(link, f->p,
			   four ? LWR_ETHERTYPE_IP4 : LWR_ETHERTYPE_IP6, mac);
	if (!ok || lwr__stack_push(link, f) < 0)
		link->stats.drop_ring_full++;
	pbuf_free(f->p);
}

/* A copy of p's bytes [off, off + len), with room for headers. */
static struct pbuf *slice(const struct pbuf *p, uint16_t off, uint16_t len)
{
	struct pbuf *q = pbuf_alloc(PBUF_TRANSPORT, len, PBUF_RAM);

	if (q && pbuf_copy_partial(p, q->payload, len, off) != len) {
		pbuf_free(q);
		return NULL;
	}
	return q;
}

static void send_fragments(struct lwr_link *link, struct pbuf *p,
			   struct ip_packet *ip, uint16_t room)
{
	uint16_t len, left = p->tot_len;
	struct lwr_frame f = { 0 };

	room = (uint16_t)(room & ~7);
	ip->fragment = true;
	while (left > 0) {
		len = left < room ? left : room;
		ip->more = len < left;
		f.p = slice(p, ip->offset, len);
		if (!f.p) {
			link->stats.drop_memory++;
			break;
		}
		send_packet(link, &f, ip);
		ip->offset = (uint16_t)(ip->offset + len);
		left = (uint16_t)(left - len);
	}
	pbuf_free(p);
}

void lwr__send_ip(struct lwr_link *link, struct pbuf *p,
		  const struct lwr_addr *src, const struct lwr_addr *dst,
		  uint8_t proto, uint8_t ttl)
{
	uint16_t hlen = lwr__addr_is4(dst) ? IP4_HLEN : IP6_HLEN;
	struct ip_packet ip = { .src = src,
				.dst = dst,
				.proto = proto,
				.ttl = ttl,
				.id = link->next_ip_id++ };
	struct lwr_frame f = { .p = p };

	if (p->tot_len + hlen <= link->caps.mtu)
		send_packet(link, &f, &ip);
	else if (hlen == IP4_HLEN)
		send_fragments(link, p, &ip, link->caps.mtu - IP4_HLEN);
	else
		send_fragments(link, p, &ip,
			       link->caps.mtu - IP6_HLEN - FRAG6_HLEN);
}

/* ---- UDP ----------------------------------------------------------------------- */

struct udp_ends {
	const struct lwr_addr *src;
	const struct lwr_addr *dst;
	uint16_t sport;
	uint16_t dport;
};

/* Puts the UDP header in front, with a full or a pseudo-header checksum. */
static bool add_udp(struct pbuf *p, const struct udp_ends *e, bool full)
{
	uint16_t sum, len = (uint16_t)(p->tot_len + UDP_HLEN);
	struct lwr_cursor c;
	uint64_t pseudo;

	if (pbuf_add_header(p, UDP_HLEN))
		return false;
	c = lwr__cursor(p->payload, UDP_HLEN);
	lwr__cursor_put_u16(&c, e->sport);
	lwr__cursor_put_u16(&c, e->dport);
	lwr__cursor_put_u16(&c, len);
	lwr__cursor_put_u16(&c, 0);
	pseudo = lwr__csum_pseudo(e->src, e->dst, LWR_PROTO_UDP, len);
	if (full) {
		sum = lwr__csum(pseudo, p->payload, len);
		sum = sum ? sum : 0xffff; /* RFC 768 */
	} else {
		sum = lwr__csum_fold(pseudo);
	}
	memcpy((uint8_t *)p->payload + 6, &sum, 2);
	return true;
}

/* One frame of several datagrams; the link cuts it. Takes p. */
static void send_uso(struct lwr_link *link, struct pbuf *p, uint16_t seg,
		     const struct udp_ends *e)
{
	uint16_t ip_hlen = lwr__addr_is4(e->dst) ? IP4_HLEN : IP6_HLEN;
	struct ip_packet ip = {
		.src = e->src, .dst = e->dst, .proto = LWR_PROTO_UDP, .ttl = TTL
	};
	struct lwr_frame f = {
		.p = p, .gso = LWR_GSO_UDP, .gso_size = seg, .needs_csum = 1
	};

	f.l4_off = (uint16_t)(LWR_ETH_HLEN + ip_hlen);
	f.hdr_len = (uint16_t)(f.l4_off + UDP_HLEN);
	if (!add_udp(p, e, false)) {
		pbuf_free(p);
		return;
	}
	send_packet(link, &f, &ip);
}

static void send_datagram(struct lwr_link *link, struct pbuf *p,
			  const struct udp_ends *e)
{
	if (!add_udp(p, e, true)) {
		pbuf_free(p);
		return;
	}
	lwr__send_ip(link, p, e->src, e->dst, LWR_PROTO_UDP, TTL);
}

void lwr__send_udp(struct lwr_link *link, struct pbuf *p, uint16_t seg,
		   const struct lwr_addr *src, uint16_t sport,
		   const struct lwr_addr *dst, uint16_t dport)
{
	struct udp_ends e = { src, dst, sport, dport };
	uint16_t ip_hlen = lwr__addr_is4(dst) ? IP4_HLEN : IP6_HLEN;
	uint16_t off, len;
	struct pbuf *q;

	if (seg == 0 || seg >= p->tot_len) {
		send_datagram(link, p, &e);
		return;
	}
	if (link->caps.uso_h2g && seg + ip_hlen + UDP_HLEN <= link->caps.mtu) {
		send_uso(link, p, seg, &e);
		return;
	}
	for (off = 0; off < p->tot_len; off = (uint16_t)(off + len)) {
		len = (uint16_t)(p->tot_len - off);
		len = len < seg ? len : seg;
		q = slice(p, off, len);
		if (!q)
			break;
		send_datagram(link, q, &e);
	}
	pbuf_free(p);
}
