/* Who a guest is, and what its kernel is told. */
#include "daemon/vm_service.h"

#include <fcntl.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "daemon/network.h"
#include "daemon/ssh_key.h"
#include "daemon/vm_files.h"
#include "guest/renew.h"

#define ENTROPY_BYTES 64

static int read_secret(const char *path, struct buf *ret, struct err *err)
{
	int r;

	buf_reserve(ret, VM_SECRET_BYTES_MAX); /* at once: growing would leave copies behind */
	r = file_read(AT_FDCWD, path, VM_SECRET_BYTES_MAX - 4096, ret);
	return r < 0 ? err_sys(err, r, "read '%s'", path) : 0;
}

int vm_put_entropy(json_t *identity, struct err *err)
{
	uint8_t bytes[ENTROPY_BYTES];
	char text[ENTROPY_BYTES * 2];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return err_set(err, ERR_SYSTEM, "make random bytes: OpenSSL refused");
	(void)EVP_EncodeBlock((unsigned char *)text, bytes, sizeof(bytes));
	json_put_str(identity, "entropy", text);
	return 0;
}

/* The user's public key, if there is one yet; the guest takes it for root. */
static void put_authorized_keys(const struct daemon *daemon, json_t *identity)
{
	AUTO_FREE char *path = mem_printf("%s.pub", daemon->ssh_key_path);
	AUTO_BUF line = BUF_INIT;
	json_t *keys = json_new_array();

	if (file_read(AT_FDCWD, path, VM_SECRET_BYTES_MAX, &line) == 0 && line.len > 0) {
		if (line.ptr[line.len - 1] == '\n')
			buf_truncate(&line, line.len - 1);
		json_add(keys, json_new_str(line.ptr));
	}
	json_put(identity, "authorized_keys", keys);
}

int vm_make_identity(const struct daemon *daemon, const struct vm *vm, json_t **ret,
		     struct err *err)
{
	AUTO_FREE char *key_path = vm_file(daemon, vm->id, VM_FILE_HOST_KEY);
	AUTO_FREE char *public_path = mem_printf("%s.pub", key_path);
	AUTO_BUF private_pem = BUF_INIT;
	AUTO_BUF public_line = BUF_INIT;
	AUTO_JSON *identity = json_new_object();
	int r;

	r = read_secret(key_path, &private_pem, err);
	if (r == 0)
		r = read_secret(public_path, &public_line, err);
	if (r == 0)
		r = vm_put_entropy(identity, err);
	if (r < 0)
		return r;
	if (public_line.len > 0 && public_line.ptr[public_line.len - 1] == '\n')
		buf_truncate(&public_line, public_line.len - 1);
	json_put_str(identity, "hostname", vm->name);
	put_authorized_keys(daemon, identity);
	json_put_str(identity, "ssh_host_key", private_pem.ptr);
	json_put_str(identity, "ssh_host_key_pub", public_line.ptr);
	guest_put_clock(identity);
	json_put_str(identity, "boot_token", vm->id);
	/* As unique as it has to be, and the same at each start. */
	json_put_str(identity, "machine_id", vm->id);
	json_put(identity, "network", network_identity(daemon->network, vm));
	ssh_key_wipe(&private_pem);
	*ret = TAKE_PTR(identity);
	return 0;
}

char *vm_kernel_args(const struct daemon *daemon)
{
	const bool is_verbose = daemon->config.log_level == LOG_LEVEL_DEBUG;

	/* The ciphers' self-tests cost a fifth of a boot under TCG (DESIGN, decision 1). */
	return mem_printf("console=ttyS0 reboot=k panic=1%s cryptomgr.notests random.trust_cpu=on "
			  "banger.work=/dev/vdb",
			  is_verbose ? "" : " quiet loglevel=4");
}
