#include "oci/verify.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define CHUNK_BYTES 131072

int oci_verify_file(int fd, const struct oci_descriptor *blob, const char *stage,
		    const struct cancel *cancel, const struct progress *progress, struct err *err)
{
	AUTO_OCI_VERIFIER verifier = OCI_VERIFIER_INIT;
	AUTO_FREE uint8_t *chunk = mem_alloc(CHUNK_BYTES, 1);
	ssize_t n;
	int r = oci_verifier_begin(&verifier, &blob->digest, blob->size, err);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "read");
	while (r == 0 && (n = fd_read_some(fd, chunk, CHUNK_BYTES)) != 0) {
		if (n < 0)
			return err_sys(err, (int)n, "read");
		r = oci_verifier_take(&verifier, span_of(chunk, (size_t)n), err);
		if (r == 0)
			r = cancel_check(cancel, err);
		progress_report(progress, stage, blob->digest.text, verifier.taken, blob->size);
	}
	if (r == 0)
		r = oci_verifier_finish(&verifier, err);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = err_sys(err, -errno, "read");
	return r;
}
