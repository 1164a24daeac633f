/*
 * References to images. What is accepted prints to a full form that means the same and prints to
 * itself; its parts keep to their grammar, and the name made of it is an image's name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/names.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool condition)
{
	if (!condition)
		abort();
}

static bool only_of(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

/* What goes into URLs and file names must not be able to mean anything else there. */
static void check_parts(const struct oci_reference *reference)
{
	if (reference->kind != OCI_REFERENCE_REGISTRY) {
		want(reference->path && reference->path[0] != '\0');
		want(!reference->registry && !reference->repository && !reference->digest);
		return;
	}
	want(only_of(reference->registry, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]"));
	want(only_of(reference->repository, "abcdefghijklmnopqrstuvwxyz0123456789._-/"));
	want(!strstr(reference->repository, "..") && !strstr(reference->repository, "//"));
	want(reference->repository[0] != '/' && !str_ends(reference->repository, "/"));
	want(strlen(reference->repository) <= OCI_REPOSITORY_BYTES_MAX);
	want(reference->tag || reference->digest);
	if (reference->tag)
		want(!strpbrk(reference->tag, "/:@?#% ") &&
		     strlen(reference->tag) <= OCI_TAG_BYTES_MAX);
	want(!reference->path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = mem_strndup((const char *)data, size);
	AUTO_OCI_REFERENCE first = OCI_REFERENCE_INIT, second = OCI_REFERENCE_INIT;
	AUTO_BUF printed = BUF_INIT, again = BUF_INIT;
	AUTO_FREE char *name = NULL;
	struct err err = ERR_INIT;

	(void)oci_reference_looks_like_one(text);
	if (oci_reference_parse(text, &first, &err) < 0) {
		want(err.kind == ERR_INVALID && !first.registry && !first.path && !first.tag);
		return 0;
	}
	check_parts(&first);
	oci_reference_to_text(&first, &printed);
	if (printed.len <= OCI_REFERENCE_BYTES_MAX) {
		want(oci_reference_parse(printed.ptr, &second, &err) == 0);
		oci_reference_to_text(&second, &again);
		want(str_eq(printed.ptr, again.ptr) && first.kind == second.kind);
		want(str_eq(first.tag, second.tag) && str_eq(first.path, second.path));
	}
	if (oci_reference_image_name(&first, &name, &err) == 0)
		want(name_is_artifact(name));
	return 0;
}
