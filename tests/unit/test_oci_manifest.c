/* Digests, indexes, manifests and configs: what registries may send, and what they may not. */
#include "check.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "oci/manifest.h"

#define A8  "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define DA  "'sha256:" A64 "'"
#define OCI "application/vnd.oci.image."
#define DKR "application/vnd.docker."

/* JSON with single quotes, so that it can be read in C. */
static void quoted(struct buf *out, const char *text)
{
	buf_clear(out);
	for (; *text != '\0'; text++)
		buf_add_byte(out, *text == '\'' ? '"' : (uint8_t)*text);
}

static void test_digests(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "sha256:" A64, true },
		{ "sha512:" A64 A64, true },
		{ "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true },
		{ "sha256:" A64 "a", false },
		{ "sha256:" A8 A8 A8 A8 A8 A8 A8 "aaaaaaa", false },
		{ "sha256:AAAAAAAA" A8 A8 A8 A8 A8 A8 A8, false },
		{ "SHA256:" A64, false },
		{ "sha512:" A64, false },
		{ "sha1:" A8 A8 A8 A8 A8, false },
		{ "md5:" A8 A8 A8 A8, false },
		{ "sha256:../../" A8 A8 A8 A8 A8 A8 A8 "aa", false },
		{ "sha256:g" A8 A8 A8 A8 A8 A8 A8 "aaaaaaa", false },
		{ "sha256" A64, false },
		{ "sha256:" A64 "\n", false },
		{ " sha256:" A64, false },
		{ "sha256:", false },
		{ ":" A64, false },
		{ A64, false },
		{ "", false },
		{ "sha256+b64u:" A64, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_digest digest = { .text = "before" };
		struct err err = ERR_INIT;

		CHECK_ROW(i, oci_digest_parse(span_str(rows[i].text), &digest) == rows[i].good);
		CHECK_STR(digest.text, rows[i].good ? rows[i].text : "before");
		CHECK_ROW(i, (oci_digest_read(rows[i].text, "field 'digest'", &digest, &err) ==
			      0) == rows[i].good);
		CHECK_INT(err.kind, rows[i].good ? ERR_NONE : ERR_PROTOCOL);
		if (!rows[i].good)
			CHECK_HAS(err.message, "field 'digest'");
	}
}

static void test_digest_of_bytes(void **state)
{
	struct oci_digest digest, other;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(oci_digest_of(OCI_SHA256, span_str("abc"), &digest, &err), 0);
	CHECK_STR(digest.text,
		  "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_STR(oci_digest_hex(&digest), digest.text + 7);
	CHECK_INT(oci_digest_of(OCI_SHA512, span_str(""), &other, &err), 0);
	assert_true(str_starts(other.text, "sha512:cf83e1357eefb8bdf1542850d66d8007"));
	CHECK_INT(strlen(oci_digest_hex(&other)), 128);
	assert_false(oci_digest_eq(&digest, &other));
	CHECK_INT(oci_digest_check(&digest, span_str("abc"), &err), 0);
	assert_true(oci_digest_check(&digest, span_str("abd"), &err) < 0);
	CHECK_INT(err.kind, ERR_PROTOCOL);
	CHECK_HAS(err.message, digest.text);
}

static void test_verifier(void **state)
{
	static const struct {
		const char *bytes;
		uint64_t size;
		const char *error; /* NULL: right */
	} rows[] = {
		{ "abc", 3, NULL },
		{ "ab", 3, "ended after 2 of its 3 bytes" },
		{ "", 3, "ended after 0 of its 3 bytes" },
		{ "abcd", 3, "longer than its 3 bytes" },
		{ "abc", 2, "longer than its 2 bytes" },
		{ "abc", 4, "ended after 3 of its 4 bytes" },
		{ "abd", 3, "has the digest sha256:" },
	};
	AUTO_OCI_VERIFIER verifier = OCI_VERIFIER_INIT;
	struct oci_digest digest;
	struct err err = ERR_INIT;

	(void)state;
	CHECK_INT(oci_digest_of(OCI_SHA256, span_str("abc"), &digest, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = 0;

		err = ERR_INIT;
		CHECK_INT(oci_verifier_begin(&verifier, &digest, rows[i].size, &err), 0);
		for (const char *at = rows[i].bytes; r == 0 && *at != '\0'; at++)
			r = oci_verifier_take(&verifier, span_of(at, 1), &err);
		if (r == 0)
			r = oci_verifier_finish(&verifier, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].error == NULL));
		CHECK_INT(err.kind, rows[i].error ? ERR_PROTOCOL : ERR_NONE);
		if (rows[i].error)
			CHECK_HAS(err.message, rows[i].error);
	}
}

