/*
 * Names, sizes, durations and port lists. Each text is accepted only if a plain second opinion
 * agrees, and what was accepted comes back the same after being printed.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "model/names.h"
#include "model/reference.h"
#include "model/vm.h"

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

static void check_names(const char *text)
{
	static const char label[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	static const char artifact[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789.-_";
	const size_t len = strlen(text);
	struct err err = ERR_INIT;

	want(name_is_vm(text) == (len >= 1 && len <= 63 && only_of(text, label) && text[0] != '-' &&
				  text[len - 1] != '-'));
	want((name_check_vm(text, &err) == 0) == name_is_vm(text));
	want(name_is_artifact(text) ==
	     (len >= 1 && len <= 128 && only_of(text, artifact) && text[0] != '.'));
	want((name_check_image(text, &err) == 0) == name_is_artifact(text));
	want(name_is_vm_id(text) == (len == 32 && only_of(text, "0123456789abcdef")));
	want(text_is_utf8(span_str(err.message)));
}

static void check_size(const char *text)
{
	uint64_t bytes = 7, again = 8, in_mib = 9;
	char printed[32];

	if (!parse_size_text(text, 1, &bytes)) {
		want(bytes == 7);
		return;
	}
	(void)snprintf(printed, sizeof(printed), "%" PRIu64, bytes);
	want(parse_size_text(printed, 1, &again) && again == bytes);
	(void)snprintf(printed, sizeof(printed), "%" PRIu64 "B", bytes);
	want(parse_size_text(printed, 1024, &again) && again == bytes);
	/* The default unit matters exactly where no unit is written. */
	if (parse_size_text(text, 1ULL << 20, &in_mib))
		want(in_mib == bytes || only_of(text, "0123456789."));
}

static void check_duration(const char *text)
{
	uint64_t ms = 7, again = 8;
	char printed[32];

	if (!parse_duration_text(text, &ms)) {
		want(ms == 7);
		return;
	}
	(void)snprintf(printed, sizeof(printed), "%" PRIu64 "ms", ms);
	want(parse_duration_text(printed, &again) && again == ms);
}

static void check_ports(const char *text)
{
	struct vm_port ports[VM_PORTS_MAX];
	AUTO_BUF printed = BUF_INIT;
	size_t count = 99;

	if (!vm_ports_parse(text, ports, &count)) {
		want(count == 99);
		return;
	}
	want(count <= VM_PORTS_MAX);
	vm_ports_format(&printed, ports, count);
	want(str_eq(printed.ptr, text));
}

/* What a user wrote is understood as what we would write for it. */
static void check_port(const char *text)
{
	struct vm_port port = { 7, 7, 7 }, again;
	AUTO_BUF printed = BUF_INIT;
	struct err err = ERR_INIT;

	if (vm_port_read(text, &port, &err) < 0) {
		want(err.kind == ERR_INVALID && port.host == 7 && port.guest == 7);
		return;
	}
	want(port.guest > 0);
	vm_port_format_host(&printed, &port);
	buf_addf(&printed, ":%u/tcp", (unsigned int)port.guest);
	want(vm_port_read(printed.ptr, &again, &err) == 0);
	want(again.host == port.host && again.guest == port.guest && again.address == port.address);
}

static void check_reference(const char *text)
{
	static const struct reference_target targets[] = {
		{ "0123456789abcdef0123456789abcdef", "web" },
		{ "0123456789abcdeffedcba9876543210", "web-2" },
		{ "fedcba98765432100123456789abcdef", "0123" },
	};
	struct err err = ERR_INIT;
	size_t index = 99;

	if (reference_resolve(text, targets, ARRAY_LEN(targets), &index, &err) < 0) {
		want(index == 99 && err.kind != ERR_NONE);
		return;
	}
	want(str_starts(targets[index].name, text) || str_starts(targets[index].id, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = mem_strndup((const char *)data, size);

	if (strlen(text) != size)
		return 0; /* our texts are C strings: a NUL cannot come this far */

	check_names(text);
	check_size(text);
	check_duration(text);
	check_ports(text);
	check_port(text);
	check_reference(text);
	return 0;
}
