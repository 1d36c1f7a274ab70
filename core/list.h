/* SPDX-License-Identifier: BSD-3-Clause */
/* Intrusive doubly linked list; a node not on a list points to itself. */
#ifndef LWR_CORE_LIST_H
#define LWR_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct lwr_list {
	struct lwr_list *next;
	struct lwr_list *prev;
};

#define LWR_CONTAINER(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void lwr__list_init(struct lwr_list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool lwr__list_empty(const struct lwr_list *l)
{
	return l->next == l;
}

/* Appends n, which must be on no list. */
static inline void lwr__list_append(struct lwr_list *l, struct lwr_list *n)
{
	n->prev = l->prev;
	n->next = l;
	l->prev->next = n;
	l->prev = n;
}

/* Takes n off whichever list it is on, if any. */
static inline void lwr__list_remove(struct lwr_list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	lwr__list_init(n);
}

/* Takes the first node off; NULL when the list is empty. */
static inline struct lwr_list *lwr__list_take(struct lwr_list *l)
{
	struct lwr_list *n = l->next;

	if (n == l)
		return NULL;
	lwr__list_remove(n);
	return n;
}

/* Moves all of `from` to the empty head `to`. */
static inline void lwr__list_move(struct lwr_list *from, struct lwr_list *to)
{
	lwr__list_init(to);
	if (lwr__list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	lwr__list_init(from);
}

#endif