#define MANIFESTS "'manifests':[]"
#define LAYERS	  "'config':{},'layers':[]"
#define V2	  "'schemaVersion':2,"

static void test_kinds(void **state)
{
	static const struct {
		const char *text, *sent_as;
		enum oci_kind kind;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ "{" V2 MANIFESTS "}", NULL, OCI_KIND_INDEX, ERR_NONE, NULL },
		{ "{" V2 LAYERS "}", "", OCI_KIND_MANIFEST, ERR_NONE, NULL },
		{ "{" V2 LAYERS "}", "application/json; charset=utf-8", OCI_KIND_MANIFEST, ERR_NONE,
		  NULL },
		{ "{" V2 MANIFESTS "}", OCI "index.v1+json", OCI_KIND_INDEX, ERR_NONE, NULL },
		{ "{" V2 MANIFESTS "}", OCI "index.v1+json ; charset=utf-8", OCI_KIND_INDEX,
		  ERR_NONE, NULL },
		{ "{" V2 MANIFESTS ",'mediaType':'" DKR "distribution.manifest.list.v2+json'}",
		  DKR "distribution.manifest.list.v2+json", OCI_KIND_INDEX, ERR_NONE, NULL },
		{ "{" V2 LAYERS ",'mediaType':'" DKR "distribution.manifest.v2+json'}", NULL,
		  OCI_KIND_MANIFEST, ERR_NONE, NULL },
		/* CVE-2021-41190: both in one, or called the other. */
		{ "{" V2 MANIFESTS "," LAYERS "}", NULL, 0, ERR_PROTOCOL, "'layers'" },
		{ "{" V2 "'layers':null," MANIFESTS "}", NULL, 0, ERR_PROTOCOL, "'layers'" },
		{ "{" V2 MANIFESTS "," LAYERS "}", OCI "manifest.v1+json", 0, ERR_PROTOCOL,
		  "'manifests'" },
		{ "{" V2 MANIFESTS "}", OCI "manifest.v1+json", 0, ERR_PROTOCOL, "'manifests'" },
		{ "{" V2 LAYERS "}", OCI "index.v1+json", 0, ERR_PROTOCOL, "'layers'" },
		{ "{" V2 LAYERS ",'mediaType':'" OCI "manifest.v1+json'}",
		  DKR "distribution.manifest.v2+json", 0, ERR_PROTOCOL, "was sent as" },
		{ "{" V2 LAYERS ",'mediaType':'" OCI "index.v1+json'}", OCI "manifest.v1+json", 0,
		  ERR_PROTOCOL, "was sent as" },
		{ "{" V2 LAYERS ",'mediaType':'application/x'}", NULL, 0, ERR_UNSUPPORTED,
		  "'application/x' is neither" },
		{ "{" V2 LAYERS "}", "text/html", 0, ERR_UNSUPPORTED, "'text/html' is neither" },
		{ "{" V2 LAYERS ",'mediaType':7}", NULL, 0, ERR_PROTOCOL, "'mediaType'" },
		/* Schema 1, by each of its marks. */
		{ "{'schemaVersion':1,'fsLayers':[]}", NULL, 0, ERR_UNSUPPORTED, "schema 1" },
		{ "{'schemaVersion':2,'fsLayers':[]}", NULL, 0, ERR_UNSUPPORTED, "schema 1" },
		{ "{" V2 LAYERS "}", DKR "distribution.manifest.v1+prettyjws", 0, ERR_UNSUPPORTED,
		  "schema 1" },
		{ "{" V2 LAYERS ",'mediaType':'" DKR "distribution.manifest.v1+json'}", NULL, 0,
		  ERR_UNSUPPORTED, "schema 1" },
		{ "{" LAYERS "}", NULL, 0, ERR_PROTOCOL, "'schemaVersion' is 0" },
		{ "{'schemaVersion':3," LAYERS "}", NULL, 0, ERR_PROTOCOL, "'schemaVersion' is 3" },
		{ "{'schemaVersion':'2'," LAYERS "}", NULL, 0, ERR_PROTOCOL, "'schemaVersion'" },
		{ "[]", NULL, 0, ERR_PROTOCOL, "not an object" },
		{ "2", NULL, 0, ERR_PROTOCOL, "not an object" },
		{ "", NULL, 0, ERR_PROTOCOL, "JSON" },
		{ "{" V2 LAYERS "}}", NULL, 0, ERR_PROTOCOL, "JSON" },
		{ "{" V2 "'layers':[]," LAYERS "}", NULL, 0, ERR_PROTOCOL, "duplicate" },
		{ "\x1f\x8b\x08", NULL, 0, ERR_PROTOCOL, "JSON" },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum oci_kind kind = OCI_KIND_OTHER;
		struct err err = ERR_INIT;
		int r;

		quoted(&text, rows[i].text);
		r = oci_document_kind(buf_span(&text), rows[i].sent_as, &kind, &err);
		CHECK_ROW(i, (r == 0) == (rows[i].error == ERR_NONE));
		CHECK_INT(err.kind, rows[i].error);
		CHECK_ROW(i, kind == (rows[i].error == ERR_NONE ? rows[i].kind : OCI_KIND_OTHER));
		if (rows[i].message)
			CHECK_HAS(err.message, rows[i].message);
	}
}

