#include "oci/reference.h"

#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "model/names.h"
#include "oci/digest.h"

#define HOST_BYTES_MAX	   261 /* a DNS name and a port */
#define SHORT_DIGEST_BYTES 12

#define DIGITS	"0123456789"
#define LOWER	"abcdefghijklmnopqrstuvwxyz"
#define UPPER	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LAYOUT	"oci:"
#define ARCHIVE "docker-archive:"

void oci_reference_done(struct oci_reference *reference)
{
	mem_free(reference->registry);
	mem_free(reference->repository);
	mem_free(reference->tag);
	mem_free(reference->digest);
	mem_free(reference->path);
	*reference = OCI_REFERENCE_INIT;
}

bool oci_reference_looks_like_one(const char *text)
{
	return strpbrk(text, "/:@") != NULL;
}

/* --- the parts' grammar ----------------------------------------------------------------------- */

static bool only_of(struct span text, const char *set)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\0' || !strchr(set, text.ptr[i]))
			return false;
	return true;
}

static bool is_one_of(uint8_t byte, const char *set)
{
	return only_of(span_of(&byte, 1), set);
}

/* [A-Za-z0-9_][A-Za-z0-9_.-]{0,127} */
static bool is_tag(struct span text)
{
	return text.len > 0 && text.len <= OCI_TAG_BYTES_MAX &&
	       only_of(text, LOWER UPPER DIGITS "_.-") && !is_one_of(text.ptr[0], ".-");
}

/* Letters and digits, joined by one '.', one or two '_', or any number of '-'. */
static bool is_component(struct span text)
{
	size_t at = 0;

	while (at < text.len) {
		size_t word = 0, join = 0;

		while (at + word < text.len && is_one_of(text.ptr[at + word], LOWER DIGITS))
			word++;
		at += word;
		if (word == 0)
			return false;
		if (at == text.len)
			return true;
		while (at + join < text.len && text.ptr[at + join] == text.ptr[at])
			join++;
		if ((text.ptr[at] == '.' && join == 1) || (text.ptr[at] == '_' && join <= 2) ||
		    text.ptr[at] == '-')
			at += join;
		else
			return false;
	}
	return false;
}

static bool is_repository(struct span text)
{
	struct span component;

	if (text.len > OCI_REPOSITORY_BYTES_MAX)
		return false;
	while (parse_until(&text, '/', &component))
		if (!is_component(component))
			return false;
	return is_component(text);
}

/* A host's labels: no empty one, none that begins or ends with '-'. */
static bool is_host_name(struct span text)
{
	uint8_t before = '.';

	if (text.len == 0 || !only_of(text, LOWER UPPER DIGITS ".-"))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t byte = text.ptr[i];

		if ((before == '.' && (byte == '.' || byte == '-')) ||
		    (before == '-' && byte == '.'))
			return false;
		before = byte;
	}
	return before != '-' && before != '.';
}

/* NAME, IPv4 or [IPv6], and perhaps a port. */
static bool is_host(struct span text)
{
	const uint8_t *colon = memrchr(text.ptr, ':', text.len);
	const uint8_t *bracket = memrchr(text.ptr, ']', text.len);
	struct span name = text;
	uint64_t port = 1;

	if (text.len == 0 || text.len > HOST_BYTES_MAX)
		return false;
	if (colon && (!bracket || bracket < colon)) {
		struct span digits = span_skip(text, (size_t)(colon - text.ptr) + 1);

		name.len = (size_t)(colon - text.ptr);
		if (!parse_u64(&digits, UINT16_MAX, &port) || !parse_end(&digits) || port == 0)
			return false;
	}
	if (name.len > 0 && name.ptr[0] == '[')
		return name.len > 4 && name.ptr[name.len - 1] == ']' &&
		       only_of(span_of(name.ptr + 1, name.len - 2), DIGITS "abcdefABCDEF:.");
	return is_host_name(name);
}

/*
 * Whether what stands before the first '/' is a host, as docker decides it; but capitals alone do
 * not make one, as they would be gone in the printed form.
 */
static bool means_host(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (strchr(".:[", text.ptr[i]))
			return true;
	return span_eq(text, span_str("localhost"));
}

/* --- parsing ---------------------------------------------------------------------------------- */

