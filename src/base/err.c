/* One number for every failure, one phrase for every number. strerror() is banned: it reads locale files. */
#include "base/err.h"

#include <string.h>

const char *err_text(int error)
{
	switch (error) {
	case ERR_CLOSED:
		return "the connection was closed";
	case ERR_STOPPED:
		return "this process is stopping";
	case ERR_TOO_LONG:
		return "longer than its limit";
	case ERR_TLS:
		return "TLS failed";
	case ERR_FORMAT:
		return "malformed";
	case ERR_QUOTA:
		return "limits.queue_quota is reached";
	case ERR_FLOOD:
		return "the peer sent too many TLS messages without data";
	}
	const char *text = strerrordesc_np(-error);
	return text != NULL ? text : "unknown error";
}
