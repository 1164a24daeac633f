/*
 * docker-archives: any bytes as the file, and as manifest.json alone. Properties: a refusal has a
 * kind and a message that is safe to print; members are within the file and have names that do not
 * leave it; layers of what is accepted are as many as diff_ids, not empty, and can be copied out,
 * every byte from within the file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/text.h"
#include "fuzz.h"
#include "oci/archive.h"
#include "oci/tar_index.h"

static void want(bool condition)
{
	if (!condition)
		abort();
}

static void check_refusal(const struct err *err)
{
	want(err->kind != ERR_NONE && err->message[0] != '\0');
	want(text_is_utf8(span_str(err->message)));
	for (size_t i = 0; err->message[i] != '\0'; i++)
		want((unsigned char)err->message[i] >= ' ' && err->message[i] != 0x7f);
}

static void check_manifest(struct span text)
{
	AUTO_OCI_ARCHIVE_MANIFEST manifest = OCI_ARCHIVE_MANIFEST_INIT;
	struct err err = ERR_INIT;

	if (oci_archive_manifest_parse(text, &manifest, &err) < 0) {
		check_refusal(&err);
		want(!manifest.config);
		return;
	}
	want(manifest.config && manifest.layers.count >= 1 &&
	     manifest.layers.count <= OCI_LAYERS_MAX);
}

static bool leaves(const char *name)
{
	return name[0] == '/' || str_starts(name, "../") || str_eq(name, "..") ||
	       strstr(name, "/../") || str_ends(name, "/..");
}

static void check_index(int fd, size_t size)
{
	AUTO_TAR_INDEX index = TAR_INDEX_INIT;
	struct err err = ERR_INIT;

	if (tar_index_read(fd, NULL, &index, &err) < 0) {
		check_refusal(&err);
		want(index.count == 0);
		return;
	}
	want(index.count <= TAR_INDEX_MEMBERS_MAX);
	for (size_t i = 0; i < index.count; i++) {
		const struct tar_member *member = &index.members[i], *found;

		want(member->offset <= size && member->size <= size - member->offset);
		want(strlen(member->name) <= TAR_INDEX_NAME_MAX && !leaves(member->name));
		want(!member->target || !leaves(member->target));
		if (tar_index_find(&index, member->name, &found, &err) == 0)
			want(found->type == TAR_MEMBER_FILE);
	}
}

static int count_bytes(void *context, struct span bytes, struct err *err)
{
	uint64_t *count = context;

	(void)err;
	*count += bytes.len;
	return 0;
}

static void check_archive(const char *path)
{
	CLEANUP(oci_archive_freep) struct oci_archive *archive = NULL;
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	AUTO_BUF config = BUF_INIT;
	struct err err = ERR_INIT;
	struct oci_blob_source source;

	if (oci_archive_open(path, NULL, &archive, &err) < 0 ||
	    oci_archive_image(archive, NULL, &manifest, &config, &err) < 0) {
		check_refusal(&err);
		want(manifest.layer_count == 0 && config.len == 0);
		return;
	}
	want(manifest.layer_count >= 1 && manifest.layer_count <= OCI_LAYERS_MAX);
	source = oci_archive_source(archive);
	for (size_t i = 0; i < manifest.layer_count; i++) {
		const struct oci_fetch fetch = { .blob = &manifest.layers[i].descriptor };
		uint64_t count = 0;
		const struct fetch_sink sink = { .take = count_bytes, .context = &count };

		want(fetch.blob->size > 0);
		want(source.fetch(source.context, &fetch, &sink, &err) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_CLOSE int fd = memfd_create("archive", MFD_CLOEXEC);
	char path[64];

	want(fd >= 0 && fd_write_all(fd, span_of(data, size)) == 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check_manifest(span_of(data, size));
	check_index(fd, size);
	check_archive(path);
	return 0;
}
