/*
 * Writing the exposition format: each family once with HELP and TYPE, all its samples together, label values escaped. Pure: text in, text
 * out. https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#include "admin/page.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "report/metrics.h"

#define PREFIX "postern_"

/* What does not come from the table of counters. */
static const struct metrics_family
	build = { "build_info", "gauge", "Always 1; the version of the running program is a label." },
	generation = { "config_generation", "gauge", "Number of the configuration in use; counts reloads." },
	refused = { "config_reloads_refused_total", "counter", "Reloads that were refused since the start." },
	refreshes = { "config_refreshes_refused_total", "counter",
		"Changed files of certificates, authorities or lists that were refused since the start." },
	on_disk = { "config_files_refused", "gauge",
		"1 while the files of this part on the disk are refused, and older ones in use." },
	up = { "role_up", "gauge", "1 while the process of this role answers." },
	restarts = { "role_restarts_total", "counter",
		"How often this role ended unasked and was started again." },
	expiry = { "cert_expiry_seconds", "gauge",
		"Seconds until the first certificate of the chain expires; negative when it has." },
	authority_expiry = { "authority_expiry_seconds", "gauge",
		"Seconds until an authority of the custom list expires; negative when it has." };

struct page {
	char *text;
	const struct metrics_family *family; /* of the last sample */
	json_int_t observed;		     /* in the buckets of this histogram so far */
};

/* One line, after HELP and TYPE when its family is new. `suffix` goes behind the family's name. */
static void add_line(struct page *page, const struct metrics_family *family, const char *suffix,
	const char *labels, const char *value)
{
	const char *const open = labels[0] == '\0' ? "" : "{", *const close = labels[0] == '\0' ? "" : "}";

	if (page->family != family)
		page->text = text_must(talloc_asprintf_append_buffer(page->text,
			"# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", family->name, family->help,
			family->name, family->type));
	page->family = family;
	page->text = text_must(talloc_asprintf_append_buffer(
		page->text, PREFIX "%s%s%s%s%s %s\n", family->name, suffix, open, labels, close, value));
}

static void add_number(struct page *page, const struct metrics_family *family, const char *suffix,
	const char *labels, json_int_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)value);
	add_line(page, family, suffix, labels, text);
}

static void add_sample(
	struct page *page, const struct metrics_family *family, const char *labels, json_int_t value)
{
	add_number(page, family, "", labels, value);
}

/* A row of a histogram: in the table every bucket counts for itself, on the page each holds those before it. The sum comes last. */
static void add_histogram_row(struct page *page, const struct metrics_row *row, json_int_t value)
{
	char sum[32];

	if (page->family != row->family)
		page->observed = 0;
	if (row->bound > 0) {
		page->observed += value;
		add_number(page, row->family, "_bucket", row->labels, page->observed);
		return;
	}
	snprintf(sum, sizeof sum, "%lld.%06lld", (long long)value / 1000000, (long long)value % 1000000);
	add_line(page, row->family, "_sum", "", sum);
	add_number(page, row->family, "_count", "", page->observed);
}

/* `name="value"` with the three escapes of the format. */
static char *label(const void *owner, const char *name, const char *value)
{
	char *text = text_must(talloc_asprintf(owner, "%s=\"", name));

	for (const char *c = value == NULL ? "" : value; *c != '\0'; c++)
		text = text_must(*c == '\n'		   ? talloc_strdup_append_buffer(text, "\\n")
				 : *c == '"' || *c == '\\' ? talloc_asprintf_append_buffer(text, "\\%c", *c)
							   : talloc_strndup_append_buffer(text, c, 1));
	return text_must(talloc_strdup_append_buffer(text, "\""));
}

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* A counter by its name in the status: "accepted", or "tls_in.TLSv1.3" inside of an object. */
static json_int_t counter_of(const void *owner, const json_t *counters, const char *name)
{
	size_t dot = text_find(text_of(name), '.');

	if (name[dot] == '\0')
		return number_of(counters, name);
	return number_of(
		json_object_get(counters, text_copy(owner, text_first(text_of(name), dot))), name + dot + 1);
}

/* Each part, with 0 when nothing of it is refused. */
static void add_refused(struct page *page, const void *owner, const json_t *parts_refused)
{
	static const char *const parts[] = { "authorities", "certificates", "revocation", "staples" };

	for (size_t i = 0; i < COUNT(parts); i++) {
		bool found = false;

		for (size_t n = 0; n < json_array_size(parts_refused) && !found; n++)
			found = strcmp(string_of(json_array_get(parts_refused, n), "part"), parts[i]) == 0;
		add_sample(page, &on_disk, label(owner, "part", parts[i]), found);
	}
}

static void add_house(struct page *page, const void *owner, const json_t *status)
{
	const json_t *roles = json_object_get(status, "roles"),
		     *certificates = json_object_get(status, "certificates");
	const json_t *item;
	size_t i;

	add_sample(page, &build, label(owner, "version", string_of(status, "version")), 1);
	add_sample(page, &generation, "", number_of(status, "generation"));
	add_sample(page, &refused, "", number_of(status, "reloads_refused"));
	add_sample(page, &refreshes, "", number_of(status, "refreshes_refused"));
	add_refused(page, owner, json_object_get(status, "refused"));
	json_array_foreach(roles, i, item) add_sample(page, &up,
		label(owner, "role", string_of(item, "name")), json_is_true(json_object_get(item, "up")));
	json_array_foreach(roles, i, item) add_sample(
		page, &restarts, label(owner, "role", string_of(item, "name")), number_of(item, "restarts"));
	json_array_foreach(certificates, i, item) add_sample(page, &expiry,
		label(owner, "certificate", string_of(item, "name")), number_of(item, "seconds_left"));
	json_array_foreach(json_object_get(status, "custom_authorities"), i, item)
		add_sample(page, &authority_expiry,
			text_must(talloc_asprintf(owner, "%s,sha256=\"%.16s\"",
				label(owner, "authority", string_of(item, "name")),
				string_of(item, "fingerprint_sha256"))), /* a name may stand twice */
			number_of(item, "seconds_left"));
}

static void add_sessions(struct page *page, const void *owner, json_t *counters)
{
	const char *name, *tls;
	json_t *by_tls, *value;

	json_object_foreach(json_object_get(counters, "connections_by"), name, by_tls)
	{
		const char *listener = label(owner, "listener", name);

		json_object_foreach(by_tls, tls, value) add_sample(page, metrics_sessions(),
			text_must(talloc_asprintf(owner, "%s,proto=\"smtp\",tls=\"%s\"", listener, tls)),
			json_integer_value(value));
	}
}

char *page_metrics(const void *owner, const char *status)
{
	struct page page = { .text = text_must(talloc_strdup(owner, "")) };
	json_t *json = json_loads(status, 0, NULL);
	json_t *counters = json_object_get(json, "counters");
	void *scratch = talloc_new(NULL);

	if (json_is_object(counters)) {
		add_house(&page, scratch, json);
		add_sessions(&page, scratch, counters);
		for (int i = 0; i < METRIC_COUNT; i++) {
			const struct metrics_row *row = metrics_row((enum metric)i);
			json_int_t value = counter_of(scratch, counters, row->name);

			if (strcmp(row->family->type, "histogram") == 0)
				add_histogram_row(&page, row, value);
			else
				add_sample(&page, row->family, row->labels, value);
		}
	} else {
		TALLOC_FREE(page.text);
	}
	talloc_free(scratch);
	json_decref(json);
	return page.text;
}
