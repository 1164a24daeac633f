#include "oci/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"
#include "base/text.h"

#define SHOWN_DIGEST_MAX 160 /* bytes of a malformed digest in a message */

static const struct {
	const char *name;
	size_t digits;
} algorithms[OCI_ALGORITHM_COUNT] = {
	[OCI_SHA256] = { "sha256", 64 },
	[OCI_SHA512] = { "sha512", 128 },
};

static bool is_hex(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.ptr[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

bool oci_digest_parse(struct span text, struct oci_digest *ret)
{
	for (unsigned int i = 0; i < OCI_ALGORITHM_COUNT; i++) {
		struct span rest = text;

		if (!parse_literal(&rest, algorithms[i].name) || !parse_byte(&rest, ':'))
			continue;
		if (rest.len != algorithms[i].digits || !is_hex(rest))
			return false;
		*ret = (struct oci_digest){ .algorithm = (enum oci_algorithm)i };
		memcpy(ret->text, text.ptr, text.len);
		return true;
	}
	return false;
}

int oci_digest_read(const char *text, const char *what, struct oci_digest *ret, struct err *err)
{
	if (oci_digest_parse(span_str(text), ret))
		return 0;
	return err_set(err, ERR_PROTOCOL,
		       "%s '%.*s' is not sha256: or sha512: and their 64 or 128 digits in lower "
		       "case",
		       what, SHOWN_DIGEST_MAX, text);
}

const char *oci_algorithm_name(enum oci_algorithm algorithm)
{
	return algorithms[algorithm].name;
}

const char *oci_digest_hex(const struct oci_digest *digest)
{
	return digest->text + strlen(algorithms[digest->algorithm].name) + 1;
}

bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b)
{
	return str_eq(a->text, b->text);
}

static const EVP_MD *method_of(enum oci_algorithm algorithm)
{
	return algorithm == OCI_SHA512 ? EVP_sha512() : EVP_sha256();
}

static int hash_failed(struct err *err)
{
	return err_set(err, ERR_UNSUPPORTED, "libcrypto refuses to hash");
}

int oci_hasher_begin(struct oci_hasher *hasher, enum oci_algorithm algorithm, struct err *err)
{
	if (!hasher->ctx)
		hasher->ctx = EVP_MD_CTX_new();
	hasher->algorithm = algorithm;
	return hasher->ctx && EVP_DigestInit_ex(hasher->ctx, method_of(algorithm), NULL) == 1
		       ? 0
		       : hash_failed(err);
}

int oci_hasher_add(struct oci_hasher *hasher, struct span bytes, struct err *err)
{
	return EVP_DigestUpdate(hasher->ctx, bytes.ptr, bytes.len) == 1 ? 0 : hash_failed(err);
}

int oci_hasher_finish(struct oci_hasher *hasher, struct oci_digest *ret, struct err *err)
{
	uint8_t bytes[EVP_MAX_MD_SIZE];
	AUTO_BUF text = BUF_INIT;
	unsigned int size = 0;

	if (EVP_DigestFinal_ex(hasher->ctx, bytes, &size) != 1)
		return hash_failed(err);
	buf_addf(&text, "%s:", algorithms[hasher->algorithm].name);
	text_hex(&text, span_of(bytes, size));
	assert(text.len < sizeof(ret->text));
	*ret = (struct oci_digest){ .algorithm = hasher->algorithm };
	memcpy(ret->text, text.ptr, text.len);
	return 0;
}

void oci_hasher_done(struct oci_hasher *hasher)
{
	EVP_MD_CTX_free(hasher->ctx);
	hasher->ctx = NULL;
}

int oci_digest_of(enum oci_algorithm algorithm, struct span bytes, struct oci_digest *ret,
		  struct err *err)
{
	AUTO_OCI_HASHER hasher = OCI_HASHER_INIT;
	int r = oci_hasher_begin(&hasher, algorithm, err);

	if (r == 0)
		r = oci_hasher_add(&hasher, bytes, err);
	return r < 0 ? r : oci_hasher_finish(&hasher, ret, err);
}

static int compare(const struct oci_digest *wanted, const struct oci_digest *got, struct err *err)
{
	if (oci_digest_eq(wanted, got))
		return 0;
	return err_set(err, ERR_PROTOCOL, "the content has the digest %s, not %s", got->text,
		       wanted->text);
}

int oci_digest_check(const struct oci_digest *digest, struct span bytes, struct err *err)
{
	struct oci_digest got;
	const int r = oci_digest_of(digest->algorithm, bytes, &got, err);

	return r < 0 ? r : compare(digest, &got, err);
}

int oci_verifier_begin(struct oci_verifier *verifier, const struct oci_digest *digest,
		       uint64_t size, struct err *err)
{
	verifier->digest = *digest;
	verifier->size = size;
	verifier->taken = 0;
	return oci_hasher_begin(&verifier->hasher, digest->algorithm, err);
}

int oci_verifier_take(struct oci_verifier *verifier, struct span bytes, struct err *err)
{
	if (bytes.len > verifier->size - verifier->taken)
		return err_set(err, ERR_PROTOCOL, "the content is longer than its %llu bytes",
			       (unsigned long long)verifier->size);
	verifier->taken += bytes.len;
	return oci_hasher_add(&verifier->hasher, bytes, err);
}

int oci_verifier_finish(struct oci_verifier *verifier, struct err *err)
{
	struct oci_digest got;
	int r;

	if (verifier->taken != verifier->size)
		return err_set(err, ERR_PROTOCOL, "the content ended after %llu of its %llu bytes",
			       (unsigned long long)verifier->taken,
			       (unsigned long long)verifier->size);
	r = oci_hasher_finish(&verifier->hasher, &got, err);
	return r < 0 ? r : compare(&verifier->digest, &got, err);
}

void oci_verifier_done(struct oci_verifier *verifier)
{
	oci_hasher_done(&verifier->hasher);
}
