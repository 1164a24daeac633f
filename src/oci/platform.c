/* Platforms, as Go names them. */
#include <stdio.h>
#include <string.h>

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
#if defined(__x86_64__)
	*ret = (struct oci_platform){ .os = "linux", .architecture = "amd64" };
#elif defined(__aarch64__)
	*ret = (struct oci_platform){ .os = "linux", .architecture = "arm64", .variant = "v8" };
#else
#error "no VMM runs on this processor"
#endif
}

void oci_platform_text(const struct oci_platform *platform, char ret[static OCI_PLATFORM_TEXT_SIZE])
{
	(void)snprintf(ret, OCI_PLATFORM_TEXT_SIZE, "%s/%s%s%s", platform->os,
		       platform->architecture, platform->variant[0] ? "/" : "", platform->variant);
}
