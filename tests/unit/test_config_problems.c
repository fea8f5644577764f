/* Wrong configurations: every mistake is one line with file, line, key and cure, all of a file in one run. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/problems.h"

#define LEVELS "none, preferred, required, preferred-verify, required-verify, required-verify-hosted"
#define PEER                                                                                                 \
	"an address such as 192.0.2.1, a network such as 192.0.2.0/24, a host name or a domain such as "     \
	"example.com, or `.example.com` for all names below it (non-ASCII names in their xn-- form)"
#define DIRS "hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n" /* lines 1 to 3 */
#define POLICY                                                                                               \
	"mail_flow_policies: [{name: open, tls: none}, {name: tls}, {name: relay, action: relay, tls: "      \
	"none}]\n"
#define LISTENER      "listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"
#define BASE	      DIRS POLICY LISTENER /* five lines: what is added begins on line 6 */
#define LISTENS(rest) DIRS POLICY "listeners:\n  - {name: in, type: public, " rest "}\n" /* line 6 */

/* `want`: the problems, one per line, each without its "x.yaml:" */
#define HOP                                                                                                   \
	"an address such as 192.0.2.1:25 or [2001:db8::1]:25, a host name such as mail.example.com:25, or a " \
	"domain whose MX records count, such as mx:example.com"
#define PORT "must name a port from 1 to 65535, or none for the usual one\n"
#define BARE "an address without a port, such as 192.0.2.1 or 2001:db8::1"

#define DESTINATION                                                                                          \
	"expected a domain such as example.com, `.example.com` for all domains below it, `default`, or an "  \
	"address without a port such as 192.0.2.1 (non-ASCII names in their xn-- form); found `"

