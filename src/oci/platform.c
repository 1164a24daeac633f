/* Platforms, as Go names them. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/text.h"
#include "oci/manifest.h"

static bool is_part_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool set_part(struct span text, char ret[static OCI_PLATFORM_PART_MAX + 1])
{
	if (text.len == 0 || text.len > OCI_PLATFORM_PART_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!is_part_byte(text.ptr[i]))
			return false;
	}
	memcpy(ret, text.ptr, text.len);
	ret[text.len] = '\0';
	return true;
}

/* Takes the bytes up to the next '/' or the end. */
static struct span next_part(struct span *cursor)
{
	const uint8_t *slash = cursor->len ? memchr(cursor->ptr, '/', cursor->len) : NULL;
	const size_t len = slash ? (size_t)(slash - cursor->ptr) : cursor->len;
	const struct span part = span_of(cursor->ptr, len);

	*cursor = span_skip(*cursor, len);
	return part;
}

bool oci_platform_parse(struct span text, struct oci_platform *ret)
{
	struct oci_platform platform = { .os = "" };

	if (!set_part(next_part(&text), platform.os) || text.len == 0)
		return false;
	text = span_skip(text, 1);
	if (!set_part(next_part(&text), platform.architecture))
		return false;
	if (text.len > 0) {
		text = span_skip(text, 1);
		if (!set_part(next_part(&text), platform.variant) || text.len > 0)
			return false;
	}
	*ret = platform;
	return true;
}

void oci_platform_host(struct oci_platform *ret)
{
	static const struct {
		const char *machine, *architecture, *variant;
	} names[] = {
		{ "x86_64", "amd64", "" },
		{ "aarch64", "arm64", "v8" },
	};
	struct utsname host;

	*ret = (struct oci_platform){ .os = "linux" };
	if (uname(&host) < 0)
		return;
	/* Others are called the same in Go, or no image is for them. */
	(void)set_part(span_str(host.machine), ret->architecture);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (!str_eq(host.machine, names[i].machine))
			continue;
		(void)set_part(span_str(names[i].architecture), ret->architecture);
		(void)set_part(span_str(names[i].variant), ret->variant);
	}
}

void oci_platform_text(const struct oci_platform *platform, char ret[static OCI_PLATFORM_TEXT_SIZE])
{
	(void)snprintf(ret, OCI_PLATFORM_TEXT_SIZE, "%s/%s%s%s", platform->os,
		       platform->architecture, platform->variant[0] ? "/" : "", platform->variant);
}
