#include "config/stored.h"

#include "config/names.h"

bool stored_is_name(struct text name)
{
	return names_is_name(name) && !text_ends_nocase(name, TEXT(".new"));
}