static const struct {
	const char *name, *yaml, *want;
} cases[] = {
	/* The file */
	{ "an empty file", "", " the file is empty: expected `hostname: ...` and other keys\n" },
	{ "a comment only", "# nothing\n", " the file is empty: expected `hostname: ...` and other keys\n" },
	{ "a list", "- a\n", "1: expected a section of `key: value` lines; found a list\n" },
	{ "a word", "\nhello\n", "2: expected a section of `key: value` lines; found a single value\n" },
	{ "no YAML", BASE "accepted_domains: [a.test\n",
		"7: this is not YAML: while parsing a flow sequence, did not find expected ',' or ']'; check "
		"indentation, quotes and special characters\n" },
	{ "what an unclosed bracket swallows is not said",
		BASE "accepted_domains: [a.test\n\nuser: x\nlog: {level: loud}\n",
		"8: this is not YAML: while parsing a flow sequence, did not find expected ',' or ']'; check "
		"indentation, quotes and special characters\n" },
	{ "a tab as indentation", BASE "log:\n\tlevel: info\n",
		"7: this is not YAML: while scanning for the next token, found character that cannot start "
		"any token; "
		"check indentation, quotes and special characters\n" },
	{ "a byte that is no UTF-8", BASE "user: \xff\n",
		"6: this is not YAML: invalid leading UTF-8 octet; check indentation, quotes and special "
		"characters\n" },
	{ "a second document", BASE "---\nuser: x\n",
		"6: a second document begins here: put everything into one, and remove the line `---`\n" },
	{ "brackets without end", BASE "user: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
		"6: user: expected a name of up to 64 letters, digits and `.`, `_`, `-`, beginning with a "
		"letter or "
		"digit; found a list\n"
		"6: nested more than 16 deep: check brackets and indentation\n" },
	{ "an anchor and an alias", BASE "user: &u mail\nlog: {level: *u}\n",
		"6: anchors (&) and aliases (*) are not supported: write the value out, or put it in quotes "
		"if it "
		"begins with this character\n"
		"7: anchors (&) and aliases (*) are not supported: write the value out, or put it in quotes "
		"if it "
		"begins with this character\n" },
	{ "an alias as a key", BASE "*u : mail\n",
		"6: anchors (&) and aliases (*) are not supported: write the value out, or put it in quotes "
		"if it "
		"begins with this character\n" },
	{ "a tag", BASE "user: !!str mail\n",
		"6: tags (!) are not supported: leave the tag out, or put the value in quotes if it begins "
		"with this "
		"character\n" },

	/* Keys */
	{ "what must be there", "user: x\n",
		" hostname: is missing: expected a full host name such as mail.example.com\n"
		" state_dir: is missing: expected a path of at most 1024 bytes\n"
		" runtime_dir: is missing: expected a path of at most 1024 bytes\n"
		" listeners: is missing: expected a list, each entry a section of `key: value` lines\n" },
	{ "a misspelt key", BASE "acepted_domains: [{a: b}, [c]]\nlog: {levl: x}\n",
		"6: acepted_domains: unknown key; did you mean `accepted_domains`?\n"
		"7: log.levl: unknown key; did you mean `level`?\n" },
	{ "a key far from all", BASE "log: {colour: red}\n",
		"6: log.colour: unknown key; known here are to, level, format\n" },
	{ "a key of a later version", BASE "acme: {a: [b]}\ndestinations: [{domain: a.test, smtp_auth: x}]\n",
		"6: acme: is not supported by this version yet: remove this key\n"
		"7: destinations[a.test].smtp_auth: is not supported by this version yet: remove this key\n" },
	{ "a key twice", BASE "user: a\nuser: b\nlog: {level: info, level: [x]}\n",
		"7: user: stands twice, first on line 6: remove one\n"
		"8: log.level: stands twice, first on line 8: remove one\n" },
	{ "a key that is no word", BASE "log: {[a, b]: c, {d: e}: f, level: warn}\n",
		"6: log: a key must be one word\n6: log: a key must be one word\n" },
	{ "a list where one value belongs", BASE "user: [a]\nlog: [b]\n",
		"6: user: expected a name of up to 64 letters, digits and `.`, `_`, `-`, beginning with a "
		"letter or "
		"digit; found a list\n"
		"7: log: expected a section of `key: value` lines; found a list\n" },
	{ "one value where a list belongs", BASE "accepted_domains: a.test\nroutes: {domain: x}\n",
		"6: accepted_domains: expected a list; found a single value; write [a, b] or one line with "
		"`- ` for "
		"each value\n"
		"7: routes: expected a list; found a section of `key: value` lines; begin each entry with `- "
		"`\n" },
	{ "a value where an entry belongs", BASE "routes: [a]\n",
		"6: routes[1]: expected a section of `key: value` lines; found a single value\n" },
	{ "nothing where a list belongs", BASE "routes:\n",
		"6: routes: expected a list; found nothing; begin each entry with `- `\n" },
	{ "an empty list", DIRS "listeners: []\ndelivery: {retry: []}\n",
		"4: listeners: must have at least one entry\n5: delivery.retry: must have at least one "
		"entry\n" },
	{ "an entry without its keys", BASE "routes:\n  - domain: a.test\n  - next_hop: 192.0.2.1\n",
		"7: routes[a.test].next_hop: is missing: expected " HOP "\n"
		"8: routes[2].domain: is missing: expected a domain such as example.com, `.example.com` for "
		"all "
		"domains below it, or `default` (non-ASCII names in their xn-- form)\n" },
	{ "an entry is called by its name even before it",
		BASE "certificates:\n  - chian: a\n    chain: a\n    key: b\n    "
		     "name: main\n",
		"7: certificates[main].chian: unknown key; did you mean `chain`?\n" },

	/* Values */
	{ "a host name without a dot", "hostname: gw\nstate_dir: s\nruntime_dir: r\n" POLICY LISTENER,
		"1: hostname: expected a full host name such as mail.example.com; found `gw`\n" },
	{ "an address as host name", "hostname: 192.0.2.1\nstate_dir: s\nruntime_dir: r\n" POLICY LISTENER,
		"1: hostname: expected a full host name such as mail.example.com; found `192.0.2.1`\n" },
	{ "an empty path", "hostname: a.b\nstate_dir: ''\nruntime_dir: r\n" POLICY LISTENER,
		"2: state_dir: expected a path of at most 1024 bytes; found nothing\n" },
	{ "a line end in a value", BASE "user: \"a\\nb\"\n",
		"6: user: contains control characters or line ends: remove them\n" },
	{ "a NUL in a value", BASE "user: \"a\\0b\"\n",
		"6: user: contains control characters or line ends: remove them\n" },
	{ "neither true nor false", BASE "authorities: {system: yes}\n",
		"6: authorities.system: expected `true` or `false`; found `yes`\n" },
	{ "numbers out of range", BASE "limits: {errors: 0, connections: 20001, recipients: 99}\n",
		"6: limits.errors: `0` is out of range: expected 1 to 1000\n"
		"6: limits.connections: `20001` is out of range: expected 1 to 20000\n"
		"6: limits.recipients: `99` is out of range: expected 100 to 10000\n" },
	{ "numbers that are none",
		BASE "limits: {errors: many, connections: -1, recipients: 99999999999999999999}\n",
		"6: limits.errors: expected a whole number; found `many`\n"
		"6: limits.connections: expected a whole number; found `-1`\n"
		"6: limits.recipients: `99999999999999999999` is out of range: expected 100 to 10000\n" },
	{ "a size too small", BASE "limits: {message_size: 65535}\n",
		"6: limits.message_size: `65535` is out of range: expected 64KiB to 1GiB\n" },
	{ "a size too large", BASE "limits: {message_size: 1025MiB}\n",
		"6: limits.message_size: `1025MiB` is out of range: expected 64KiB to 1GiB\n" },
	{ "a size with a strange unit", BASE "limits: {message_size: 5 apples}\n",
		"6: limits.message_size: expected a size such as 10k, 50MiB or 1GiB; found `5 apples`\n" },
	{ "a size that overflows", BASE "limits: {message_size: 17179869185G}\n",
		"6: limits.message_size: `17179869185G` is out of range: expected 64KiB to 1GiB\n" },
	{ "durations",
		BASE "limits: {idle_time: 5, session_time: 1w}\ndelivery: {retry: [99ms, 5x], expire: 31d}\n",
		"6: limits.idle_time: expected a time with its unit, such as 500ms, 15s, 5m, 1h or 5d; found "
		"`5`\n"
		"6: limits.session_time: expected a time with its unit, such as 500ms, 15s, 5m, 1h or 5d; "
		"found `1w`\n"
		"7: delivery.retry[1]: `99ms` is out of range: expected 100ms to 7d\n"
		"7: delivery.retry[2]: expected a time with its unit, such as 500ms, 15s, 5m, 1h or 5d; "
		"found `5x`\n"
		"7: delivery.expire: `31d` is out of range: expected 1s to 30d\n" },
	{ "a mail address",
		BASE "delivery: {double_bounce: postmaster, delay_warning: 31d, bounce_size: 11MiB}\n",
		"6: delivery.double_bounce: expected a mail address such as postmaster@example.com (ASCII only); "
		"found `postmaster`\n"
		"6: delivery.delay_warning: `31d` is out of range: expected 0, or 1s to 30d\n"
		"6: delivery.bounce_size: `11MiB` is out of range: expected 0 to 10MiB\n" },
	{ "a choice",
		BASE "destinations: [{domain: default, tls: requierd}]\nlog: {level: loud, format: plain}\n",
		"6: destinations[default].tls: expected one of " LEVELS
		"; found `requierd` (did you mean `required`?)\n"
		"7: log.level: expected one of error, warn, info, debug; found `loud`\n" },
	{ "a choice of a later version",
		DIRS POLICY
		"listeners: [{name: in, type: submission, address: '127.0.0.1:0', policy: open}]\n",
		"5: listeners[in].type: `submission` is not supported by this version yet: write one of public, private\n" },
	{ "a level of destinations in a mail flow policy",
		DIRS "mail_flow_policies: [{name: open, tls: required-verify}]\n" LISTENER,
		"4: mail_flow_policies[open].tls: expected one of none, preferred, required; found `required-verify`\n" },
	{ "a key as a choice",
		BASE "destinations: [{domain: default, tls: dane}, {domain: a.test, tls: mta_sts}]\n",
		"6: destinations[default].tls: `dane` is a key of its own: write one of " LEVELS " here\n"
		"6: destinations[a.test].tls: `mta_sts` is a key of its own: write one of " LEVELS
		" here\n" },
	{ "no protection is never advised",
		BASE
		"destinations: [{domain: default, tls: on}, {domain: a.test, tls: nome, dane: nne}]\ntls_profiles: [{name: p, pfs: non}]\n",
		"6: destinations[default].tls: expected one of " LEVELS "; found `on`\n"
		"6: destinations[a.test].tls: expected one of " LEVELS "; found `nome`\n"
		"6: destinations[a.test].dane: expected one of none, opportunistic, mandatory, audit; found `nne`\n"
		"7: tls_profiles[p].pfs: expected one of allowed, required, none; found `non`\n" },
	{ "words of outbound TLS that are nearly right",
		BASE
		"destinations: [{domain: default, tls: required-verfy, dane: oportunistic}]\n"
		"tls: {dane_pkix_usages: enforced, dane_insecure_mx: encript, starttls_requird: [a.test]}\n"
		"destination_settings: {certificat: a}\n",
		"6: destinations[default].tls: expected one of " LEVELS
		"; found `required-verfy` (did you mean `required-verify`?)\n"
		"6: destinations[default].dane: expected one of none, opportunistic, mandatory, audit; found `oportunistic` (did you mean `opportunistic`?)\n"
		"7: tls.dane_pkix_usages: expected one of unusable, enforce; found `enforced` (did you mean `enforce`?)\n"
		"7: tls.dane_insecure_mx: expected one of dane, encrypt, may; found `encript` (did you mean `encrypt`?)\n"
		"7: tls.starttls_requird: unknown key; did you mean `starttls_required`?\n"
		"8: destination_settings.certificat: unknown key; did you mean `certificate`?\n" },
	{ "peers of the lists for STARTTLS",
		BASE
		"tls:\n  starttls_never: ['192.0.2.1:25', 192.0.2.1/24, 'a*.test', '*', default, '', a_b.test]\n  starttls_required: a.test\n",
		"7: tls.starttls_never[1]: expected " PEER "; found `192.0.2.1:25`\n"
		"7: tls.starttls_never[2]: expected " PEER "; found `192.0.2.1/24`\n"
		"7: tls.starttls_never[3]: expected " PEER "; found `a*.test`\n"
		"7: tls.starttls_never[4]: expected " PEER "; found `*`\n"
		"7: tls.starttls_never[5]: expected " PEER "; found `default`\n"
		"7: tls.starttls_never[6]: expected " PEER "; found nothing\n"
		"7: tls.starttls_never[7]: expected " PEER "; found `a_b.test`\n"
		"8: tls.starttls_required: expected a list; found a single value; write [a, b] or one line with `- ` for each value\n" },
	{ "references of destinations",
		BASE
		"destinations: [{domain: a.test, certificate: mian}]\ndestination_settings: {certificate: b}\n"
		"certificates: [{name: main, chain: a, key: b}]\n",
		"6: destinations[a.test].certificate: there is no `mian` in certificates; it has main (did you mean `main`?)\n"
		"7: destination_settings.certificate: there is no `b` in certificates; it has main\n" },
	{ "an address without a port", LISTENS("address: 127.0.0.1, policy: open"),
		"6: listeners[in].address: expected an address with a port such as 192.0.2.1:25 or "
		"[2001:db8::1]:25; "
		"found `127.0.0.1`\n" },
	{ "an IPv6 address without a port", LISTENS("address: '::1', policy: open"),
		"6: listeners[in].address: expected an address with a port such as 192.0.2.1:25 or "
		"[2001:db8::1]:25; "
		"found `::1`\n" },
	{ "networks", BASE "sender_groups: [{name: g, policy: open, networks: [192.0.2.1/24, all]}]\n",
		"6: sender_groups[g].networks[1]: expected an address or a network whose host bits are zero, "
		"such as "
		"192.0.2.0/24 or 2001:db8::/32; found `192.0.2.1/24`\n"
		"6: sender_groups[g].networks[2]: expected an address or a network whose host bits are zero, "
		"such as "
		"192.0.2.0/24 or 2001:db8::/32; found `all`\n" },
	{ "domains",
		BASE "accepted_domains: [.good.test, default, a..b, good.test., 192.0.2.1, m\xc3\xbc.test, "
		     "-a.test]\n",
		"6: accepted_domains[1]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `.good.test`\n"
		"6: accepted_domains[2]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `default`\n"
		"6: accepted_domains[3]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `a..b`\n"
		"6: accepted_domains[4]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `good.test.`\n"
		"6: accepted_domains[5]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `192.0.2.1`\n"
		"6: accepted_domains[6]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `m\xc3\xbc.test`\n"
		"6: accepted_domains[7]: expected a domain such as example.com (non-ASCII names in their "
		"xn-- form); "
		"found `-a.test`\n" },
	{ "what is no next hop",
		BASE
		"routes: [{domain: a.test, next_hop: 'a b'}, {domain: b.test, next_hop: 'mx:192.0.2.1'},\n"
		"  {domain: c.test, next_hop: 'mx:'},\n"
		"  {domain: e.test, next_hop: 'https://a.test'}, {domain: f.test, next_hop: '[mx.a.test]'}]\n",
		"6: routes[a.test].next_hop: expected " HOP "; found `a b`\n"
		"6: routes[b.test].next_hop: expected " HOP "; found `mx:192.0.2.1`\n"
		"7: routes[c.test].next_hop: expected " HOP "; found `mx:`\n"
		"8: routes[e.test].next_hop: must name a port from 1 to 65535, or none for the usual one\n"
		"8: routes[f.test].next_hop: expected " HOP "; found `[mx.a.test]`\n" },
	{ "addresses with a mistake as next hop",
		BASE
		"routes: [{domain: default, next_hop: 127.0.0.9630}, {domain: a.test, next_hop: '192.0.2.1:65536'},\n"
		"  {domain: b.test, next_hop: '[2001:db8::1:2525'}]\n",
		"6: routes[default].next_hop: `127.0.0.9630` looks like an address with a mistake in it: write one "
		"such as 192.0.2.1:25 or [2001:db8::1]:25\n"
		"6: routes[a.test].next_hop: `192.0.2.1:65536` looks like an address with a mistake in it: write one "
		"such as 192.0.2.1:25 or [2001:db8::1]:25\n"
		"7: routes[b.test].next_hop: `[2001:db8::1:2525` looks like an address with a mistake in it: write "
		"one such as 192.0.2.1:25 or [2001:db8::1]:25\n" },
	{ "ports of next hops that are none",
		BASE
		"routes: [{domain: a.test, next_hop: '192.0.2.1:00'}, {domain: b.test, next_hop: 'mx.a.test:0'},\n"
		"  {domain: c.test, next_hop: 'mx:a.test:65536'}, {domain: d.test, next_hop: 'mx.a.test:'}]\n",
		"6: routes[a.test].next_hop: " PORT "6: routes[b.test].next_hop: " PORT
		"7: routes[c.test].next_hop: " PORT "7: routes[d.test].next_hop: " PORT },
	{ "sources that are none",
		BASE
		"routes: [{domain: a.test, next_hop: 192.0.2.1, source: [192.0.2.1:25, '[::1]', mx.a.test]}]\n",
		"6: routes[a.test].source[1]: expected " BARE "; found `192.0.2.1:25`\n"
		"6: routes[a.test].source[2]: expected " BARE "; found `[::1]`\n"
		"6: routes[a.test].source[3]: expected " BARE "; found `mx.a.test`\n" },

	{ "limits out of range",
		BASE
		"limits: {connections_per_network: 0, rate: 1000001, tls_rate: 1000001, commands: 0, header: 8191,\n"
		"  queue_quota: 1000000001, min_free_space: 1025GiB, min_free_inodes: -1}\n",
		"6: limits.connections_per_network: `0` is out of range: expected 1 to 20000\n"
		"6: limits.rate: `1000001` is out of range: expected 1 to 1000000\n"
		"6: limits.tls_rate: `1000001` is out of range: expected 0, or 1 to 1000000\n"
		"6: limits.commands: `0` is out of range: expected 1 to 100000\n"
		"6: limits.header: `8191` is out of range: expected 8KiB to 10MiB\n"
		"7: limits.queue_quota: `1000000001` is out of range: expected 0, or 1 to 1000000000\n"
		"7: limits.min_free_space: `1025GiB` is out of range: expected 0 to 1024GiB\n"
		"7: limits.min_free_inodes: expected a whole number; found `-1`\n" },
	{ "the shortest line", BASE "limits: {line: 997}\n",
		"6: limits.line: `997` is out of range: expected 0, or 998 to 10MiB\n" },
	{ "the longest line", BASE "limits: {line: 10485761}\n",
		"6: limits.line: `10485761` is out of range: expected 0, or 998 to 10MiB\n" },
	{ "recipients", BASE "recipients: {file: '', call_ahead: yes, cache: 8d}\n",
		"6: recipients.file: expected a path of at most 1024 bytes; found nothing\n"
		"6: recipients.call_ahead: expected `on` or `off`; found `yes`\n"
		"6: recipients.cache: `8d` is out of range: expected 1s to 7d\n" },
	{ "dns",
		BASE
		"dns: {forward: [mail.example, 192.0.2.1:53, 192.0.2.1@0, 192.0.2.1@65536, 192.0.2.1@, '[2001:db8::1]', '@53']}\n",
		"6: dns.forward[1]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `mail.example`\n"
		"6: dns.forward[2]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `192.0.2.1:53`\n"
		"6: dns.forward[3]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `192.0.2.1@0`\n"
		"6: dns.forward[4]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `192.0.2.1@65536`\n"
		"6: dns.forward[5]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `192.0.2.1@`\n"
		"6: dns.forward[6]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `[2001:db8::1]`\n"
		"6: dns.forward[7]: expected an address such as 192.0.2.53, 192.0.2.53@5300 or 2001:db8::53@53; found `@53`\n" },
	{ "zones and a time",
		BASE "dns: {private_zones: [., .test, 10.in-addr.arpa., b\xc3\xbc"
		     "cher.test], timeout: 100ms}\n",
		"6: dns.private_zones[1]: expected a zone such as corp.example or test. (non-ASCII names in their xn-- form); found `.`\n"
		"6: dns.private_zones[2]: expected a zone such as corp.example or test. (non-ASCII names in their xn-- form); found `.test`\n"
		"6: dns.private_zones[4]: expected a zone such as corp.example or test. (non-ASCII names in their xn-- form); found `b\xc3\xbc"
		"cher.test`\n"
		"6: dns.timeout: `100ms` is out of range: expected 500ms to 1m\n" },
	{ "a metrics page without a port", BASE "metrics: {address: 127.0.0.1}\n",
		"6: metrics.address: expected an address with a port such as 192.0.2.1:25 or "
		"[2001:db8::1]:25; found `127.0.0.1`\n" },
	{ "a metrics page for everybody", BASE "metrics:\n  address: '0.0.0.0:9464'\n",
		"7: metrics.address: the metrics page is for this machine only, because it asks nobody for a "
		"password: name a loopback address such as 127.0.0.1:9464\n" },
	{ "a log to a misspelt word", BASE "log: {to: syslogg}\n",
		"6: log.to: expected one of stderr, syslog, journal, PATH (a path has a `/` or a `.`); found "
		"`syslogg` (did you mean `syslog`?)\n" },
	{ "a log to the word for a path", BASE "log: {to: PATH}\n",
		"6: log.to: expected one of stderr, syslog, journal, PATH (a path has a `/` or a `.`); found "
		"`PATH`\n" },
	{ "a log to nothing", BASE "log: {to: ''}\n",
		"6: log.to: expected one of stderr, syslog, journal, PATH (a path has a `/` or a `.`); found "
		"nothing\n" },
	{ "a log to a list", BASE "log: {to: [stderr]}\n",
		"6: log.to: expected one word or a path; found a list\n" },
	{ "who may speak for others",
		LISTENS("address: '127.0.0.1:0', policy: open, proxy_protocol_from: [lb.test], xclient_from: "
			"127.0.0.1"),
		"6: listeners[in].proxy_protocol_from[1]: expected an address or a network whose host bits are "
		"zero, such as 192.0.2.0/24 or 2001:db8::/32; found `lb.test`\n"
		"6: listeners[in].xclient_from: expected a list; found a single value; write [a, b] or one line "
		"with `- ` for each value\n" },
	{ "half the Internet speaks for others",
		LISTENS("address: '127.0.0.1:0', policy: open, proxy_protocol_from: [127.0.0.0/8, 0.0.0.0/0], "
			"xclient_from: ['2000::/3']"),
		"6: listeners[in].proxy_protocol_from: a network as wide as /0 is much of the Internet, and "
		"whoever is in it could pass as any client: name your own servers\n"
		"6: listeners[in].xclient_from: a network as wide as /3 is much of the Internet, and whoever is "
		"in it could pass as any client: name your own servers\n" },

	/* TLS profiles */
	{ "words of a profile",
		BASE
		"tls_profiles: [{name: p, min_version: 1.4, max_version: TLSv1.3, pfs: need, compliance: "
		"off, ciphers: '', groups: [X25519]}]\n",
		"6: tls_profiles[p].min_version: expected one of 1.0, 1.1, 1.2, 1.3; found `1.4`\n"
		"6: tls_profiles[p].max_version: expected one of 1.0, 1.1, 1.2, 1.3; found `TLSv1.3`\n"
		"6: tls_profiles[p].pfs: expected one of allowed, required, none; found `need`\n"
		"6: tls_profiles[p].compliance: expected `true` or `false`; found `off`\n"
		"6: tls_profiles[p].ciphers: expected a text of at most 1024 bytes; found nothing\n"
		"6: tls_profiles[p].groups: expected a text of at most 1024 bytes; found a list\n" },
	{ "E39 a minimum above the maximum",
		BASE "tls_profiles:\n  - {name: a, max_version: 1.1}\n"
		     "  - name: b\n    min_version: 1.3\n    max_version: 1.2\n",
		"7: tls_profiles[a].min_version: is newer than max_version, so no handshake could succeed: lower "
		"this one, or raise max_version\n"
		"9: tls_profiles[b].min_version: is newer than max_version, so no handshake could succeed: lower "
		"this one, or raise max_version\n" },
	{ "E42 no forward secrecy with TLS 1.3 only",
		BASE "tls_profiles:\n  - {name: a, pfs: none, min_version: 1.3}\n  - {name: b, pfs: none}\n",
		"7: tls_profiles[a].pfs: TLS 1.3 always has forward secrecy, so `none` leaves no version: write "
		"`min_version: 1.2`, or `pfs: allowed`\n" },
	{ "E43 a predefined profile cannot be changed",
		BASE "tls_profiles:\n  - {name: TLS-Server.Standard, min_version: 1.3}\n"
		     "  - {name: TLS-Client.Standard}\n",
		"7: tls_profiles[TLS-Server.Standard].name: `TLS-Server.Standard` is predefined and cannot be "
		"changed: give this copy another name and use that one\n"
		"8: tls_profiles[TLS-Client.Standard].name: `TLS-Client.Standard` is predefined and cannot be "
		"changed: give this copy another name and use that one\n" },
	{ "two profiles of one name", BASE "tls_profiles: [{name: p}, {name: p}]\n",
		"6: tls_profiles[p].name: `p` stands twice, first as entry 1: remove one\n" },
	{ "E44 a profile that is used cannot be deleted",
		LISTENS("address: '127.0.0.1:0', policy: open, tls_profile: modern") "tls_profiles: []\n",
		"6: listeners[in].tls_profile: there is no `modern` in tls_profiles; it has TLS-Server.Standard, "
		"TLS-Client.Standard\n" },
	{ "E44 a profile that a destination uses cannot be deleted",
		BASE "destinations: [{domain: a.test, tls_profile: modern}]\n",
		"6: destinations[a.test].tls_profile: there is no `modern` in tls_profiles; it has TLS-Server.Standard, "
		"TLS-Client.Standard\n" },
	{ "a profile that stands twice is named once",
		LISTENS("address: '127.0.0.1:0', policy: open, tls_profile: x") "tls_profiles: [{name: "
										"TLS-Server.Standard}]\n",
		"6: listeners[in].tls_profile: there is no `x` in tls_profiles; it has TLS-Server.Standard, "
		"TLS-Client.Standard\n"
		"7: tls_profiles[TLS-Server.Standard].name: `TLS-Server.Standard` is predefined and cannot be "
		"changed: give this copy another name and use that one\n" },
	{ "a misspelt profile",
		LISTENS("address: '127.0.0.1:0', policy: open, tls_profile: modren") "tls_profiles: [{name: "
										     "modern}]\n",
		"6: listeners[in].tls_profile: there is no `modren` in tls_profiles; it has modern, "
		"TLS-Server.Standard, TLS-Client.Standard (did you mean `modern`?)\n" },
	{ "a profile that is no name", LISTENS("address: '127.0.0.1:0', policy: open, tls_profile: ''"),
		"6: listeners[in].tls_profile: expected a name of up to 64 letters, digits and `.`, `_`, `-`, "
		"beginning with a letter or digit; found nothing\n" },

	/* References and names */
	{ "a policy that does not exist", LISTENS("address: '127.0.0.1:0', policy: opne"),
		"6: listeners[in].policy: there is no `opne` in mail_flow_policies; it has open, tls, relay "
		"(did you "
		"mean `open`?)\n" },
	{ "a certificate where there is none",
		LISTENS("address: '127.0.0.1:0', policy: tls, certificate: main"),
		"6: listeners[in].certificate: there is no `main` in certificates; add it to "
		"certificates\n" },
	{ "a reference that is no name", LISTENS("address: '127.0.0.1:0', policy: tls, certificate: [[a]]"),
		"6: listeners[in].certificate[1]: expected a name of up to 64 letters, digits and `.`, `_`, "
		"`-`, "
		"beginning with a letter or digit; found a list\n" },
	{ "names and domains that stand twice",
		BASE
		"routes: [{domain: a.test, next_hop: 192.0.2.1}, {domain: A.test, next_hop: 192.0.2.2}]\n"
		"destinations:\n  - {domain: default}\n  - {domain: default}\n"
		"accepted_domains: [a.test, b.a.test, a.test]\n"
		"certificates: [{name: x, chain: a, key: b}, {name: y, chain: a, key: b}, {name: x, chain: "
		"a, "
		"key: b}]\n",
		"6: routes[a.test].domain: `a.test` stands twice, first as entry 1: remove one\n"
		"9: destinations[default].domain: `default` stands twice, first as entry 1: remove one\n"
		"10: accepted_domains[3]: `a.test` stands twice, first as entry 1: remove one\n"
		"10: accepted_domains[2]: there is no route for `b.a.test`, and its MX records may name this "
		"gateway, so its mail would go in circles: add `- domain: b.a.test` with its `next_hop` to routes, "
		"or a route for `default`\n"
		"11: certificates[x].name: `x` stands twice, first as entry 1: remove one\n" },
	{ "half a certificate, and a name that no stored one can have",
		BASE "certificates:\n  - {name: a, chain: a}\n  - {name: b, key: b}\n  - {name: c.new}\n",
		"7: certificates[a].key: is missing: expected a path, because `chain` stands here; or leave both out to use the store of `postern "
		"cert`\n"
		"8: certificates[b].chain: is missing: expected a path, because `key` stands here; or leave both out to use the store of `postern "
		"cert`\n"
		"9: certificates[c.new].name: `c.new` cannot be the name of a stored certificate, because it ends with `.new`: choose another "
		"one\n" },
	{ "two listeners on one address",
		DIRS POLICY "listeners:\n  - {name: a, type: public, address: '127.0.0.1:25', policy: open}\n"
			    "  - {name: b, type: public, address: '127.0.0.1:25', policy: open}\n",
		"7: listeners[b].address: `127.0.0.1:25` stands twice, first as entry 1: remove one\n" },

	/* Open relays */
	{ "a public listener that relays", LISTENS("address: '127.0.0.1:0', policy: relay"),
		"6: listeners[in].policy: policy `relay` relays, which a public listener would do for "
		"everybody: name "
		"a policy with `action: accept` here, and a relaying one in a sender group\n" },
	{ "a private listener that relays for the world",
		DIRS POLICY "listeners: [{name: in, type: private, address: '0.0.0.0:25', policy: relay}]\n",
		"5: listeners[in].policy: policy `relay` relays for every client that can reach this "
		"address: name a "
		"policy with `action: accept` or `reject` here, and a relaying one in a sender group\n" },
	{ "a group of all clients, or of half of them, that relays",
		BASE
		"sender_groups: [{name: g, policy: relay, networks: [10.0.0.0/8, 0.0.0.0/0, 128.0.0.0/1]},"
		" {name: h, policy: relay, networks: ['::/0', '2000::/3']}, {name: i, policy: open, networks: ['::/0']}]\n",
		"6: sender_groups[g].networks: policy `relay` relays, and a network as wide as /0 is much of the Internet: name your own networks\n"
		"6: sender_groups[g].networks: policy `relay` relays, and a network as wide as /1 is much of the Internet: name your own networks\n"
		"6: sender_groups[h].networks: policy `relay` relays, and a network as wide as /0 is much of the Internet: name your own networks\n"
		"6: sender_groups[h].networks: policy `relay` relays, and a network as wide as /3 is much of the Internet: name your own networks\n" },

	/* Certificates, routes, loops */
	{ "TLS without a certificate", LISTENS("address: '127.0.0.1:0', policy: tls"),
		"6: listeners[in].policy: policy `tls` says `tls: preferred`, but this listener has no "
		"certificate: "
		"name a certificate, or a policy with `tls: none`\n" },
	{ "a group with TLS without a certificate",
		BASE "sender_groups: [{name: g, policy: tls, networks: [192.0.2.0/24]}]\n",
		"6: sender_groups[g].policy: policy `tls` says `tls: preferred`, but listener `in`, which "
		"this group "
		"can reach, has no certificate: name a certificate there, or a policy with `tls: none` "
		"here\n" },
	{ "an accepted domain without a route",
		BASE
		"accepted_domains:\n  - a.test\n  - b.test\nroutes: [{domain: .a.test, next_hop: 192.0.2.1}, "
		"{domain: b.test, next_hop: 192.0.2.1}]\n",
		"7: accepted_domains[1]: there is no route for `a.test`, and its MX records may name this "
		"gateway, so its mail would go in circles: add `- domain: a.test` with its `next_hop` to routes, or "
		"a route for `default`\n" },
	{ "a route to ourselves",
		LISTENS("address: '192.0.2.1:25', policy: open") "routes: [{domain: default, next_hop: "
								 "192.0.2.1}]\n",
		"7: routes[default].next_hop: `192.0.2.1` is listener `in` of this gateway, so mail would go "
		"in "
		"circles: name the mail server behind the gateway\n" },
	{ "a route to ourselves by loopback",
		LISTENS("address: '0.0.0.0:25', policy: open") "routes: [{domain: default, next_hop: "
							       "127.0.0.1}]\n",
		"7: routes[default].next_hop: `127.0.0.1` is listener `in` of this gateway, so mail would go "
		"in "
		"circles: name the mail server behind the gateway\n" },
	{ "a route to ourselves, mapped into IPv6",
		LISTENS("address: '192.0.2.1:25', policy: open") "routes: [{domain: default, next_hop: "
								 "'[::ffff:192.0.2.1]:25'}]\n",
		"7: routes[default].next_hop: `[::ffff:192.0.2.1]:25` is listener `in` of this gateway, so mail would go "
		"in "
		"circles: name the mail server behind the gateway\n" },
	{ "a route to our own name",
		LISTENS("address: '192.0.2.1:25', policy: open") "routes: [{domain: default, next_hop: "
								 "GW.good.test}, {domain: a.test, "
								 "next_hop: 'gw.good.test:26'}]\n",
		"7: routes[default].next_hop: `GW.good.test` is this gateway and its port that of listener `in`, so mail "
		"would go in circles: name the mail server behind the gateway\n" },

	/* What goes with a route */
	{ "sources that do not fit",
		BASE "routes:\n"
		     "  - {domain: a.test, next_hop: 192.0.2.1, source: [192.0.2.7, 192.0.2.8]}\n"
		     "  - {domain: b.test, next_hop: 192.0.2.1, source: ['2001:db8::1']}\n"
		     "  - {domain: c.test, next_hop: mx.c.test, source: ['::', 192.0.2.7]}\n",
		"7: routes[a.test].source: two addresses of one family: keep one IPv4 and one IPv6 address at "
		"most\n"
		"8: routes[b.test].source: no address here has the family of `192.0.2.1`: add one, or name a next "
		"hop of the other family\n"
		"9: routes[c.test].source: an address of zeros is none: remove it to let the system choose\n" },
	{ "credentials that are not whole",
		BASE "routes:\n"
		     "  - {domain: a.test, next_hop: mx.a.test, username: u}\n"
		     "  - {domain: b.test, next_hop: mx.a.test, password_file: p}\n"
		     "  - {domain: c.test, next_hop: 'mx:a.test', username: u, password_file: p}\n",
		"7: routes[a.test].username: there is no password: add `password_file` with the path of a file that "
		"holds it\n"
		"8: routes[b.test].password_file: there is no `username` to use it for: add it, or remove this\n"
		"9: routes[c.test].username: credentials go only to a server that is named here, not to whatever MX "
		"records say: write the host's name as next_hop\n" },
	{ "limits of a destination",
		BASE "destinations:\n  - {domain: a.test, concurrency: 65, rate: 1000001}\n"
		     "  - {domain: b.test, concurrency: 0, rate: some}\n  - {domain: '192.0.2.1:25'}\n"
		     "  - {domain: 192.0.2.2}\n  - {domain: '[192.0.2.2]'}\n  - {domain: 192.0.2}\n",
		"7: destinations[a.test].concurrency: `65` is out of range: expected 1 to 64\n"
		"7: destinations[a.test].rate: `1000001` is out of range: expected 0 to 1000000\n"
		"8: destinations[b.test].concurrency: `0` is out of range: expected 1 to 64\n"
		"8: destinations[b.test].rate: expected a whole number; found `some`\n"
		"9: destinations[3].domain: " DESTINATION "192.0.2.1:25`\n"
		"11: destinations[192.0.2.2].domain: `192.0.2.2` stands twice, first as entry 4: remove one\n"
		"12: destinations[6].domain: " DESTINATION "192.0.2`\n" },
	{ "a route that needs TLS to a destination without it",
		BASE "routes:\n"
		     "  - {domain: a.test, next_hop: mx.a.test, username: u, password_file: p}\n"
		     "  - {domain: .b.test, next_hop: mx.a.test, implicit_tls: true}\n"
		     "  - {domain: default, next_hop: mx.a.test, implicit_tls: true}\n"
		     "destinations: [{domain: a.test, tls: none}, {domain: .b.test, tls: none}]\n",
		"7: routes[a.test].username: destination `a.test` says `tls: none`, and credentials need TLS: write "
		"`tls: required` there\n"
		"8: routes[.b.test].implicit_tls: destination `.b.test` says `tls: none`, so nothing could be "
		"delivered: write `tls: required` there\n" },
};

