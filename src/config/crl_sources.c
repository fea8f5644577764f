#include "config/crl_sources.h"

#include <fcntl.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/units.h"
#include "config/unverified.h"
#include "wire/url.h"

enum { HOUR_MAX = 23, MINUTE_MAX = 59, EVERY_MIN_MS = 60 * 1000 };

static const int64_t every_max_ms = INT64_C(30) * 24 * 3600 * 1000;

/* The schedule */

/* The next word of `rest`, which is shortened. */
static struct text take_word(struct text *rest)
{
	struct text t = text_trim(*rest);
	struct text word = text_first(t, text_find(t, ' '));

	*rest = text_trim(text_from(t, word.len));
	return word;
}

/* `03:00` */
static bool read_minute(struct text t, unsigned *ret_minute)
{
	uint64_t hour, minute;

	if (t.len != 5 || t.at[2] != ':' || text_number(text_first(t, 2), HOUR_MAX, &hour) < 0 ||
		text_number(text_from(t, 3), MINUTE_MAX, &minute) < 0)
		return false;
	*ret_minute = (unsigned)(hour * 60 + minute);
	return true;
}

static bool read_weekday(struct text t, unsigned *ret_weekday)
{
	static const char *const names[] = { "sunday", "monday", "tuesday", "wednesday", "thursday", "friday",
		"saturday" };

	for (unsigned i = 0; i < COUNT(names); i++) {
		*ret_weekday = i;
		if (text_equal_nocase(t, text_of(names[i])))
			return true;
	}
	return false;
}

static bool read_timetable(struct text t, struct timetable *ret)
{
	struct timetable read = { .kind = TIMETABLE_EVERY };
	struct text word = take_word(&t);
	uint64_t every;
	bool fine = false;

	if (text_equal_nocase(word, TEXT("every"))) {
		fine = units_read_duration(take_word(&t), &every) == 0 && every >= EVERY_MIN_MS &&
		       every <= (uint64_t)every_max_ms;
		read.every_ms = fine ? (int64_t)every : 0;
	} else if (text_equal_nocase(word, TEXT("daily"))) {
		read.kind = TIMETABLE_DAILY;
		fine = read_minute(take_word(&t), &read.minute);
	} else if (text_equal_nocase(word, TEXT("weekly"))) {
		read.kind = TIMETABLE_WEEKLY;
		fine = read_weekday(take_word(&t), &read.weekday) && read_minute(take_word(&t), &read.minute);
	}
	if (fine && t.len == 0)
		*ret = read;
	return fine && t.len == 0;
}

char *crl_sources_read_schedule(const void *owner, struct text value, void *entry)
{
	struct config_crl_source *source = entry;

	return read_timetable(value, &source->timetable)
		       ? NULL
		       : text_must(talloc_asprintf(owner, "expected " CRL_SOURCES_SCHEDULE_EXPECTED));
}

char *crl_sources_check_url(const void *owner, struct text value, void *entry)
{
	struct url url;

	(void)entry;
	return url_parse(value, &url) == 0
		       ? NULL
		       : text_must(talloc_strdup(owner,
				 "expected a URL with http or https such as http://crl.example.com/ca.crl, without a user and without a fragment"));
}

void crl_sources_finish(struct config *config)
{
	for (size_t i = 0; i < config->crl.source_count; i++) {
		struct config_crl_source *source = &config->crl.sources[i];

		if (source->schedule != NULL)
			read_timetable(text_of(source->schedule), &source->timetable);
	}
}

/* What it must say together */

static const char *path_of(struct marks *marks, size_t index, const char *key)
{
	return text_must(talloc_asprintf(marks, "crl_sources.sources[%zu].%s", index + 1, key));
}

/* Names are names of files: two that differ only in the case of their letters are one on some file systems. */
static void check_names(const struct config_crl *crl, struct marks *marks)
{
	for (size_t i = 0; i < crl->source_count; i++)
		for (size_t j = 0; j < i; j++) {
			const char *a = crl->sources[i].name, *b = crl->sources[j].name;

			if (a == NULL || b == NULL || !text_equal_nocase(text_of(a), text_of(b)))
				continue;
			marks_problem(marks, MARKS_LOOK_UP, path_of(marks, i, "name"),
				"`%s` stands twice, first as entry %zu: give this source another name", a,
				j + 1);
			break;
		}
}

static size_t enabled_count(const struct config_crl *crl)
{
	size_t count = 0;

	for (size_t i = 0; i < crl->source_count; i++)
		count += crl->sources[i].enabled;
	return count;
}

