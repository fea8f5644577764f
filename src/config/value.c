/*
 * Values of the configuration file: one line per type says how it is called, what it looks like, and which functions
 * turn text into the value and the value into text. The YAML reader gives every value as text, defaults are text too,
 * and `config show` prints what is read here, so that its output can be read again.
 *
 * Nothing here knows a key. Control characters never get this far (config/reader.c refuses them).
 */
#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/ip.h"
#include "config/idn.h"
#include "config/names.h"
#include "config/routes.h"
#include "config/starttls_lists.h"
#include "config/table.h"
#include "config/units.h"
#include "config/words.h"
#include "wire/address.h"

enum { PATH_MAX_LEN = 1024, TEXT_MAX_LEN = 1024, SHORT_MAX = 60 };

struct target {
	const void *owner;
	const char *directory;
	const struct table_row *row;
};

static int in_range(const struct table_row *row, uint64_t number)
{
	if (row->or_zero && number == 0)
		return 0;
	return row->max != 0 && (number < row->min || number > row->max) ? -ERANGE : 0;
}

static void store_text(const struct target *target, struct text t, void *at)
{
	const char *copy = text_copy(target->owner, t);

	memcpy(at, &copy, sizeof copy);
}

static void store_lower(const struct target *target, struct text t, void *at)
{
	const char *copy = text_copy_lower(target->owner, t);

	memcpy(at, &copy, sizeof copy);
}

static int read_text(const struct target *target, struct text t, void *at)
{
	if (t.len == 0 || t.len > TEXT_MAX_LEN)
		return -EINVAL;
	store_text(target, t, at);
	return 0;
}

static int read_name(const struct target *target, struct text t, void *at)
{
	if (!names_is_name(t))
		return -EINVAL;
	store_text(target, t, at);
	return 0;
}

static int read_reference(const struct target *target, struct text t, void *at)
{
	(void)target;
	(void)at;
	return names_is_name(t) ? 0 : -EINVAL;
}

/* Names beyond ASCII are converted by the row's check. */
static int read_hostname(const struct target *target, struct text t, void *at)
{
	if (idn_is_needed(t) ? t.len > TEXT_MAX_LEN : !names_is_domain(t, 2))
		return -EINVAL;
	store_text(target, t, at);
	return 0;
}

static int read_mailbox(const struct target *target, struct text t, void *at)
{
	struct address address;

	if (address_parse(t, &address) < 0 || address.utf8)
		return -EINVAL;
	store_text(target, t, at);
	return 0;
}

static int read_plain_domain(const struct target *target, struct text t, void *at)
{
	if (!names_is_domain(t, 1) || text_equal_nocase(t, TEXT("default")))
		return -EINVAL;
	store_lower(target, t, at);
	return 0;
}

static int read_zone(const struct target *target, struct text t, void *at)
{
	bool dot = t.len > 0 && t.at[t.len - 1] == '.';

	return read_plain_domain(target, text_first(t, t.len - dot), at);
}

static int read_domain(const struct target *target, struct text t, void *at)
{
	if (!names_is_domain(t.len > 0 && t.at[0] == '.' ? text_from(t, 1) : t, 1))
		return -EINVAL;
	store_lower(target, t, at);
	return 0;
}

static int read_destination(const struct target *target, struct text t, void *at)
{
	char address[IP_TEXT_MAX];
	struct ip ip;

	if (ip_parse_literal(t, &ip) == 0 || (ip_parse(t, &ip) == 0 && !value_names_port(t, &ip)))
		store_text(target, text_of(ip_format(&ip, address)), at);
	else
		return read_domain(target, t, at);
	return 0;
}

static int read_path(const struct target *target, struct text t, void *at)
{
	if (t.len == 0 || t.len > PATH_MAX_LEN)
		return -EINVAL;

	const char *path = text_must(talloc_asprintf(
		target->owner, "%s" TEXT_FMT, t.at[0] == '/' ? "" : target->directory, TEXT_ARG(t)));
	memcpy(at, &path, sizeof path);
	return 0;
}

