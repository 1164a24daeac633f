#include "daemon/ssh_key.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/mem.h"

#define KEY_BYTES   32 /* RFC 8032: public key and private seed alike */
#define BLOCK_BYTES 8  /* padding of an unencrypted private part */
#define LINE_CHARS  70

static const char algorithm[] = "ssh-ed25519";

static void add_string(struct buf *out, struct span bytes)
{
	buf_add_be32(out, (uint32_t)bytes.len);
	buf_add(out, bytes);
}

static void add_base64(struct buf *out, struct span bytes)
{
	const size_t room = (bytes.len + 2) / 3 * 4;

	buf_reserve(out, room + 1);
	buf_advance(out, (size_t)EVP_EncodeBlock((unsigned char *)out->ptr + out->len, bytes.ptr,
						 (int)bytes.len));
}

static void add_public_blob(struct buf *out, struct span public_key)
{
	add_string(out, span_str(algorithm));
	add_string(out, public_key);
}

/* The list of private keys: two equal check numbers, the key, its comment, padding 1 2 3 ... */
static void add_private_part(struct buf *out, struct span seed, struct span public_key,
			     const char *comment, uint32_t check)
{
	AUTO_BUF both = BUF_INIT;

	buf_add_be32(out, check);
	buf_add_be32(out, check);
	add_public_blob(out, public_key);
	buf_reserve(&both,
		    2UL * KEY_BYTES); /* at once, so that no copy of the seed is left behind */
	buf_add(&both, seed);
	buf_add(&both, public_key);
	add_string(out, buf_span(&both));
	add_string(out, span_str(comment));
	for (uint8_t pad = 1; out->len % BLOCK_BYTES != 0; pad++)
		buf_add_byte(out, pad);
	ssh_key_wipe(&both);
}

static void format_private(struct span seed, struct span public_key, const char *comment,
			   uint32_t check, struct buf *out)
{
	AUTO_BUF blob = BUF_INIT;
	AUTO_BUF part = BUF_INIT;
	AUTO_BUF text = BUF_INIT;

	buf_reserve(&blob, 1024);
	buf_reserve(&part, 1024);
	buf_reserve(&text, 2048);
	buf_reserve(out, 2048);
	buf_add(&blob, span_of("openssh-key-v1", sizeof("openssh-key-v1"))); /* with its NUL */
	add_string(&blob, span_str("none"));
	add_string(&blob, span_str("none"));
	add_string(&blob, span_of(NULL, 0));
	buf_add_be32(&blob, 1);
	add_public_blob(&part, public_key);
	add_string(&blob, buf_span(&part));
	buf_clear(&part);
	add_private_part(&part, seed, public_key, comment, check);
	add_string(&blob, buf_span(&part));
	add_base64(&text, buf_span(&blob));

	buf_add_str(out, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	for (size_t at = 0; at < text.len; at += LINE_CHARS) {
		const size_t len = text.len - at < LINE_CHARS ? text.len - at : LINE_CHARS;

		buf_add(out, span_of(text.ptr + at, len));
		buf_add_byte(out, '\n');
	}
	buf_add_str(out, "-----END OPENSSH PRIVATE KEY-----\n");
	ssh_key_wipe(&blob);
	ssh_key_wipe(&part);
	ssh_key_wipe(&text);
}

int ssh_key_generate(const char *comment, struct buf *private_pem, struct buf *public_line,
		     struct err *err)
{
	uint8_t seed[KEY_BYTES], public_key[KEY_BYTES];
	size_t seed_len = sizeof(seed), public_len = sizeof(public_key);
	AUTO_BUF blob = BUF_INIT;
	uint32_t check = 0;
	EVP_PKEY *key;
	bool is_made;

	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	is_made = key && EVP_PKEY_get_raw_private_key(key, seed, &seed_len) == 1 &&
		  EVP_PKEY_get_raw_public_key(key, public_key, &public_len) == 1 &&
		  seed_len == sizeof(seed) && public_len == sizeof(public_key) &&
		  RAND_bytes((unsigned char *)&check, sizeof(check)) == 1;
	EVP_PKEY_free(key);
	if (!is_made)
		return err_set(err, ERR_SYSTEM, "make an Ed25519 key: OpenSSL refused");

	format_private(span_of(seed, sizeof(seed)), span_of(public_key, sizeof(public_key)),
		       comment, check, private_pem);
	explicit_bzero(seed, sizeof(seed));
	add_public_blob(&blob, span_of(public_key, sizeof(public_key)));
	buf_addf(public_line, "%s ", algorithm);
	add_base64(public_line, buf_span(&blob));
	buf_addf(public_line, " %s", comment);
	return 0;
}

void ssh_key_wipe(struct buf *secret)
{
	if (secret->cap > 0)
		explicit_bzero(secret->ptr, secret->cap);
	secret->len = 0;
}
