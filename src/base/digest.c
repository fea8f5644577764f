/* SHA-256 of memory and of files. Content that lies in a file is checked by every reader with this. */
#include "base/digest.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "base/base.h"

struct digest digest_of(struct text t)
{
	struct digest digest;

	if (EVP_Digest(t.at, t.len, digest.bytes, NULL, EVP_sha256(), NULL) != 1)
		abort();
	return digest;
}

static int read_all(EVP_MD_CTX *context, int fd, uint64_t size)
{
	char buffer[8192];
	uint64_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, buffer, (size_t)MIN(sizeof buffer, size - done), (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		if (EVP_DigestUpdate(context, buffer, (size_t)n) != 1)
			abort();
		done += (uint64_t)n;
	}
	return 0;
}

int digest_of_file(int fd, uint64_t size, struct digest *ret_digest)
{
	EVP_MD_CTX *context = text_must(EVP_MD_CTX_new());
	struct digest digest;

	if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
		abort();
	int r = read_all(context, fd, size);
	if (r == 0 && EVP_DigestFinal_ex(context, digest.bytes, NULL) != 1)
		abort();
	EVP_MD_CTX_free(context);
	if (r == 0)
		*ret_digest = digest;
	return r;
}

char *digest_hex(const struct digest *digest, char *ret_text)
{
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", digest->bytes[i]);
	return ret_text;
}
