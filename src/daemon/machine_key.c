#include "daemon/machine_key.h"

#include <assert.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/template_key.h"
#include "image/register.h"
#include "vmm/engine.h"

/* Counted up when what is captured changes in a way that nothing else here shows. */
#define FORM	    "form:2"
#define DIGEST_SIZE 8 /* nobody looks for two that are alike */

enum part { VMM, EMULATOR, ACCELERATOR, PROCESSOR, IMAGE, NETWORK, PART_COUNT };

static const struct {
	const char *name;
	const char *another;
} parts[] = {
	[VMM] = { "vmm", "another VMM" },
	[EMULATOR] = { "emulator", "another QEMU" },
	[ACCELERATOR] = { "accelerator", "another accelerator (KVM or emulation)" },
	[PROCESSOR] = { "processor", "another processor" },
	[IMAGE] = { "image", "other files of the image" },
	[NETWORK] = { "network", "another kind of network" },
};
_Static_assert(ARRAY_LEN(parts) == PART_COUNT, "each part needs its words");

/* --- making it --- */

static int describe(enum part part, const struct vmm_decision *decision,
		    const struct image_paths *image, bool has_network, struct buf *text,
		    struct err *err)
{
	int r = 0;

	switch (part) {
	case VMM:
		buf_add_str(text, vmm_engine_name(decision->engine));
		return key_add_file(text, decision->binary, err);
	case EMULATOR: /* none with Firecracker */
		return decision->qemu_path ? key_add_file(text, decision->qemu_path, err) : 0;
	case ACCELERATOR:
		buf_add_str(text, vmm_accelerator_name(decision->accelerator));
		return 0;
	case PROCESSOR: /* an emulated one is QEMU's own */
		buf_add_str(text, decision->processor ? decision->processor : "");
		return 0;
	case IMAGE:
		r = key_add_file(text, image->root, err);
		return r < 0 ? r : key_add_file(text, image->seed, err);
	case NETWORK:
		buf_add_str(text, has_network ? "on" : "off");
		return 0;
	case PART_COUNT:
		break;
	}
	return r;
}

int machine_key(const struct vmm_decision *decision, const struct image_paths *image,
		bool has_network, char ret[static MACHINE_KEY_SIZE], struct err *err)
{
	AUTO_BUF key = BUF_INIT;

	buf_add_str(&key, FORM);
	for (size_t i = 0; i < PART_COUNT; i++) {
		uint8_t digest[EVP_MAX_MD_SIZE];
		AUTO_BUF text = BUF_INIT;
		const int r = describe((enum part)i, decision, image, has_network, &text, err);

		if (r < 0)
			return r;
		if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
			return err_set(err, ERR_SYSTEM, "make a key: OpenSSL refused");
		buf_addf(&key, " %s:", parts[i].name);
		text_hex(&key, span_of(digest, DIGEST_SIZE));
	}
	assert(key.len < MACHINE_KEY_SIZE);
	memcpy(ret, key.ptr, key.len + 1);
	return 0;
}

/* --- comparing --- */

/* The next word of a key; at the end an empty one. */
static struct span next_word(struct span *key)
{
	struct span word = *key;

	if (!parse_until(key, ' ', &word))
		*key = span_skip(*key, key->len);
	return word;
}

void machine_key_compare(const char *then, const char *now, struct buf *out)
{
	struct span old = span_str(then ? then : ""), new = span_str(now);
	const size_t begin = out->len;

	if (!span_eq(next_word(&old), next_word(&new))) {
		buf_add_str(out, "another version of banger");
		return;
	}
	for (size_t i = 0; i < PART_COUNT; i++) {
		if (span_eq(next_word(&old), next_word(&new)))
			continue;
		buf_addf(out, "%s%s", out->len > begin ? ", " : "", parts[i].another);
	}
}