#define ENTRY(type, more)	 "{'mediaType':'" type "','digest':" DA ",'size':7" more "}"
#define MANIFEST_ENTRY(more)	 ENTRY(OCI "manifest.v1+json", more)
#define PLATFORM(os, arch, more) ",'platform':{'os':'" os "','architecture':'" arch "'" more "}"
#define INDEX(entries)		 "{" V2 "'manifests':[" entries "]}"
#define AMD64			 MANIFEST_ENTRY(PLATFORM("linux", "amd64", ""))
#define ARM64			 MANIFEST_ENTRY(PLATFORM("linux", "arm64", ",'variant':'v8'"))
#define ARMV7			 MANIFEST_ENTRY(PLATFORM("linux", "arm", ",'variant':'v7'"))
#define ARMV6			 MANIFEST_ENTRY(PLATFORM("linux", "arm", ",'variant':'v6'"))
#define BUILD			 MANIFEST_ENTRY(PLATFORM("unknown", "unknown", ""))

static void test_selection(void **state)
{
	static const struct {
		const char *index, *platform;
		int chosen; /* -1: none */
		const char *message;
	} rows[] = {
		{ INDEX(AMD64 "," ARM64), "linux/amd64", 0, NULL },
		{ INDEX(ARM64 "," AMD64), "linux/amd64", 1, NULL },
		{ INDEX(ARM64 "," AMD64), "linux/amd64/v1", 1, NULL },
		{ INDEX(AMD64 "," ARM64), "linux/arm64", 1, NULL },
		{ INDEX(AMD64 "," ARM64), "linux/arm64/v8", 1, NULL },
		{ INDEX(ARMV6 "," ARMV7), "linux/arm/v7", 1, NULL },
		{ INDEX(ARMV6 "," ARMV7), "linux/arm/v6", 0, NULL },
		{ INDEX(ARMV6 "," ARMV7), "linux/arm", 1, NULL },
		{ INDEX(ARMV6), "linux/arm/v7", -1, "only for linux/arm/v6" },
		{ INDEX(AMD64 "," AMD64), "linux/amd64", 0, NULL },
		{ INDEX(MANIFEST_ENTRY(PLATFORM("linux", "amd64", ",'variant':'v3'")) "," AMD64),
		  "linux/amd64", 1, NULL },
		{ INDEX(MANIFEST_ENTRY(PLATFORM("linux", "amd64", ",'variant':'v3'"))),
		  "linux/amd64", -1, "only for linux/amd64/v3" },
		{ INDEX(AMD64), "linux/amd64/v3", 0, NULL },
		{ INDEX(BUILD "," ARM64), "linux/amd64", -1,
		  "no image for linux/amd64, only for linux/arm64/v8" },
		{ INDEX(MANIFEST_ENTRY(PLATFORM("windows", "amd64", ",'os.version':'10'"))),
		  "linux/amd64", -1, "only for windows/amd64" },
		{ INDEX(""), "linux/amd64", -1, "there is no image for linux/amd64" },
		{ INDEX(MANIFEST_ENTRY("")), "linux/amd64", 0, NULL },
		{ INDEX(MANIFEST_ENTRY(",'platform':null")), "linux/amd64", 0, NULL },
		{ INDEX(MANIFEST_ENTRY("") "," AMD64), "linux/amd64", 1, NULL },
		{ INDEX(ARM64 "," ENTRY(OCI "index.v1+json", "")), "linux/amd64", 1, NULL },
		{ INDEX(MANIFEST_ENTRY("") "," MANIFEST_ENTRY("")), "linux/amd64", -1,
		  "2 entries without a platform" },
		{ INDEX(ENTRY("application/x", PLATFORM("linux", "amd64", ""))), "linux/amd64", -1,
		  "there is no image" },
		{ INDEX(ENTRY(DKR "distribution.manifest.v1+json", PLATFORM("linux", "amd64", ""))),
		  "linux/amd64", -1, "there is no image" },
		{ INDEX(MANIFEST_ENTRY(PLATFORM("Linux", "AMD64", ""))), "linux/amd64", -1,
		  "there is no image" },
		{ INDEX(MANIFEST_ENTRY(",'platform':{}")), "linux/amd64", -1, "there is no image" },
		{ INDEX(MANIFEST_ENTRY(PLATFORM("linux", "amd64/../x", ""))), "linux/amd64", -1,
		  "there is no image" },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_INDEX index = OCI_INDEX_INIT;
		const struct oci_index_entry *entry = NULL;
		struct oci_platform platform;
		struct err err = ERR_INIT;

		assert_true(oci_platform_parse(span_str(rows[i].platform), &platform));
		quoted(&text, rows[i].index);
		CHECK_ROW(i, oci_index_parse(buf_span(&text), &index, &err) == 0);
		if (rows[i].chosen >= 0) {
			CHECK_ROW(i, oci_index_select(&index, &platform, &entry, &err) == 0);
			CHECK_INT(entry - index.entries, rows[i].chosen);
		} else {
			CHECK_ROW(i, oci_index_select(&index, &platform, &entry, &err) == -ENOENT);
			CHECK_ROW(i, entry == NULL);
			CHECK_HAS(err.message, rows[i].message);
		}
	}
}

