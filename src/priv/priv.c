#include "priv/priv.h"

#include <string.h>

#include <openssl/evp.h>

#include "base/mem.h"
#include "model/names.h"
#include "priv/private.h"

static int make_tag(const char *state_dir, char ret[static PRIV_TAG_SIZE], struct err *err)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t hash[EVP_MAX_MD_SIZE];

	if (EVP_Digest(state_dir, strlen(state_dir), hash, NULL, EVP_sha256(), NULL) != 1)
		return err_set(err, ERR_SYSTEM, "hash the state folder's name: OpenSSL refused");
	for (size_t i = 0; i + 1 < PRIV_TAG_SIZE; i++)
		ret[i] = digits[i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15];
	ret[PRIV_TAG_SIZE - 1] = '\0';
	return 0;
}

static int open_priv(const char *state_dir, bool only_looks, struct priv **ret, struct err *err)
{
	CLEANUP(priv_closep) struct priv *priv = mem_alloc(1, sizeof(*priv));
	int r;

	priv->only_looks = only_looks;
	r = make_tag(state_dir, priv->tag, err);
	if (r == 0)
		r = cgroups_open(priv, err);
	if (r < 0)
		return r;
	users_open(priv);
	*ret = TAKE_PTR(priv);
	return 0;
}

int priv_open(const char *state_dir, struct priv **ret, struct err *err)
{
	return open_priv(state_dir, false, ret, err);
}

int priv_open_to_look(const char *state_dir, struct priv **ret, struct err *err)
{
	return open_priv(state_dir, true, ret, err);
}

void priv_close(struct priv *priv)
{
	if (!priv)
		return;
	cgroups_close(priv);
	mem_free(priv);
}

const char *priv_tag(const struct priv *priv)
{
	return priv->tag;
}

int priv_check_id(const char *id, struct err *err)
{
	if (!name_is_vm_id(id))
		return err_set(err, ERR_INVALID, "'%.64s' is no VM's id", id ? id : "");
	return 0;
}