static int read_bool(const struct target *target, struct text t, void *at)
{
	bool yes = text_equal(t, TEXT("true"));

	(void)target;
	if (!yes && !text_equal(t, TEXT("false")))
		return -EINVAL;
	memcpy(at, &yes, sizeof yes);
	return 0;
}

static int read_switch(const struct target *target, struct text t, void *at)
{
	bool on = text_equal(t, TEXT("on"));

	(void)target;
	if (!on && !text_equal(t, TEXT("off")))
		return -EINVAL;
	memcpy(at, &on, sizeof on);
	return 0;
}

static int read_number(const struct target *target, struct text t, void *at)
{
	uint64_t number;
	int r = text_number(t, UINT64_MAX, &number);

	if (r == 0)
		r = in_range(target->row, number);
	if (r == 0)
		memcpy(at, &number, sizeof number);
	return r;
}

static int read_size(const struct target *target, struct text t, void *at)
{
	uint64_t number;
	int r = units_read_size(t, &number);

	if (r == 0)
		r = in_range(target->row, number);
	if (r == 0)
		memcpy(at, &number, sizeof number);
	return r;
}

static int read_duration(const struct target *target, struct text t, void *at)
{
	uint64_t number = 0;
	/* Nothing needs no unit. */
	int r = target->row->or_zero && text_equal(t, TEXT("0")) ? 0 : units_read_duration(t, &number);

	if (r == 0)
		r = in_range(target->row, number);
	if (r == 0)
		memcpy(at, &number, sizeof number);
	return r;
}

bool value_names_port(struct text t, const struct ip *ip)
{
	size_t colon = text_find_last(t, ':');

	return colon < t.len && (ip->family == AF_INET || (colon > 0 && t.at[colon - 1] == ']'));
}

static int read_address(const struct target *target, struct text t, void *at)
{
	struct ip ip;

	(void)target;
	if (ip_parse(t, &ip) < 0 || !value_names_port(t, &ip))
		return -EINVAL;
	memcpy(at, &ip, sizeof ip);
	return 0;
}

static int read_server(const struct target *target, struct text t, void *at)
{
	size_t sign = text_find(t, '@');
	uint64_t port = 53;
	struct ip ip;

	(void)target;
	if (ip_parse(text_first(t, sign), &ip) < 0 || value_names_port(text_first(t, sign), &ip) ||
		text_find(t, '[') < sign)
		return -EINVAL;
	if (sign < t.len && (text_number(text_from(t, sign + 1), 65535, &port) < 0 || port == 0))
		return -EINVAL;
	ip.port = (uint16_t)port;
	memcpy(at, &ip, sizeof ip);
	return 0;
}

static int read_network(const struct target *target, struct text t, void *at)
{
	struct ip_network network;

	(void)target;
	if (ip_network_parse(t, &network) < 0)
		return -EINVAL;
	memcpy(at, &network, sizeof network);
	return 0;
}

static int read_bare_address(const struct target *target, struct text t, void *at)
{
	struct ip ip;

	(void)target;
	if (ip_parse(t, &ip) < 0 || value_names_port(t, &ip) || t.at[0] == '[')
		return -EINVAL;
	memcpy(at, &ip, sizeof ip);
	return 0;
}

static int read_peer(const struct target *target, struct text t, void *at)
{
	struct config_peer peer;
	int r = starttls_lists_read(target->owner, t, &peer);

	if (r == 0)
		memcpy(at, &peer, sizeof peer);
	return r;
}

static int read_choice(const struct target *target, struct text t, void *at)
{
	int value, r = words_read(target->row, t, &value);

	if (r == 0)
		memcpy(at, &value, sizeof value);
	return r;
}

/* Where the path of a TABLE_TARGET is kept, beside its enum. */
static size_t path_distance(const struct table_row *row)
{
	return row->count - row->offset;
}

static const struct table_word *path_word(const struct table_row *row)
{
	for (const struct table_word *w = row->words;; w++)
		if (strcmp(w->word, TABLE_PATH_WORD) == 0)
			return w;
}