static void test_bad_indexes(void **state)
{
	static const struct {
		const char *text;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ "{" V2 "'manifests':{}}", ERR_PROTOCOL, "'manifests' must be an array" },
		{ "{" V2 "'x':1}", ERR_PROTOCOL, "'manifests' is missing" },
		{ "{" V2 "'manifests':null}", ERR_PROTOCOL, "'manifests' is missing" },
		{ INDEX("1"), ERR_PROTOCOL, "manifests[0]: a descriptor must be an object" },
		{ INDEX(AMD64 ",{}"), ERR_PROTOCOL, "manifests[1]: field 'mediaType' is missing" },
		{ INDEX("{'mediaType':'x','size':7}"), ERR_PROTOCOL, "'digest' is missing" },
		{ INDEX("{'mediaType':'x','digest':" DA "}"), ERR_PROTOCOL, "'size' is missing" },
		{ INDEX("{'mediaType':'x','digest':" DA ",'size':-1}"), ERR_PROTOCOL, "'size'" },
		{ INDEX("{'mediaType':'x','digest':" DA ",'size':1.5}"), ERR_PROTOCOL, "'size'" },
		{ INDEX("{'mediaType':'x','digest':" DA ",'size':'7'}"), ERR_PROTOCOL, "'size'" },
		{ INDEX("{'mediaType':'x','digest':" DA ",'size':9223372036854775807}"), ERR_LIMIT,
		  "'size'" },
		{ INDEX("{'mediaType':'x','digest':" DA ",'size':92233720368547758070}"),
		  ERR_PROTOCOL, "JSON" },
		{ INDEX("{'mediaType':'x','digest':'sha256:abc','size':7}"), ERR_PROTOCOL,
		  "'sha256:abc' is not" },
		{ INDEX(MANIFEST_ENTRY(",'platform':'linux/amd64'")), ERR_PROTOCOL, "'platform'" },
		{ INDEX(MANIFEST_ENTRY(",'platform':{'os':1}")), ERR_PROTOCOL, "'os'" },
		{ INDEX(MANIFEST_ENTRY(",'annotations':[]")), ERR_PROTOCOL, "'annotations'" },
		{ "{" V2 "'manifests':[],'config':{}}", ERR_PROTOCOL, "'config'" },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_index index = { .count = 77 };
		struct err err = ERR_INIT;

		quoted(&text, rows[i].text);
		CHECK_ROW(i, oci_index_parse(buf_span(&text), &index, &err) < 0);
		CHECK_INT(err.kind, rows[i].error);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(index.count, 77);
	}
}

#define CONFIG_TYPE	      "'mediaType':'" OCI "config.v1+json'"
#define CONFIG		      "'config':{" CONFIG_TYPE ",'digest':" DA ",'size':7}"
#define LAYER(type, more)     "{'mediaType':'" type "','digest':" DA ",'size':7" more "}"
#define GZIP		      LAYER(OCI "layer.v1.tar+gzip", "")
#define IMAGE(config, layers) "{" V2 config ",'layers':[" layers "]}"