bool crl_sources_wanted(const struct config *config)
{
	return enabled_count(&config->crl) > 0;
}

void crl_sources_check(const struct config *config, struct marks *marks)
{
	const struct config_crl *crl = &config->crl;

	check_names(crl, marks);
	if (crl->check.inbound_smtp)
		marks_warn(marks, MARKS_LOOK_UP, "crl_sources.check.inbound_smtp",
			"has no effect yet: this version asks clients for no certificate");
	if (crl->check.web)
		marks_warn(marks, MARKS_LOOK_UP, "crl_sources.check.web",
			"has no effect yet: this version has no web interface");
	if (crl->check.outbound_smtp && enabled_count(crl) == 0)
		marks_warn(marks, MARKS_LOOK_UP, "crl_sources.check.outbound_smtp",
			crl->strict
				? "no source is enabled, and `strict` is on: no server whose certificate is to be good is accepted"
				: "no source is enabled, so nothing is checked: add one to `sources`");
	else if (crl->check.outbound_smtp && unverified_are_all(config))
		marks_warn(marks, MARKS_LOOK_UP, "crl_sources.check.outbound_smtp",
			"has no effect: certificates of servers are verified only where a route logs in or a destination has a verifying level, and none does; write such a level (`tls: required-verify`), or false here");
}

/* What was fetched */

char *crl_sources_path(const void *owner, const char *state_dir, const char *name, const char *suffix)
{
	return text_must(
		talloc_asprintf(owner, "%s/" CRL_SOURCES_DIRECTORY "/%s%s", state_dir, name, suffix));
}

static char *entry_name(const void *owner, const struct config_crl_source *source)
{
	return text_must(talloc_asprintf(owner, "crl/%s", source->name));
}

struct text crl_sources_find(const struct bundle *bundle, const struct config_crl_source *source)
{
	char *name = entry_name(NULL, source);
	struct text bytes = bundle_find(bundle, name);

	talloc_free(name);
	return bytes;
}

/* The directory belongs to a role that talks to the Internet: no link in it is followed. A negative errno when there is none. */
static int open_directory(const struct config *config)
{
	char *path = text_must(talloc_asprintf(NULL, "%s/upkeep", config->state_dir));
	CLEANUP(base_close) int above = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	talloc_free(path);
	int fd = above < 0 ? -1 : openat(above, "crl", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static unsigned readers_of(const struct config_crl *crl)
{
	return BUNDLE_REVOCATION | BUNDLE_UPKEEP | (crl->check.outbound_smtp ? BUNDLE_DELIVER : 0);
}

void crl_sources_gather(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	const struct config_crl *crl = &config->crl;

	if (config->state_dir == NULL || !crl_sources_wanted(config))
		return;
	CLEANUP(base_close) int directory = open_directory(config);
	for (size_t i = 0; i < crl->source_count && directory >= 0; i++) {
		const struct config_crl_source *source = &crl->sources[i];

		if (!source->enabled || source->name == NULL)
			continue;
		char *file = text_must(talloc_asprintf(marks, "%s.crl", source->name));
		int r = bundle_add_kept(bundle, directory, file, entry_name(marks, source), readers_of(crl));
		if (r < 0 && r != -ENOENT)
			marks_warn(marks, MARKS_LOOK_UP, path_of(marks, i, "name"),
				"the list that was fetched of `%s` (%s) cannot be read: %s; remove it, and `postern crl update %s` fetches it again",
				source->name,
				crl_sources_path(marks, config->state_dir, source->name, ".crl"), err_text(r),
				source->name);
	}
	if (directory < 0 && directory != -ENOENT)
		marks_warn(marks, MARKS_LOOK_UP, "state_dir",
			"%s/" CRL_SOURCES_DIRECTORY
			", which holds the lists of revoked certificates, cannot be read: %s",
			config->state_dir, err_text(directory));
}

void crl_sources_keep(struct bundle *bundle, const struct config *config, const struct bundle *used)
{
	for (size_t i = 0; i < config->crl.source_count; i++) {
		const struct config_crl_source *source = &config->crl.sources[i];
		const struct text list =
			source->enabled ? crl_sources_find(used, source) : (struct text){ NULL, 0 };
		char *name = entry_name(NULL, source);

		if (list.at != NULL)
			bundle_put(bundle, name, list, readers_of(&config->crl));
		talloc_free(name);
	}
}