/* What could be mistaken for a misspelt word is no path. */
static int read_target(const struct target *target, struct text t, void *at)
{
	if (text_find(t, '/') == t.len && text_find(t, '.') == t.len)
		return text_equal(t, TEXT(TABLE_PATH_WORD)) ? -EINVAL : read_choice(target, t, at);

	int r = read_path(target, t, (char *)at + path_distance(target->row));
	if (r == 0)
		memcpy(at, &path_word(target->row)->value, sizeof(int));
	return r;
}

static char *show_text(const struct target *target, const void *at)
{
	const char *string;

	memcpy(&string, at, sizeof string);
	return string == NULL ? NULL : text_must(talloc_strdup(target->owner, string));
}

/* A relative path is shown as it was written, so that what is shown can stand in the same directory. */
static char *show_path(const struct target *target, const void *at)
{
	size_t len = strlen(target->directory);
	const char *path;

	memcpy(&path, at, sizeof path);
	if (path == NULL)
		return NULL;
	if (target->directory[0] != '/' && strncmp(path, target->directory, len) == 0)
		path += len;
	return text_must(talloc_strdup(target->owner, path));
}

static char *show_bool(const struct target *target, const void *at)
{
	bool yes;

	memcpy(&yes, at, sizeof yes);
	return text_must(talloc_strdup(target->owner, yes ? "true" : "false"));
}

static char *show_switch(const struct target *target, const void *at)
{
	bool on;

	memcpy(&on, at, sizeof on);
	return text_must(talloc_strdup(target->owner, on ? "on" : "off"));
}

static char *show_number(const struct target *target, const void *at)
{
	uint64_t number;

	memcpy(&number, at, sizeof number);
	if (target->row->optional && number == UINT64_MAX)
		return NULL;
	return text_must(talloc_asprintf(target->owner, "%" PRIu64, number));
}

static char *show_size(const struct target *target, const void *at)
{
	uint64_t number;

	memcpy(&number, at, sizeof number);
	return units_show_size(target->owner, number);
}

static char *show_duration(const struct target *target, const void *at)
{
	uint64_t number;

	memcpy(&number, at, sizeof number);
	return units_show_duration(target->owner, number);
}

static char *show_address(const struct target *target, const void *at)
{
	char text[IP_TEXT_MAX];
	struct ip ip;

	memcpy(&ip, at, sizeof ip);
	if (ip.family == 0)
		return NULL;
	return text_must(talloc_strdup(target->owner, ip_format_port(&ip, text)));
}

static char *show_server(const struct target *target, const void *at)
{
	char text[IP_TEXT_MAX];
	struct ip ip;

	memcpy(&ip, at, sizeof ip);
	return text_must(talloc_asprintf(target->owner, "%s@%u", ip_format(&ip, text), ip.port));
}

static char *show_bare_address(const struct target *target, const void *at)
{
	char text[IP_TEXT_MAX];
	struct ip ip;

	memcpy(&ip, at, sizeof ip);
	return text_must(talloc_strdup(target->owner, ip_format(&ip, text)));
}

static char *show_network(const struct target *target, const void *at)
{
	char text[IP_TEXT_MAX];
	struct ip_network network;

	memcpy(&network, at, sizeof network);
	return text_must(
		talloc_asprintf(target->owner, "%s/%u", ip_format(&network.address, text), network.prefix));
}

static char *show_peer(const struct target *target, const void *at)
{
	struct config_peer peer;

	memcpy(&peer, at, sizeof peer);
	return text_must(talloc_strdup(target->owner, peer.text));
}

static char *show_choice(const struct target *target, const void *at)
{
	int value;

	memcpy(&value, at, sizeof value);
	const char *word = words_show(target->row, value);
	return word == NULL ? NULL : text_must(talloc_strdup(target->owner, word));
}

static char *show_target(const struct target *target, const void *at)
{
	int value;

	memcpy(&value, at, sizeof value);
	return value == path_word(target->row)->value
		       ? show_path(target, (const char *)at + path_distance(target->row))
		       : show_choice(target, at);
}