static void test_manifests(void **state)
{
	static const struct {
		const char *text;
		size_t layers;
		enum oci_compression last;
	} rows[] = {
		{ IMAGE(CONFIG, GZIP), 1, OCI_COMPRESSION_GZIP },
		{ IMAGE(CONFIG, GZIP "," GZIP), 2, OCI_COMPRESSION_GZIP }, /* the same twice */
		{ IMAGE(CONFIG, GZIP "," LAYER(OCI "layer.v1.tar", "")), 2, OCI_COMPRESSION_NONE },
		{ IMAGE(CONFIG, LAYER(OCI "layer.v1.tar+zstd", "")), 1, OCI_COMPRESSION_ZSTD },
		{ IMAGE(CONFIG, LAYER(DKR "image.rootfs.diff.tar", "")), 1, OCI_COMPRESSION_NONE },
		{ IMAGE(CONFIG, LAYER(DKR "image.rootfs.diff.tar.gzip", "")), 1,
		  OCI_COMPRESSION_GZIP },
		{ IMAGE(CONFIG, LAYER(DKR "image.rootfs.diff.tar.zstd", "")), 1,
		  OCI_COMPRESSION_ZSTD },
		{ IMAGE(CONFIG, LAYER(OCI "layer.v1.tar", ",'urls':[],'annotations':{'a':'b'}")), 1,
		  OCI_COMPRESSION_NONE },
		{ IMAGE("'config':{'mediaType':'" DKR "container.image.v1+json','digest':" DA
			",'size':8388608},'annotations':{},'subject':null,'new':{'field':[1]}",
			GZIP),
		  1, OCI_COMPRESSION_GZIP },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;
		struct err err = ERR_INIT;

		quoted(&text, rows[i].text);
		CHECK_ROW(i, oci_manifest_parse(buf_span(&text), &manifest, &err) == 0);
		CHECK_INT(manifest.layer_count, rows[i].layers);
		CHECK_INT(manifest.layers[rows[i].layers - 1].compression, rows[i].last);
		CHECK_INT(manifest.layers[0].descriptor.size, 7);
		CHECK_STR(manifest.layers[0].descriptor.digest.text, "sha256:" A64);
		CHECK_STR(manifest.config.digest.text, "sha256:" A64);
	}
}

static void test_bad_manifests(void **state)
{
	static const struct {
		const char *text;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ IMAGE(CONFIG, ""), ERR_UNSUPPORTED, "'layers': the image has none" },
		{ "{" V2 CONFIG "}", ERR_UNSUPPORTED, "'layers': the image has none" },
		{ "{" V2 CONFIG ",'layers':{}}", ERR_PROTOCOL, "'layers' must be an array" },
		{ "{" V2 "'layers':[" GZIP "]}", ERR_PROTOCOL, "'config' is missing" },
		{ IMAGE(CONFIG ",'manifests':[]", GZIP), ERR_PROTOCOL, "'manifests'" },
		{ IMAGE(CONFIG, "{'mediaType':'" OCI "layer.v1.tar','digest':" DA ",'size':0}"),
		  ERR_PROTOCOL, "layers[0]: field 'size' is 0" },
		{ IMAGE(CONFIG, GZIP "," LAYER(OCI "layer.v1.tar", ",'urls':['http://x/']")),
		  ERR_UNSUPPORTED, "layers[1]: field 'urls'" },
		{ IMAGE(CONFIG, LAYER(OCI "layer.v1.tar", ",'urls':'http://x/'")), ERR_PROTOCOL,
		  "'urls'" },
		{ IMAGE(CONFIG, LAYER(OCI "layer.nondistributable.v1.tar+gzip", "")),
		  ERR_UNSUPPORTED, "not distributed" },
		{ IMAGE(CONFIG, LAYER(DKR "image.rootfs.foreign.diff.tar.gzip", "")),
		  ERR_UNSUPPORTED, "not distributed" },
		{ IMAGE(CONFIG, LAYER(OCI "layer.v1.tar+encrypted", "")), ERR_UNSUPPORTED,
		  "+encrypted' is not a layer" },
		{ IMAGE(CONFIG, LAYER(OCI "layer.v1.tar+xz", "")), ERR_UNSUPPORTED, "layers[0]" },
		{ IMAGE(CONFIG, "null"), ERR_PROTOCOL, "layers[0]" },
		{ IMAGE("'config':{'mediaType':'application/"
			"vnd.cncf.helm.config.v1+json','digest':" DA ",'size':7}",
			GZIP),
		  ERR_UNSUPPORTED, "helm.config.v1+json' is not the config of an image" },
		{ IMAGE("'config':{" CONFIG_TYPE ",'digest':" DA ",'size':8388609}", GZIP),
		  ERR_LIMIT, "'config': field 'size' is 8388609, more than 8388608" },
		{ IMAGE("'config':{" CONFIG_TYPE ",'digest':" DA ",'size':7,'urls':['x']}", GZIP),
		  ERR_UNSUPPORTED, "'config': field 'urls'" },
		{ IMAGE("'config':{" CONFIG_TYPE ",'digest':'sha1:" A8 A8 A8 A8 A8 "','size':7}",
			GZIP),
		  ERR_PROTOCOL, "'config': field 'digest'" },
		{ IMAGE("'config':[]", GZIP), ERR_PROTOCOL, "'config' must be an object" },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_manifest manifest = { .layer_count = 77 };
		struct err err = ERR_INIT;

		quoted(&text, rows[i].text);
		CHECK_ROW(i, oci_manifest_parse(buf_span(&text), &manifest, &err) < 0);
		CHECK_INT(err.kind, rows[i].error);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(manifest.layer_count, 77);
	}
}

