/* Downloads of files with known content. */
#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "fetch/fetch.h"

#define SHA256_BYTES 32

struct file_sink {
	const struct fetch_file *file; /* borrowed */
	EVP_MD_CTX *hash;	       /* owned */
	uint64_t written;
};

static void file_sink_done(struct file_sink *sink)
{
	EVP_MD_CTX_free(sink->hash);
}

static int take(void *context, struct span bytes, struct err *err)
{
	struct file_sink *sink = context;
	const struct fetch_file *file = sink->file;
	int r;

	r = fd_pwrite_all(file->fd, bytes, sink->written);
	if (r < 0)
		return err_sys(err, r, "write what was downloaded");
	if (EVP_DigestUpdate(sink->hash, bytes.ptr, bytes.len) != 1)
		return err_set(err, ERR_SYSTEM, "hash what was downloaded: libcrypto failed");
	sink->written += bytes.len;
	progress_report(file->progress, file->stage, NULL, sink->written, file->size);
	return 0;
}

static int check_digest(const struct file_sink *sink, struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	AUTO_BUF text = BUF_INIT;

	if (EVP_DigestFinal_ex(sink->hash, digest, &size) != 1 || size != SHA256_BYTES)
		return err_set(err, ERR_SYSTEM, "hash what was downloaded: libcrypto failed");
	text_hex(&text, span_of(digest, size));
	if (!str_eq(text.ptr, sink->file->sha256))
		return err_set(err, ERR_PROTOCOL, "it has sha256 %s instead of %s", text.ptr,
			       sink->file->sha256);
	return 0;
}

int fetch_file(const struct fetch_file *file, struct err *err)
{
	CLEANUP(file_sink_done)
	struct file_sink sink = { .file = file, .hash = EVP_MD_CTX_new() };
	const struct fetch_sink taker = { .take = take, .context = &sink };
	const struct fetch_request request = {
		.url = file->url,
		.size = file->size,
		.policy = file->policy,
		.cancel = file->cancel,
	};
	AUTO_FETCH_RESPONSE response = FETCH_RESPONSE_INIT;
	int r;

	assert(strlen(file->sha256) == (size_t)SHA256_BYTES * 2);
	if (!sink.hash || EVP_DigestInit_ex(sink.hash, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_SYSTEM, "hash a download: libcrypto failed");

	progress_report(file->progress, file->stage, NULL, 0, file->size);
	r = fetch_get(&request, &taker, &response, err);
	if (r < 0)
		return r;
	if (response.status != 200 && response.status != 206)
		return fetch_status_error(&response, file->url, err);
	r = check_digest(&sink, err);
	return r < 0 ? err_context(err, r, "'%.*s' is not what it should be",
				   (int)strcspn(file->url, "?"), file->url)
		     : 0;
}