/* Every line of `got` without its "x.yaml:". */
static char *found(struct problems *problems)
{
	char *text = talloc_strdup(problems, "");

	for (size_t i = 0; i < problems->count; i++)
		text = talloc_asprintf_append(
			text, "%s\n", problems_format(problems, &problems->list[i]) + strlen("x.yaml:"));
	return text;
}

static const struct config *read_yaml(struct problems *problems, struct text yaml)
{
	struct bundle *bundle = bundle_new(NULL, 1);

	bundle_add(bundle, "x.yaml", yaml, BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	talloc_free(bundle);
	return config;
}

static void each_mistake_is_one_line(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct problems *problems = problems_new(NULL);
		size_t len = strlen(cases[i].yaml);
		char *exact =
			memcpy(malloc(len + 1), cases[i].yaml, len); /* ASan: nothing behind it is read */
		const struct config *config;

		exact = realloc(exact, MAX(len, 1));
		config = read_yaml(problems, (struct text){ exact, len });
		if (config != NULL || strcmp(found(problems), cases[i].want) != 0) {
			print_error("%s:\n%s", cases[i].name, found(problems));
			failed++;
		}
		free(exact);
		config_release(config);
		talloc_free(problems);
	}
	assert_int_equal(failed, 0);
}

/* The table of cases above is made from this: it must have no problem of its own. */
static void the_base_of_the_cases_is_fine(void **state)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config = read_yaml(problems, TEXT(BASE));

	(void)state;
	assert_string_equal(found(problems), "");
	assert_non_null(config);
	config_release(config);
	talloc_free(problems);
}