/* A document of `count` times `item` between the two ends. */
static void repeated(struct buf *out, const char *begin, const char *item, size_t count,
		     const char *end)
{
	AUTO_BUF text = BUF_INIT;

	buf_add_str(&text, begin);
	for (size_t i = 0; i < count; i++)
		buf_addf(&text, "%s%s", i ? "," : "", item);
	buf_add_str(&text, end);
	quoted(out, text.ptr);
}

static int parse_manifest(struct span text, struct err *err)
{
	AUTO_OCI_MANIFEST manifest = OCI_MANIFEST_INIT;

	return oci_manifest_parse(text, &manifest, err);
}

static int parse_index(struct span text, struct err *err)
{
	AUTO_OCI_INDEX index = OCI_INDEX_INIT;

	return oci_index_parse(text, &index, err);
}

static int parse_config(struct span text, struct err *err)
{
	AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;

	return oci_config_parse(text, &config, err);
}

#define ROOTFS	    "'rootfs':{'type':'layers','diff_ids':[" DA "]}"
#define RUN(fields) "{'os':'linux','architecture':'amd64','config':{" fields "}," ROOTFS "}"

/* Each limit, and one more. */
static void test_limits(void **state)
{
	static const struct {
		const char *begin, *item, *end;
		size_t most;
		int (*parse)(struct span text, struct err *err);
	} rows[] = {
		{ "{" V2 CONFIG ",'layers':[", GZIP, "]}", OCI_LAYERS_MAX, parse_manifest },
		{ "{" V2 "'manifests':[", MANIFEST_ENTRY(""), "]}", OCI_INDEX_ENTRIES_MAX,
		  parse_index },
		{ "{'os':'linux','architecture':'amd64','rootfs':{'type':'layers','diff_ids':[", DA,
		  "]}}", OCI_LAYERS_MAX, parse_config },
		{ "{'os':'linux','architecture':'amd64','config':{'Env':[", "'A=b'",
		  "]}," ROOTFS "}", OCI_STRINGS_MAX, parse_config },
		{ "{'os':'linux','architecture':'amd64','config':{'Cmd':[", "''", "]}," ROOTFS "}",
		  OCI_STRINGS_MAX, parse_config },
		/* Values that nobody reads count, too, as do the 21 marks around them. */
		{ "{" V2 CONFIG ",'layers':[" GZIP "],'more':[", "0", "]}",
		  OCI_JSON_VALUES_MAX - 21, parse_manifest },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t more = 0; more < 2; more++) {
			struct err err = ERR_INIT;

			repeated(&text, rows[i].begin, rows[i].item, rows[i].most + more,
				 rows[i].end);
			CHECK_ROW(i, (rows[i].parse(buf_span(&text), &err) < 0) == (more > 0));
			CHECK_INT(err.kind, more ? ERR_LIMIT : ERR_NONE);
		}
	}
}

