#include "deliver/clear_hosts_ask.h"

#include <stdlib.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "deliver/clear_hosts.h"
#include "ipc/frame.h"

struct frame *clear_hosts_ask_frame(const void *owner, bool empty)
{
	struct frame *ask = frame_new(owner, FRAME_CLEAR_HOSTS);

	frame_put_bool(ask, empty);
	return ask;
}

struct frame *clear_hosts_ask_answer(struct clear_hosts *hosts, struct frame *ask, const void *owner)
{
	const bool empty = frame_get_bool(ask);
	const int64_t now = clock_mono_ms();
	json_t *addresses = json_array();
	char text[IP_TEXT_MAX];
	int64_t left_ms;
	size_t count;

	if (frame_done(ask) < 0) {
		json_decref(addresses);
		return NULL;
	}
	const struct ip *list = clear_hosts_list(hosts, ask, now, &count, &left_ms);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(addresses, json_string(ip_format(&list[i], text)));
	if (empty)
		log_event(LOG_INFO, "clear_hosts_emptied",
			log_num("hosts", (int64_t)clear_hosts_empty(hosts, now)));
	json_t *json = json_pack("{s:b, s:b, s:o, s:I}", "on", (int)clear_hosts_is_on(hosts), "emptied",
		(int)empty, "hosts", addresses, "left_s", (json_int_t)((left_ms + 999) / 1000));
	char *dumped = text_must(json_dumps(json, JSON_COMPACT));
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_text(answer, text_of(dumped));
	free(dumped);
	json_decref(json);
	return answer;
}