static void what_is_allowed_beside_the_refusals(void **state)
{
	static const struct {
		const char *name, *yaml;
	} fine[] = {
		{ "a loopback listener that relays", DIRS POLICY
			"listeners: [{name: in, type: private, address: '127.0.0.1:0', policy: relay}]\n" },
		{ "many listeners on kernel-chosen ports", DIRS POLICY
			"listeners: [{name: a, type: public, address: '127.0.0.1:0', policy: open}, "
			"{name: b, type: public, address: '127.0.0.1:0', policy: open}]\n" },
		{ "a route to another port of our address",
			LISTENS("address: '192.0.2.1:25', policy: open") "routes: [{domain: default, "
									 "next_hop: "
									 "'192.0.2.1:26'}]\n" },
		{ "a route to another host while we listen everywhere",
			LISTENS("address: '0.0.0.0:25', policy: open") "routes: [{domain: default, next_hop: "
								       "192.0.2.1}]\n" },
		{ "a relaying group of our own networks",
			BASE "sender_groups: [{name: g, policy: relay, networks: [10.0.0.0/8]}]\n" },
		{ "E44 a profile that no listener uses", BASE "tls_profiles: [{name: spare}]\n" },
		{ "a listener that names the profile it would have anyway",
			LISTENS("address: '127.0.0.1:0', policy: open, tls_profile: TLS-Server.Standard") },
		{ "no limits where 0 says so",
			BASE "limits: {line: 0, queue_quota: 0, min_free_space: 0, min_free_inodes: 0}\n" },
		{ "a metrics page on IPv6", BASE "metrics: {address: '[::1]:0'}\n" },
		{ "empty sections", BASE "metrics: {}\nrecipients: {}\ndns: {}\n" },
		{ "empty lists", BASE "routes: []\nsender_groups: []\naccepted_domains: []\nlog: {}\n" },
		{ "a byte order mark and a document start", "\xef\xbb\xbf---\n" BASE "...\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(fine); i++) {
		struct problems *problems = problems_new(NULL);
		const struct config *config = read_yaml(problems, text_of(fine[i].yaml));

		if (config == NULL)
			fail_msg("%s: %s", fine[i].name, found(problems));
		config_release(config);
		talloc_free(problems);
	}
}

static void a_hopeless_file_stays_readable(void **state)
{
	struct problems *problems = problems_new(NULL);
	char *yaml = talloc_strdup(problems, BASE);

	(void)state;
	for (int i = 0; i < 150; i++)
		yaml = talloc_asprintf_append(yaml, "wrong%d: x\n", i);
	assert_null(read_yaml(problems, text_of(yaml)));
	assert_int_equal(problems->count, 101);
	assert_string_equal(problems->list[100].text, "50 more problems are not shown: correct these first");
	talloc_free(problems);
}

static void a_huge_file_is_refused(void **state)
{
	struct problems *problems = problems_new(NULL);
	size_t len = (1 << 20) + 1;
	char *yaml = talloc_size(problems, len);

	(void)state;
	memset(yaml, '\n', len);
	assert_null(read_yaml(problems, (struct text){ yaml, len }));
	assert_string_equal(found(problems), " the file is larger than 1 MiB\n");
	talloc_free(problems);
}

static void a_missing_entry_is_a_problem(void **state)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(problems, 1);

	(void)state;
	assert_null(config_read(bundle, "x.yaml", problems));
	assert_string_equal(found(problems), " the configuration file is not in this generation\n");
	talloc_free(problems);
}

static void problems_leave_out_what_is_unknown(void **state)
{
	static const struct {
		struct problem problem;
		const char *want;
	} lines[] = {
		{ { "f", 3, "k", "t" }, "f:3: k: t" },
		{ { "f", 0, "k", "t" }, "f: k: t" },
		{ { "f", 3, "", "t" }, "f:3: t" },
		{ { "", 3, "k", "t" }, "k: t" },
		{ { "", 0, "", "t" }, "t" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		char *text = problems_format(NULL, &lines[i].problem);

		assert_string_equal(text, lines[i].want);
		talloc_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_base_of_the_cases_is_fine),
		cmocka_unit_test(each_mistake_is_one_line),
		cmocka_unit_test(what_is_allowed_beside_the_refusals),
		cmocka_unit_test(a_hopeless_file_stays_readable),
		cmocka_unit_test(a_huge_file_is_refused),
		cmocka_unit_test(a_missing_entry_is_a_problem),
		cmocka_unit_test(problems_leave_out_what_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
