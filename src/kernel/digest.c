#include "kernel/digest.h"

#include <assert.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define PIECE_SIZE ((size_t)256 * 1024)

#define FAILED "libcrypto cannot make a SHA-256"

struct digest {
	EVP_MD_CTX *context; /* owned */
};

static void context_end(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

static int finish(EVP_MD_CTX *context, char ret[static SHA256_TEXT_SIZE], struct err *err)
{
	AUTO_BUF text = BUF_INIT;
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	if (EVP_DigestFinal_ex(context, digest, &size) != 1)
		return err_set(err, ERR_SYSTEM, FAILED);
	text_hex(&text, span_of(digest, size));
	assert(text.len == SHA256_TEXT_SIZE - 1);
	memcpy(ret, text.ptr, SHA256_TEXT_SIZE);
	return 0;
}

int digest_bytes(struct span bytes, char ret[static SHA256_TEXT_SIZE], struct err *err)
{
	CLEANUP(context_end) EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(context, bytes.ptr, bytes.len) != 1)
		return err_set(err, ERR_SYSTEM, FAILED);
	return finish(context, ret, err);
}

int digest_file(int fd, const struct cancel *cancel, char ret[static SHA256_TEXT_SIZE],
		struct err *err)
{
	CLEANUP(context_end) EVP_MD_CTX *context = EVP_MD_CTX_new();
	AUTO_FREE uint8_t *piece = mem_alloc(1, PIECE_SIZE);
	off_t offset = 0;

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_SYSTEM, FAILED);
	for (;;) {
		const ssize_t n = pread(fd, piece, PIECE_SIZE, offset);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "read a file for its SHA-256");
		if (n == 0)
			return finish(context, ret, err);
		r = cancel_check(cancel, err);
		if (r < 0)
			return r;
		if (EVP_DigestUpdate(context, piece, (size_t)n) != 1)
			return err_set(err, ERR_SYSTEM, FAILED);
		offset += n;
	}
}

int digest_new(struct digest **ret, struct err *err)
{
	CLEANUP(digest_freep) struct digest *digest = mem_alloc(1, sizeof(*digest));

	digest->context = EVP_MD_CTX_new();
	if (!digest->context || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_SYSTEM, FAILED);
	*ret = TAKE_PTR(digest);
	return 0;
}

void digest_free(struct digest *digest)
{
	if (!digest)
		return;
	EVP_MD_CTX_free(digest->context);
	mem_free(digest);
}

int digest_add(struct digest *digest, struct span bytes, struct err *err)
{
	if (EVP_DigestUpdate(digest->context, bytes.ptr, bytes.len) != 1)
		return err_set(err, ERR_SYSTEM, FAILED);
	return 0;
}

int digest_finish(struct digest *digest, char ret[static SHA256_TEXT_SIZE], struct err *err)
{
	return finish(digest->context, ret, err);
}
