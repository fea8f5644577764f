/* The heap against a slow model: an array that is searched. */
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

enum { NODES = 200, STEPS = 20000 };

static void test_an_empty_heap_has_no_first(void **state)
{
	struct heap heap = { 0 };
	struct heap_node never = { 0 };

	(void)state;
	assert_null(heap_first(&heap));
	heap_remove(&heap, &never);
	assert_null(heap_first(&heap));
	heap_done(&heap);
	assert_int_equal(heap.count, 0);
}

static void test_one_node_comes_moves_and_goes(void **state)
{
	struct heap heap = { 0 };
	struct heap_node node = { 0 };

	(void)state;
	heap_set(&heap, &node, INT64_MIN);
	assert_ptr_equal(heap_first(&heap), &node);
	heap_set(&heap, &node, INT64_MAX);
	assert_int_equal(heap.count, 1);
	heap_remove(&heap, &node);
	assert_int_equal(node.place, 0);
	heap_remove(&heap, &node);
	assert_null(heap_first(&heap));
	heap_done(&heap);
}

static void check(const struct heap *heap, const struct heap_node *nodes)
{
	size_t in = 0;
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < NODES; i++) {
		if (nodes[i].place == 0)
			continue;
		in++;
		least = MIN(least, nodes[i].key);
		assert_ptr_equal(heap->nodes[nodes[i].place - 1], &nodes[i]);
	}
	assert_int_equal(heap->count, in);
	if (in == 0)
		assert_null(heap_first(heap));
	else
		assert_int_equal(heap_first(heap)->key, least);
}

static void test_random_changes_agree_with_a_searched_array(void **state)
{
	struct heap heap = { 0 };
	struct heap_node nodes[NODES] = { 0 };

	(void)state;
	srand(1);
	for (unsigned i = 0; i < STEPS; i++) {
		struct heap_node *node = &nodes[rand() % NODES];

		if (rand() % 3 == 0)
			heap_remove(&heap, node);
		else
			heap_set(&heap, node, rand() % 50);
		check(&heap, nodes);
	}
	heap_done(&heap);
}

static void test_nodes_leave_in_the_order_of_their_keys(void **state)
{
	struct heap heap = { 0 };
	struct heap_node nodes[NODES] = { 0 };
	int64_t before = INT64_MIN;

	(void)state;
	srand(2);
	for (size_t i = 0; i < NODES; i++)
		heap_set(&heap, &nodes[i], rand());
	for (size_t i = 0; i < NODES; i++) {
		struct heap_node *first = heap_first(&heap);

		assert_true(first->key >= before);
		before = first->key;
		heap_remove(&heap, first);
	}
	assert_null(heap_first(&heap));
	heap_done(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_heap_has_no_first),
		cmocka_unit_test(test_one_node_comes_moves_and_goes),
		cmocka_unit_test(test_random_changes_agree_with_a_searched_array),
		cmocka_unit_test(test_nodes_leave_in_the_order_of_their_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