/* Documents of exactly the most bytes, and of one more. */
static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t most;
		int (*parse)(struct span text, struct err *err);
	} rows[] = {
		{ IMAGE(CONFIG, GZIP), OCI_MANIFEST_BYTES_MAX, parse_manifest },
		{ INDEX(AMD64), OCI_MANIFEST_BYTES_MAX, parse_index },
		{ RUN("'User':'u'"), OCI_CONFIG_BYTES_MAX, parse_config },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		quoted(&text, rows[i].text);
		buf_reserve(&text, rows[i].most + 1 - text.len);
		while (text.len < rows[i].most)
			buf_add_byte(&text, ' ');
		CHECK_ROW(i, rows[i].parse(buf_span(&text), &err) == 0);
		buf_add_byte(&text, ' ');
		CHECK_ROW(i, rows[i].parse(buf_span(&text), &err) < 0);
		CHECK_INT(err.kind, ERR_LIMIT);
	}
}

/* Whatever a config says about running is kept as it is: it is data for the guest. */
static void test_configs(void **state)
{
	static const char text[] =
		RUN("'Env':['LD_PRELOAD=/x.so','A','=b','PATH=/bin','E=a=b\\n'],"
		    "'User':'root:x y','WorkingDir':'../..','Entrypoint':[],'Cmd':['sh','-c',''],"
		    "'Labels':{'banger.x':'y','containerd.io/restart.status':'running'},"
		    "'Volumes':{'/etc':{}},'OnBuild':null");
	AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;
	AUTO_BUF json = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	quoted(&json, text);
	CHECK_INT(oci_config_parse(buf_span(&json), &config, &err), 0);
	CHECK_STR(config.os, "linux");
	CHECK_STR(config.architecture, "amd64");
	assert_null(config.variant);
	assert_null(config.created);
	CHECK_STR(config.user, "root:x y");
	CHECK_STR(config.working_dir, "../..");
	CHECK_INT(config.entrypoint.count, 0);
	CHECK_INT(config.cmd.count, 3);
	CHECK_STR(config.cmd.items[2], "");
	CHECK_INT(config.env.count, 5);
	CHECK_STR(config.env.items[0], "LD_PRELOAD=/x.so");
	CHECK_STR(config.env.items[1], "A");
	CHECK_STR(config.env.items[2], "=b");
	CHECK_STR(config.env.items[4], "E=a=b\n");
	CHECK_INT(config.diff_id_count, 1);
	CHECK_STR(config.diff_ids[0].text, "sha256:" A64);
}

static void test_bare_configs(void **state)
{
	static const char *const rows[] = {
		"{'os':'linux','architecture':'amd64'," ROOTFS "}",
		"{'os':'linux','architecture':'amd64','config':null," ROOTFS ",'history':[]}",
		RUN("'Env':null,'Cmd':null,'Entrypoint':null,'User':null"),
		"{'os':'linux','architecture':'amd64','variant':'v2','created':'never'," ROOTFS "}",
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_OCI_CONFIG config = OCI_CONFIG_INIT;
		struct err err = ERR_INIT;

		quoted(&text, rows[i]);
		CHECK_ROW(i, oci_config_parse(buf_span(&text), &config, &err) == 0);
		CHECK_INT(config.env.count + config.cmd.count + config.entrypoint.count, 0);
		CHECK_ROW(i, config.user == NULL && config.working_dir == NULL);
		CHECK_INT(config.diff_id_count, 1);
	}
}