static char *show_reference(const struct target *target, const void *at)
{
	const void *entry;

	memcpy(&entry, at, sizeof entry);
	if (entry == NULL)
		return NULL;
	return text_must(talloc_strdup(target->owner, table_label(target->row->inner, entry)));
}

#define NAME_EXPECTED "a name of up to 64 letters, digits and `.`, `_`, `-`, beginning with a letter or digit"

static const struct kind {
	const char *type, *expected;
	size_t size;
	int (*read)(const struct target *target, struct text t, void *at);
	char *(*show)(const struct target *target, const void *at);
} kinds[] = {
	[TABLE_NEXT_HOP] = { "next hop", ROUTES_HOP_EXPECTED, sizeof(char *), read_text, show_text },
	[TABLE_TEXT] = { "text", "a text of at most 1024 bytes", sizeof(char *), read_text, show_text },
	[TABLE_NAME] = { "name", NAME_EXPECTED, sizeof(char *), read_name, show_text },
	[TABLE_HOSTNAME] = { "host name", "a full host name such as mail.example.com", sizeof(char *),
		read_hostname, show_text },
	[TABLE_MAILBOX] = { "mail address", "a mail address such as postmaster@example.com (ASCII only)",
		sizeof(char *), read_mailbox, show_text },
	[TABLE_DOMAIN] = { "domain",
		"a domain such as example.com, `.example.com` for all domains below it, or "
		"`default` (non-ASCII names in their xn-- form)",
		sizeof(char *), read_domain, show_text },
	[TABLE_DESTINATION] = { "domain or address",
		"a domain such as example.com, `.example.com` for all domains below it, `default`, or an address "
		"without a port such as 192.0.2.1 (non-ASCII names in their xn-- form)",
		sizeof(char *), read_destination, show_text },
	[TABLE_PATH] = { "path", "a path of at most 1024 bytes", sizeof(char *), read_path, show_path },
	[TABLE_BOOL] = { "true/false", "`true` or `false`", sizeof(bool), read_bool, show_bool },
	[TABLE_SWITCH] = { "on/off", "`on` or `off`", sizeof(bool), read_switch, show_switch },
	[TABLE_NUMBER] = { "number", "a whole number", sizeof(uint64_t), read_number, show_number },
	[TABLE_SIZE] = { "size", "a size such as 10k, 50MiB or 1GiB", sizeof(uint64_t), read_size,
		show_size },
	[TABLE_DURATION] = { "duration", "a time with its unit, such as 500ms, 15s, 5m, 1h or 5d",
		sizeof(int64_t), read_duration, show_duration },
	[TABLE_ADDRESS] = { "address", "an address with a port such as 192.0.2.1:25 or [2001:db8::1]:25",
		sizeof(struct ip), read_address, show_address },
	[TABLE_CHOICE] = { "choice", "one word", sizeof(int), read_choice, show_choice },
	[TABLE_TARGET] = { "word or path", "one word or a path", sizeof(int), read_target, show_target },
	[TABLE_REFERENCE] = { "reference", NAME_EXPECTED, sizeof(void *), read_reference, show_reference },
	[TABLE_REFERENCES] = { "references", NAME_EXPECTED, sizeof(void *), read_reference, show_reference },
	[TABLE_DURATIONS] = { "list of durations", "a time with its unit, such as 500ms, 15s, 5m, 1h or 5d",
		sizeof(int64_t), read_duration, show_duration },
	[TABLE_NETWORKS] = { "list of networks",
		"an address or a network whose host bits are zero, such as 192.0.2.0/24 or 2001:db8::/32",
		sizeof(struct ip_network), read_network, show_network },
	[TABLE_ADDRESSES] = { "list of addresses",
		"an address without a port, such as 192.0.2.1 or 2001:db8::1", sizeof(struct ip),
		read_bare_address, show_bare_address },
	[TABLE_DOMAINS] = { "list of domains",
		"a domain such as example.com (non-ASCII names in their xn-- form)", sizeof(char *),
		read_plain_domain, show_text },
	[TABLE_ZONES] = { "list of zones",
		"a zone such as corp.example or test. (non-ASCII names in their xn-- form)", sizeof(char *),
		read_zone, show_text },
	[TABLE_SERVERS] = { "list of servers",
		"an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53", sizeof(struct ip),
		read_server, show_server },
	[TABLE_PEERS] = { "list of servers",
		"an address such as 192.0.2.1, a network such as 192.0.2.0/24, a host name or a domain such as "
		"example.com, or `.example.com` for all names below it (non-ASCII names in their xn-- form)",
		sizeof(struct config_peer), read_peer, show_peer },
	[TABLE_WAITING] = { "waits", "anything", 0, NULL, NULL },
	[TABLE_SECTION] = { "section", "a section of `key: value` lines", 0, NULL, NULL },
	[TABLE_LIST] = { "list of sections", "a section of `key: value` lines", 0, NULL, NULL },
};

