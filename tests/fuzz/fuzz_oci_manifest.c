/*
 * Documents of registries. Properties: a refusal has a kind and a message that is safe to print and
 * leaves the result untouched; no bytes are an index and a manifest at once; what was accepted
 * keeps its limits, its digests are proper ones, and what is chosen from an index is an image or an
 * index.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "fuzz.h"
#include "oci/manifest.h"

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

static void check_digest(const struct oci_digest *digest)
{
	struct oci_digest again;

	want(oci_digest_parse(span_str(digest->text), &again) && oci_digest_eq(digest, &again));
	want(strlen(oci_digest_hex(digest)) == (digest->algorithm == OCI_SHA512 ? 128 : 64));
}

static bool check_index(struct span text)
{
	AUTO_OCI_INDEX index = OCI_INDEX_INIT;
	const struct oci_index_entry *entry = NULL;
	struct oci_platform host;
	struct err err = ERR_INIT;

	if (oci_index_parse(text, &index, &err) < 0) {
		check_refusal(&err);
		want(!index.entries && index.count == 0);
		return false;
	}
	want(index.count <= OCI_INDEX_ENTRIES_MAX);
	for (size_t i = 0; i < index.count; i++)
		check_digest(&index.entries[i].descriptor.digest);
	oci_platform_host(&host);
	if (oci_index_select(&index, &host, &entry, &err) < 0) {
		check_refusal(&err);
	} else {
		want(entry >= index.entries && entry < index.entries + index.count);
		want(entry->kind != OCI_KIND_OTHER);
		want(!entry->has_platform || str_eq(entry->platform.os, host.os));
	}
	return true;
}

static bool check_manifest(struct span text)
{
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
	struct err err = ERR_INIT;

	if (oci_manifest_parse(text, &manifest, &err) < 0) {
		check_refusal(&err);
		want(!manifest.layers && manifest.layer_count == 0);
		return false;
	}
	want(manifest.layer_count >= 1 && manifest.layer_count <= OCI_LAYERS_MAX);
	want(manifest.config.size <= OCI_CONFIG_BYTES_MAX);
	check_digest(&manifest.config.digest);
	for (size_t i = 0; i < manifest.layer_count; i++) {
		check_digest(&manifest.layers[i].descriptor.digest);
		want(manifest.layers[i].descriptor.size > 0 &&
		     manifest.layers[i].descriptor.size <= OCI_BLOB_BYTES_MAX);
	}
	return true;
}

static void check_config(struct span text)
{
	AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;
	struct err err = ERR_INIT;

	if (oci_config_parse(text, &config, &err) < 0) {
		check_refusal(&err);
		want(!config.os && !config.diff_ids);
		return;
	}
	want(config.os && config.architecture && config.diff_id_count <= OCI_LAYERS_MAX);
	want(config.env.count <= OCI_STRINGS_MAX && config.cmd.count <= OCI_STRINGS_MAX);
	for (size_t i = 0; i < config.diff_id_count; i++)
		check_digest(&config.diff_ids[i]);
}

static void check_platform(struct span text)
{
	char again[OCI_PLATFORM_TEXT_SIZE];
	struct oci_platform platform;

	if (!oci_platform_parse(text, &platform))
		return;
	oci_platform_text(&platform, again);
	want(span_eq(span_str(again), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span text = span_of(data, size);
	struct err err = ERR_INIT;
	enum oci_kind kind = OCI_KIND_OTHER;
	const bool has_kind = oci_document_kind(text, NULL, &kind, &err) == 0;
	const bool is_index = check_index(text), is_manifest = check_manifest(text);

	want(!(is_index && is_manifest));
	if (has_kind)
		want(kind == OCI_KIND_INDEX ? !is_manifest : !is_index);
	else
		check_refusal(&err);
	check_config(text);
	check_platform(text);
	return 0;
}
