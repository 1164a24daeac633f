/*
 * What VMMs and their programs say: bodies of answers, GET /, versions, and the probe's file.
 * Properties: refusals carry a kind and a message that is safe to print; what is accepted is short
 * printable text, and a verdict that is accepted is written as bytes that are accepted again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "fuzz.h"
#include "vmm/engine.h"
#include "vmm/fc_http.h"

#define BOOT_ID "11111111-2222-3333-4444-555555555555"

static void check_printable(const char *text)
{
	for (size_t i = 0; text[i] != '\0'; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			abort();
	}
}

static void check_answer(struct span body)
{
	static const struct fc_request request = { "PUT", "/actions", "{}" };
	struct err err = ERR_INIT;

	if (fc_answer_check(&request, 400, body, &err) >= 0 || err.kind == ERR_NONE)
		abort();
	check_printable(err.message);
}

static void check_description(struct span body)
{
	struct vmm_description description;
	struct err err = ERR_INIT;

	if (fc_description_read(body, &description, &err) < 0) {
		if (err.kind == ERR_NONE)
			abort();
		check_printable(err.message);
		return;
	}
	if (description.state >= VMM_STATE_COUNT)
		abort();
	check_printable(description.id);
	check_printable(description.app_name);
	check_printable(description.vmm_version);
}

static void check_version(struct span text)
{
	AUTO_FREE char *line = mem_strndup((const char *)text.ptr, text.len);
	struct vmm_version version;

	if (vmm_version_parse(line, &version) &&
	    (version.major > UINT16_MAX || version.minor > UINT16_MAX ||
	     version.patch > UINT16_MAX))
		abort();
}

static void check_verdict(struct span text)
{
	struct kvm_verdict verdict, again;
	AUTO_BUF written = BUF_INIT;

	if (!kvm_verdict_read(text, BOOT_ID, &verdict))
		return;
	kvm_verdict_write(&verdict, BOOT_ID, &written);
	if (!kvm_verdict_read(buf_span(&written), BOOT_ID, &again) ||
	    again.finding != verdict.finding || again.turns_per_second != verdict.turns_per_second)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct span bytes = span_of(data, size);

	check_answer(bytes);
	check_description(bytes);
	check_version(bytes);
	check_verdict(bytes);
	return 0;
}
