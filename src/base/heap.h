#pragma once
/* An intrusive binary min-heap: the element carries its node, so removing and re-keying need no search. */

#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;
	size_t place; /* private: index + 1, 0 = not in a heap */
};

struct heap {
	struct heap_node **nodes;
	size_t count, room;
};

/* Put `node` in with `key`, or move it when it is already there. */
void heap_set(struct heap *heap, struct heap_node *node, int64_t key);

/* Take `node` out; nothing happens when it is not in. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The node with the smallest key, or NULL. */
struct heap_node *heap_first(const struct heap *heap);

/* Free the array (not the elements). */
void heap_done(struct heap *heap);