static char *text_of(struct span text)
{
	return mem_strndup((const char *)text.ptr, text.len);
}

static char *lower_text_of(struct span text)
{
	char *lower = text_of(text);

	for (char *at = lower; *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at - 'A' + 'a');
	return lower;
}

/* What other programs have and we have not. */
static bool begins_as_foreign(struct span text)
{
	static const char *const foreign[] = {
		"docker://",	       "http://",	 "https://", "oci-archive:",
		"containers-storage:", "docker-daemon:", "dir:"
	};

	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		if (parse_literal(&text, foreign[i]))
			return true;
	return false;
}

/* Whether a host with a port, once its letters are small, reads as the beginning of something else.
 */
static bool is_mistakable(const char *registry)
{
	return str_starts(registry, LAYOUT) || str_starts(registry, ARCHIVE) ||
	       begins_as_foreign(span_str(registry));
}

/* Cuts "@DIGEST" and ":TAG" off the end of a registry's reference. NULL, or what is wrong. */
static const char *take_end(struct span *name, struct oci_reference *ret)
{
	const uint8_t *at = memchr(name->ptr, '@', name->len);
	const uint8_t *colon, *slash;
	struct oci_digest digest;

	if (at) {
		const struct span text = span_skip(*name, (size_t)(at - name->ptr) + 1);

		if (!oci_digest_parse(text, &digest))
			return "what follows '@' is no digest: sha256: and 64 lower-case "
			       "hexadecimal digits";
		ret->digest = text_of(text);
		name->len = (size_t)(at - name->ptr);
	}
	colon = memrchr(name->ptr, ':', name->len);
	slash = memrchr(name->ptr, '/', name->len);
	if (colon && (!slash || slash < colon)) {
		const struct span tag = span_skip(*name, (size_t)(colon - name->ptr) + 1);

		if (!is_tag(tag))
			return "a tag is up to 128 letters, digits, '_', '.' and '-', and "
			       "begins with neither '.' nor '-'";
		ret->tag = text_of(tag);
		name->len = (size_t)(colon - name->ptr);
	}
	if (!ret->tag && !ret->digest)
		ret->tag = mem_strdup("latest");
	return NULL;
}

static const char *take_registry(struct span name, struct oci_reference *ret)
{
	struct span rest, first;
	const char *why = take_end(&name, ret);

	if (why)
		return why;
	rest = name;
	if (!parse_until(&rest, '/', &first) || !means_host(first)) {
		rest = name;
		first = span_str("docker.io");
	} else if (!is_host(first)) {
		return "what precedes the first '/' is no HOST or HOST:PORT";
	}
	if (!is_repository(rest))
		return "a repository is up to 255 lower-case letters, digits, single '.', '_', "
		       "'-' between them, and '/'";

	ret->kind = OCI_REFERENCE_REGISTRY;
	ret->registry = lower_text_of(first);
	if (is_mistakable(ret->registry))
		return "a registry with that name and a port cannot be told from a transport";
	if (str_eq(ret->registry, "index.docker.io")) {
		mem_free(ret->registry);
		ret->registry = mem_strdup("docker.io");
	}
	if (str_eq(ret->registry, "docker.io") && !memchr(rest.ptr, '/', rest.len))
		ret->repository = mem_printf("library/%.*s", (int)rest.len, (const char *)rest.ptr);
	else
		ret->repository = text_of(rest);
	/* Still what is_repository() allows, with "library/" too. */
	return strlen(ret->repository) > OCI_REPOSITORY_BYTES_MAX ? "the repository is too long"
								  : NULL;
}

static bool has_control(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return true;
	return false;
}

/* DIR[:TAG]: the last colon behind the last slash. */
static const char *take_layout(struct span text, struct oci_reference *ret)
{
	const uint8_t *colon = memrchr(text.ptr, ':', text.len);
	const uint8_t *slash = memrchr(text.ptr, '/', text.len);

	ret->kind = OCI_REFERENCE_LAYOUT;
	if (colon && (!slash || slash < colon)) {
		const struct span tag = span_skip(text, (size_t)(colon - text.ptr) + 1);

		if (!is_tag(tag))
			return "what follows the last ':' is no tag";
		ret->tag = text_of(tag);
		text.len = (size_t)(colon - text.ptr);
	}
	if (text.len == 0 || has_control(text))
		return "it names no folder";
	ret->path = text_of(text);
	return NULL;
}