const char *value_expected(const struct table_row *row)
{
	return kinds[row->type].expected;
}

const char *value_type(const struct table_row *row)
{
	return kinds[row->type].type;
}

char *value_show(const void *owner, const char *directory, const struct table_row *row, const void *at)
{
	const struct target target = { .owner = owner, .directory = directory, .row = row };

	return kinds[row->type].show(&target, at);
}

size_t value_size(const struct table_row *row)
{
	return row->type == TABLE_LIST ? row->inner->size : kinds[row->type].size;
}

char *value_limits(const void *owner, const struct table_row *row)
{
	if (row->type == TABLE_CHOICE || row->type == TABLE_TARGET)
		return words_list(owner, row);
	if (row->max == 0)
		return NULL;

	const struct target target = { .owner = owner, .directory = "", .row = row };
	char *min = kinds[row->type].show(&target, &row->min);
	char *max = kinds[row->type].show(&target, &row->max);
	return text_must(talloc_asprintf(owner, "%s%s to %s", row->or_zero ? "0, or " : "", min, max));
}

char *value_short(const void *owner, struct text t)
{
	size_t len = t.len;

	if (len > SHORT_MAX) {
		len = SHORT_MAX;
		while (len > 0 && ((unsigned char)t.at[len] & 0xc0) == 0x80)
			len--;
	}
	return text_must(talloc_asprintf(owner, "%.*s%s", (int)len, t.at, len < t.len ? "..." : ""));
}

char *value_read(
	const void *owner, const char *directory, const struct table_row *row, struct text t, void *at)
{
	const struct target target = { .owner = owner, .directory = directory, .row = row };
	int r = kinds[row->type].read(&target, t, at);

	if (r == 0)
		return NULL;

	const char *quote =
		t.len == 0 ? "nothing" : text_must(talloc_asprintf(owner, "`%s`", value_short(owner, t)));
	if (r == -EEXIST)
		return text_must(talloc_asprintf(owner, "%s is a key of its own: write one of %s here", quote,
			value_limits(owner, row)));
	if (r == -ENOSYS)
		return text_must(
			talloc_asprintf(owner, "%s is not supported by this version yet: write one of %s",
				quote, value_limits(owner, row)));
	if (r == -ERANGE) {
		char *limits = value_limits(owner, row);

		return text_must(talloc_asprintf(owner, "%s is out of range: expected %s", quote,
			limits == NULL ? "a smaller number" : limits));
	}
	if (row->type == TABLE_CHOICE || row->type == TABLE_TARGET) {
		const char *nearest = words_nearest(row, t);

		return text_must(talloc_asprintf(owner, "expected one of %s%s; found %s%s%s%s",
			value_limits(owner, row),
			row->type == TABLE_TARGET ? " (a path has a `/` or a `.`)" : "", quote,
			nearest == NULL ? "" : " (did you mean `", nearest == NULL ? "" : nearest,
			nearest == NULL ? "" : "`?)"));
	}
	return text_must(talloc_asprintf(owner, "expected %s; found %s", value_expected(row), quote));
}
