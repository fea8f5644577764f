/*
 * Sizes and durations as the operator writes them. config/value.c calls this; what is shown here can be read here.
 */
#include "config/units.h"

#include <errno.h>
#include <inttypes.h>

#include <talloc.h>

#include "base/base.h"

/* No more digits than this before a unit, so that nothing overflows. */
static const uint64_t count_max = 1000000000;

struct unit {
	const char *word;
	uint64_t factor;
};

/* Smallest first. Printed is the first word of the largest unit that divides the value. */
static const struct unit durations[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
};

static const struct unit sizes[] = {
	{ "", 1 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "k", UINT64_C(1) << 10 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "M", UINT64_C(1) << 20 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "G", UINT64_C(1) << 30 },
};

static int read_unit(const struct unit *units, size_t count, struct text t, uint64_t *ret_number)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < t.len && t.at[digits] >= '0' && t.at[digits] <= '9')
		digits++;
	if (digits == 0)
		return -EINVAL;

	struct text word = text_from(t, digits);
	for (size_t i = 0; i < count; i++) {
		if (!text_equal_nocase(text_of(units[i].word), word))
			continue;
		if (text_number(text_first(t, digits), count_max * (units[i].factor == 1 ? count_max : 1),
			    &number) < 0)
			return -ERANGE;
		*ret_number = number * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

static char *show_unit(const void *owner, const struct unit *units, size_t count, uint64_t number)
{
	const struct unit *unit = &units[0];

	if (number == 0)
		return text_must(talloc_asprintf(owner, "0%s", units[0].word));
	for (size_t i = 1; i < count; i++)
		if (number % units[i].factor == 0 && units[i].factor > unit->factor)
			unit = &units[i];
	return text_must(talloc_asprintf(owner, "%" PRIu64 "%s", number / unit->factor, unit->word));
}

int units_read_size(struct text t, uint64_t *ret_number)
{
	return read_unit(sizes, COUNT(sizes), t, ret_number);
}

int units_read_duration(struct text t, uint64_t *ret_number)
{
	return read_unit(durations, COUNT(durations), t, ret_number);
}

char *units_show_size(const void *owner, uint64_t number)
{
	return show_unit(owner, sizes, COUNT(sizes), number);
}

char *units_show_duration(const void *owner, uint64_t number)
{
	return show_unit(owner, durations, COUNT(durations), number);
}
