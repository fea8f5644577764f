/* Who changed the store or the lists: into the record beside them, and into the log of a running gateway. */
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "pki/changes.h"

enum { TELL_MS = 5000 };

int cli_change_begin(const struct cli_gateway *gateway, const struct change *change)
{
	int r = changes_add(gateway->state_dir, change);

	if (r == 0)
		return CLI_FINE;
	fprintf(stderr,
		"postern: nothing was changed, because it cannot be recorded in %s/pki/" CHANGES_FILE
		": %s%s\n",
		gateway->state_dir, err_text(r),
		r == -ENOENT ? "; start the gateway once, which makes the directory, or make it"
		: r == -EACCES || r == -EPERM ? "; run this as root, or as the user that runs the gateway"
					      : "");
	return CLI_FAILED;
}

static void tell(const struct cli_gateway *gateway, const struct change *change)
{
	const struct passwd *user = getpwuid(getuid());
	struct frame *ask = frame_new(NULL, FRAME_CONTROL_CHANGED), *answer;

	frame_put_text(ask, text_of(change->what));
	frame_put_optional(ask, change->name);
	frame_put_optional(ask, change->before);
	frame_put_optional(ask, change->after);
	frame_put_optional(ask, user == NULL ? NULL : user->pw_name);
	cli_send(gateway, ask, TELL_MS, ask, &answer);
	talloc_free(ask);
}

void cli_change_end(const struct cli_gateway *gateway, const struct change *change, int result)
{
	struct change failed = *change;

	if (result == 0 && cli_is_running(gateway))
		tell(gateway, change);
	failed.failed = err_text(result);
	if (result < 0)
		changes_add(gateway->state_dir, &failed); /* what it was about stands in the record already */
}
