/*
 * The tar of a bundle, without the zstd around it: headers and the list of digests. What a header
 * is taken for must be what another one made of it would say, and a list must be the text it came
 * from.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/text.h"
#include "fuzz.h"
#include "kernel/import_find.h"
#include "kernel/package.h"
#include "kernel/sums.h"
#include "kernel/ustar.h"

#define SUMS_MAX 100

static void must(bool property)
{
	if (!property)
		abort();
}

static void check_header(struct span block)
{
	struct ustar_member member = { .size = 77 };
	struct err err = ERR_INIT;
	const int r = ustar_read(block, &member, &err);
	uint64_t size_max = 0;

	if (r <= 0) {
		must(member.size == 77);
		must((r < 0) == (err.kind != ERR_NONE));
		return;
	}
	must(member.size <= INT64_MAX);
	must(strlen(member.name) <= USTAR_NAME_MAX + 1);
	/* No name of a module leads anywhere else. */
	if (package_wants_module(member.name, &size_max))
		must(member.name[0] != '/' && !str_starts(member.name, "../") &&
		     !strstr(member.name, "/../") && !str_ends(member.name, "/..") && size_max > 0);
}

static void check_sums(struct span text)
{
	AUTO_SUMS sums = { .items = NULL };
	struct err err = ERR_INIT;
	size_t bytes = 0;

	if (sums_parse(text, SUMS_MAX, &sums, &err) < 0) {
		must(sums.items == NULL && err.kind != ERR_NONE);
		return;
	}
	must(sums.count <= SUMS_MAX);
	for (size_t i = 0; i < sums.count; i++) {
		must(sums_find(&sums, sums.items[i].name) == &sums.items[i]);
		must(strlen(sums.items[i].sha256) == SHA256_TEXT_SIZE - 1);
		bytes += SHA256_TEXT_SIZE - 1 + 2 + strlen(sums.items[i].name) + 1;
	}
	must(bytes == text.len);
}

static void check_metadata(struct span text)
{
	AUTO_IMPORT_FILES files = { .vmlinux = NULL };
	struct err err = ERR_INIT;

	if (import_parse_metadata(text, &files, &err) < 0)
		must(!files.vmlinux && !files.version && err.kind != ERR_NONE);
	else if (files.vmlinux)
		must(files.vmlinux[0] != '/' && files.vmlinux[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_of(data, size);

	check_sums(rest);
	check_metadata(rest);
	while (rest.len >= USTAR_BLOCK_SIZE) {
		check_header(span_of(rest.ptr, USTAR_BLOCK_SIZE));
		rest = span_skip(rest, USTAR_BLOCK_SIZE);
	}
	return 0;
}
