/* Times that load and sink collect, and their quantiles. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct figures {
	double *values;
	size_t count, room;
};

/* CLOCK_MONOTONIC in seconds. */
static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void figures_add(struct figures *f, double value)
{
	if (f->count == f->room) {
		f->room = f->room * 2 + 1024;
		f->values = realloc(f->values, f->room * sizeof *f->values);
		if (f->values == NULL)
			exit(1);
	}
	f->values[f->count++] = value;
}

static inline int figures_compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* "NAME P50 P99" in ms. */
static inline void figures_say(const char *name, struct figures *f)
{
	if (f->count == 0)
		return;
	qsort(f->values, f->count, sizeof *f->values, figures_compare);
	printf("%s %.3f %.3f\n", name, 1000 * f->values[f->count / 2], 1000 * f->values[f->count * 99 / 100]);
}
