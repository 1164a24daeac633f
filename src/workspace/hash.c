#include "workspace/hash.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void git_oid_hex(struct span raw, char ret[static GIT_OID_HEX_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < raw.len; i++) {
		ret[2 * i] = digits[raw.ptr[i] >> 4];
		ret[2 * i + 1] = digits[raw.ptr[i] & 15];
	}
	ret[2 * raw.len] = '\0';
}

int object_hash_begin(struct blob_hash *hash, bool is_sha256, const char *type, uint64_t size,
		      struct err *err)
{
	char head[32];
	EVP_MD_CTX *context = hash->context ? hash->context : EVP_MD_CTX_new();
	int len;

	hash->context = context;
	hash->is_sha256 = is_sha256;
	if (!context || !EVP_DigestInit_ex(context, is_sha256 ? EVP_sha256() : EVP_sha1(), NULL))
		return err_set(err, ERR_UNSUPPORTED, "libcrypto cannot make a %s hash",
			       is_sha256 ? "SHA-256" : "SHA-1");
	if (!type)
		return 0;
	len = snprintf(head, sizeof(head), "%s %" PRIu64, type, size);
	blob_hash_add(hash, span_of(head, (size_t)len + 1));
	return 0;
}

int blob_hash_begin(struct blob_hash *hash, bool is_sha256, uint64_t size, struct err *err)
{
	return object_hash_begin(hash, is_sha256, "blob", size, err);
}

void blob_hash_add(struct blob_hash *hash, struct span bytes)
{
	(void)EVP_DigestUpdate(hash->context, bytes.ptr, bytes.len);
}

size_t blob_hash_end_raw(struct blob_hash *hash, uint8_t ret[static GIT_OID_RAW_MAX])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	(void)EVP_DigestFinal_ex(hash->context, raw, &size);
	if (size > GIT_OID_RAW_MAX)
		size = GIT_OID_RAW_MAX;
	memcpy(ret, raw, size);
	return size;
}

void blob_hash_end(struct blob_hash *hash, char ret[static GIT_OID_HEX_MAX + 1])
{
	uint8_t raw[GIT_OID_RAW_MAX];
	const size_t size = blob_hash_end_raw(hash, raw);

	git_oid_hex(span_of(raw, size), ret);
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
