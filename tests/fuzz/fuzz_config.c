/* Configuration: any bytes as YAML give a config or problems; a config that is shown reads the same again. Any bytes as
 * a sealed memfd give a bundle or NULL, and whatever configuration is in it is read, too. */
#include "config/config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/problems.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static const struct config *read_yaml(const void *owner, struct text yaml)
{
	struct bundle *bundle = bundle_new(owner, 1);
	struct problems *problems = problems_new(owner);

	bundle_add(bundle, "dir/x.yaml", yaml, BUNDLE_ALL);
	const struct config *config = config_read(bundle, "dir/x.yaml", problems);
	must((config == NULL) == (problems->count > 0));
	for (size_t i = 0; i < problems->count; i++)
		must(problems_format(problems, &problems->list[i])[0] != '\0');
	return config;
}

static void check_yaml(const void *owner, struct text yaml)
{
	const struct config *config = read_yaml(owner, yaml);

	if (config == NULL)
		return;
	char *once = config_show(owner, config, false);
	const struct config *again = read_yaml(owner, text_of(once));
	must(again != NULL);
	must(strcmp(once, config_show(owner, again, false)) == 0);
	must(strcmp(config_show(owner, config, true), config_show(owner, again, true)) == 0);
	config_release(again);
	config_release(config);
}

static void check_image(const void *owner, const uint8_t *data, size_t size)
{
	CLEANUP(base_close) int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
	struct bundle *bundle = bundle_open(owner, fd);
	if (bundle == NULL)
		return;

	struct text yaml = bundle_find(bundle, "x.yaml");
	must(yaml.len <= size);
	if (yaml.at != NULL)
		config_release(config_read(bundle, "x.yaml", problems_new(owner)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *owner = talloc_new(NULL);

	check_yaml(owner, (struct text){ (const char *)data, size });
	check_image(owner, data, size);
	talloc_free(owner);
	return 0;
}
