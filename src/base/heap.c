/* A binary heap over pointers; nodes know their place. Used by queue/schedule for "what is due next". */
#include "base/heap.h"

#include <stdlib.h>

#include "base/text.h"

static void put(struct heap *heap, size_t index, struct heap_node *node)
{
	heap->nodes[index] = node;
	node->place = index + 1;
}

static void sift_up(struct heap *heap, size_t index, struct heap_node *node)
{
	while (index > 0 && heap->nodes[(index - 1) / 2]->key > node->key) {
		put(heap, index, heap->nodes[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	put(heap, index, node);
}

static void sift_down(struct heap *heap, size_t index, struct heap_node *node)
{
	for (;;) {
		size_t child = 2 * index + 1;

		if (child + 1 < heap->count && heap->nodes[child + 1]->key < heap->nodes[child]->key)
			child++;
		if (child >= heap->count || heap->nodes[child]->key >= node->key)
			break;
		put(heap, index, heap->nodes[child]);
		index = child;
	}
	put(heap, index, node);
}

static void settle(struct heap *heap, size_t index, struct heap_node *node)
{
	if (index > 0 && heap->nodes[(index - 1) / 2]->key > node->key)
		sift_up(heap, index, node);
	else
		sift_down(heap, index, node);
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t key)
{
	node->key = key;
	if (node->place == 0) {
		if (heap->count == heap->room) {
			heap->room = heap->room == 0 ? 16 : heap->room * 2;
			heap->nodes = text_must(reallocarray(heap->nodes, heap->room, sizeof heap->nodes[0]));
		}
		node->place = ++heap->count;
	}
	settle(heap, node->place - 1, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	if (node->place == 0)
		return;

	size_t index = node->place - 1;
	struct heap_node *last = heap->nodes[--heap->count];
	node->place = 0;
	if (last != node)
		settle(heap, index, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
	return heap->count == 0 ? NULL : heap->nodes[0];
}

void heap_done(struct heap *heap)
{
	free(heap->nodes);
	*heap = (struct heap){ 0 };
}