static const char *take_archive(struct span text, struct oci_reference *ret)
{
	ret->kind = OCI_REFERENCE_ARCHIVE;
	if (text.len == 0 || has_control(text))
		return "it names no file";
	ret->path = text_of(text);
	return NULL;
}

static const char *take_any(struct span text, struct oci_reference *ret)
{
	if (text.len == 0)
		return "it is empty";
	if (text.len > OCI_REFERENCE_BYTES_MAX)
		return "it is too long";
	if (parse_literal(&text, LAYOUT))
		return take_layout(text, ret);
	if (parse_literal(&text, ARCHIVE))
		return take_archive(text, ret);
	if (begins_as_foreign(text))
		return "write HOST/NAME:TAG, oci:DIR[:TAG] or docker-archive:FILE";
	return take_registry(text, ret);
}

int oci_reference_parse(const char *text, struct oci_reference *ret, struct err *err)
{
	AUTO_OCI_REFERENCE reference = OCI_REFERENCE_INIT;
	const char *why = take_any(span_str(text), &reference);

	if (why)
		return err_set(err, ERR_INVALID, "'%.200s' is no image reference: %s", text, why);

	*ret = reference;
	reference = OCI_REFERENCE_INIT;
	return 0;
}

/* --- what is made of it ----------------------------------------------------------------------- */

void oci_reference_to_text(const struct oci_reference *reference, struct buf *out)
{
	switch (reference->kind) {
	case OCI_REFERENCE_REGISTRY:
		buf_addf(out, "%s/%s", reference->registry, reference->repository);
		break;
	case OCI_REFERENCE_LAYOUT:
		buf_addf(out, LAYOUT "%s", reference->path);
		break;
	case OCI_REFERENCE_ARCHIVE:
		buf_addf(out, ARCHIVE "%s", reference->path);
		break;
	case OCI_REFERENCE_KIND_COUNT:
		break;
	}
	if (reference->tag)
		buf_addf(out, ":%s", reference->tag);
	if (reference->digest)
		buf_addf(out, "@%s", reference->digest);
}

const char *oci_reference_wanted(const struct oci_reference *reference)
{
	return reference->digest ? reference->digest : reference->tag;
}

/* What follows the last '/', slashes at the end aside. */
static struct span last_part(const char *path)
{
	struct span text = span_str(path);
	const uint8_t *slash;

	while (text.len > 0 && text.ptr[text.len - 1] == '/')
		text.len--;
	slash = memrchr(text.ptr, '/', text.len);
	return slash ? span_skip(text, (size_t)(slash - text.ptr) + 1) : text;
}

static void add_registry_name(const struct oci_reference *reference, struct buf *name)
{
	buf_add(name, last_part(reference->repository));
	if (reference->tag) {
		buf_addf(name, "-%s", reference->tag);
	} else {
		const char *colon = strchr(reference->digest, ':');
		const int algorithm = (int)(colon - reference->digest);

		buf_addf(name, "-%.*s-%.*s", algorithm, reference->digest, SHORT_DIGEST_BYTES,
			 colon + 1);
	}
}

int oci_reference_image_name(const struct oci_reference *reference, char **ret, struct err *err)
{
	AUTO_BUF name = BUF_INIT;
	AUTO_BUF text = BUF_INIT;

	if (reference->kind == OCI_REFERENCE_REGISTRY)
		add_registry_name(reference, &name);
	else
		buf_add(&name, last_part(reference->path));
	if (reference->kind == OCI_REFERENCE_LAYOUT && reference->tag)
		buf_addf(&name, "-%s", reference->tag);
	if (reference->kind == OCI_REFERENCE_ARCHIVE && str_ends(name.ptr, ".tar"))
		buf_truncate(&name, name.len - strlen(".tar"));

	if (!name_is_artifact(name.ptr)) {
		oci_reference_to_text(reference, &text);
		return err_set(err, ERR_INVALID, "'%.200s' makes no image name: give one",
			       text.ptr);
	}
	*ret = buf_detach(&name);
	return 0;
}