static void test_bad_configs(void **state)
{
	static const struct {
		const char *text;
		enum err_kind error;
		const char *message;
	} rows[] = {
		{ "{'architecture':'amd64'," ROOTFS "}", ERR_PROTOCOL, "'os' is missing" },
		{ "{'os':'linux'," ROOTFS "}", ERR_PROTOCOL, "'architecture' is missing" },
		{ "{'os':'linux','architecture':'amd64'}", ERR_PROTOCOL, "'rootfs' is missing" },
		{ "{'os':'linux','architecture':'amd64','rootfs':{'type':'squashfs','diff_ids':[]}"
		  "}",
		  ERR_UNSUPPORTED, "'rootfs.type'" },
		{ "{'os':'linux','architecture':'amd64','rootfs':{'type':'layers'}}", ERR_PROTOCOL,
		  "'rootfs.diff_ids' is missing" },
		{ "{'os':'linux','architecture':'amd64','rootfs':{'type':'layers','diff_ids':['x']}"
		  "}",
		  ERR_PROTOCOL, "'rootfs.diff_ids' 'x' is not" },
		{ "{'os':'linux','architecture':'amd64','rootfs':{'type':'layers','diff_ids':[1]}}",
		  ERR_PROTOCOL, "'rootfs.diff_ids'" },
		{ RUN("'Env':'A=b'"), ERR_PROTOCOL, "'config': field 'Env' must be an array" },
		{ RUN("'Env':[1]"), ERR_PROTOCOL, "'Env' must be an array of strings" },
		{ RUN("'Cmd':'sh'"), ERR_PROTOCOL, "'Cmd'" },
		{ RUN("'Entrypoint':{}"), ERR_PROTOCOL, "'Entrypoint'" },
		{ RUN("'User':0"), ERR_PROTOCOL, "'User' must be a string" },
		{ RUN("'User':'a\\u0000b'"), ERR_PROTOCOL, "JSON" },
		{ RUN("'User':'\xff'"), ERR_PROTOCOL, "JSON" },
		{ RUN("'User':'a','User':'b'"), ERR_PROTOCOL, "duplicate" },
		{ "{'os':'linux','architecture':'amd64','config':[]," ROOTFS "}", ERR_PROTOCOL,
		  "'config' must be an object" },
	};
	AUTO_BUF text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_config config = { .diff_id_count = 77 };
		struct err err = ERR_INIT;

		quoted(&text, rows[i].text);
		CHECK_ROW(i, oci_config_parse(buf_span(&text), &config, &err) < 0);
		CHECK_INT(err.kind, rows[i].error);
		CHECK_HAS(err.message, rows[i].message);
		CHECK_INT(config.diff_id_count, 77);
	}
}

static void test_long_env(void **state)
{
	AUTO_BUF value = BUF_INIT, text = BUF_INIT;
	struct err err = ERR_INIT;

	(void)state;
	while (value.len < OCI_STRING_BYTES_MAX)
		buf_add_byte(&value, 'v');
	buf_addf(&text,
		 "{\"os\":\"l\",\"architecture\":\"a\",\"config\":{\"Env\":[\"%s\"]},"
		 "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
		 value.ptr);
	CHECK_INT(parse_config(buf_span(&text), &err), 0);
	buf_add_byte(&value, 'v');
	buf_clear(&text);
	buf_addf(&text,
		 "{\"os\":\"l\",\"architecture\":\"a\",\"config\":{\"Env\":[\"%s\"]},"
		 "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
		 value.ptr);
	assert_true(parse_config(buf_span(&text), &err) < 0);
	CHECK_INT(err.kind, ERR_LIMIT);
	CHECK_HAS(err.message, "'Env'");
}

static void test_config_platform(void **state)
{
	struct oci_config config = OCI_CONFIG_INIT;
	struct oci_platform host, other;
	struct err err = ERR_INIT;

	(void)state;
	oci_platform_host(&host);
	config.os = mem_strdup(host.os);
	config.architecture = mem_strdup(host.architecture);
	CHECK_INT(oci_config_check_platform(&config, &host, &err), 0);
	assert_true(oci_platform_parse(span_str("linux/riscv64"), &other));
	assert_true(oci_config_check_platform(&config, &other, &err) < 0);
	CHECK_INT(err.kind, ERR_UNSUPPORTED);
	CHECK_HAS(err.message, "not for linux/riscv64");
	oci_config_done(&config);
}

static void test_platforms(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "linux/amd64", true },
		{ "linux/arm/v7", true },
		{ "a/b/c", true },
		{ "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true },
		{ "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
		{ "linux", false },
		{ "linux/", false },
		{ "/amd64", false },
		{ "linux//v8", false },
		{ "linux/arm64/", false },
		{ "linux/arm64/v8/x", false },
		{ "Linux/amd64", false },
		{ "linux/amd 64", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct oci_platform platform = { .os = "before" };
		char text[OCI_PLATFORM_TEXT_SIZE];

		CHECK_ROW(i, oci_platform_parse(span_str(rows[i].text), &platform) == rows[i].good);
		oci_platform_text(&platform, text);
		CHECK_STR(text, rows[i].good ? rows[i].text : "before/");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests),		cmocka_unit_test(test_digest_of_bytes),
		cmocka_unit_test(test_verifier),	cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_selection),	cmocka_unit_test(test_bad_indexes),
		cmocka_unit_test(test_manifests),	cmocka_unit_test(test_bad_manifests),
		cmocka_unit_test(test_limits),		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_configs),		cmocka_unit_test(test_bare_configs),
		cmocka_unit_test(test_bad_configs),	cmocka_unit_test(test_long_env),
		cmocka_unit_test(test_config_platform), cmocka_unit_test(test_platforms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
