#include "pki/secret.h"

#include <talloc.h>

#include "base/base.h"

static int wipe(char *secret)
{
	explicit_bzero(secret, talloc_get_size(secret));
	return 0;
}

char *secret_room(const void *owner, size_t len)
{
	char *room = text_must(talloc_zero_size(owner, len + 1));

	talloc_set_destructor(room, wipe);
	return room;
}

char *secret_copy(const void *owner, struct text t)
{
	char *copy = secret_room(owner, t.len);

	memcpy(copy, t.at, t.len);
	return copy;
}
