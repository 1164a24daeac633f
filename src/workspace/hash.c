#include "workspace/hash.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

int blob_hash_begin(struct blob_hash *hash, bool is_sha256, uint64_t size, struct err *err)
{
	char head[32];
	const int len = snprintf(head, sizeof(head), "blob %" PRIu64, size);
	EVP_MD_CTX *context = hash->context ? hash->context : EVP_MD_CTX_new();

	hash->context = context;
	hash->is_sha256 = is_sha256;
	if (!context || !EVP_DigestInit_ex(context, is_sha256 ? EVP_sha256() : EVP_sha1(), NULL))
		return err_set(err, ERR_UNSUPPORTED, "libcrypto cannot make a %s hash",
			       is_sha256 ? "SHA-256" : "SHA-1");
	blob_hash_add(hash, span_of(head, (size_t)len + 1));
	return 0;
}

void blob_hash_add(struct blob_hash *hash, struct span bytes)
{
	(void)EVP_DigestUpdate(hash->context, bytes.ptr, bytes.len);
}

void blob_hash_end(struct blob_hash *hash, char ret[static GIT_OID_HEX_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	(void)EVP_DigestFinal_ex(hash->context, raw, &size);
	for (size_t i = 0; i < size && i < GIT_OID_HEX_MAX / 2; i++) {
		ret[2 * i] = digits[raw[i] >> 4];
		ret[2 * i + 1] = digits[raw[i] & 15];
	}
	ret[hash->is_sha256 ? GIT_OID_HEX_MAX : 40] = '\0';
}

void blob_hash_done(struct blob_hash *hash)
{
	EVP_MD_CTX_free(hash->context);
	hash->context = NULL;
}

int blob_hash_of(bool is_sha256, struct span bytes, char ret[static GIT_OID_HEX_MAX + 1],
		 struct err *err)
{
	AUTO_BLOB_HASH hash = { .context = NULL };
	const int r = blob_hash_begin(&hash, is_sha256, bytes.len, err);

	if (r < 0)
		return r;
	blob_hash_add(&hash, bytes);
	blob_hash_end(&hash, ret);
	return 0;
}
