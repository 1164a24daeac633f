#include "vmm/fc_client.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "vmm/blame.h"
#include "vmm/fc_http.h"

/* What Firecracker answers for a path that it does not have. */
#define UNKNOWN_REQUEST "Invalid request method and/or path"

/* Sends an object (given) and wants no more than agreement. */
static int send_object(const struct vmm_api *api, const char *verb, const char *path,
		       json_t *object, struct err *err)
{
	AUTO_JSON *given = object;
	AUTO_BUF body = BUF_INIT;
	AUTO_BUF answer = BUF_INIT;
	struct fc_request request = { .verb = verb, .path = path };
	long status = 0;
	int r;

	json_write(given, &body);
	request.body = body.ptr;
	r = fc_http_send(api, &request, &status, &answer, err);
	if (r < 0)
		return r;
	return fc_answer_check(&request, status, buf_span(&answer), err);
}

int vmm_put_machine_config(const struct vmm_api *api, const struct vmm_machine_config *config,
			   struct err *err)
{
	json_t *object = json_new_object();

	json_put_u64(object, "vcpu_count", config->vcpu_count);
	json_put_u64(object, "mem_size_mib", config->memory_mib);
	return send_object(api, "PUT", "/machine-config", object, err);
}

int vmm_put_boot_source(const struct vmm_api *api, const struct vmm_boot_source *source,
			struct err *err)
{
	json_t *object = json_new_object();

	json_put_str(object, "kernel_image_path", source->kernel_path);
	if (source->initrd_path)
		json_put_str(object, "initrd_path", source->initrd_path);
	if (source->boot_args)
		json_put_str(object, "boot_args", source->boot_args);
	return send_object(api, "PUT", "/boot-source", object, err);
}

static bool is_resource_id(const char *id)
{
	static const char *const allowed = "abcdefghijklmnopqrstuvwxyz"
					   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	const size_t len = strlen(id);

	return len > 0 && len <= 64 && strspn(id, allowed) == len;
}

int vmm_put_drive(const struct vmm_api *api, const struct vmm_drive *drive, struct err *err)
{
	AUTO_FREE char *path = NULL;
	json_t *object;

	assert(is_resource_id(drive->id)); /* ids of drives are our own */
	path = mem_printf("/drives/%s", drive->id);
	object = json_new_object();
	json_put_str(object, "drive_id", drive->id);
	json_put_str(object, "path_on_host", drive->path);
	json_put_bool(object, "is_root_device", drive->is_root);
	json_put_bool(object, "is_read_only", drive->is_read_only);
	json_put_str(object, "cache_type", drive->is_writeback ? "Writeback" : "Unsafe");
	return send_object(api, "PUT", path, object, err);
}

int vmm_put_network(const struct vmm_api *api, const struct vmm_network *network, struct err *err)
{
	AUTO_FREE char *path = mem_printf("/network-interfaces/%s", network->id);
	json_t *object = json_new_object();

	json_put_str(object, "iface_id", network->id);
	json_put_str(object, "host_dev_name", network->tap);
	json_put_str(object, "guest_mac", network->mac);
	return send_object(api, "PUT", path, object, err);
}

int vmm_put_vsock(const struct vmm_api *api, uint64_t guest_cid, const char *socket_path,
		  struct err *err)
{
	json_t *object = json_new_object();

	json_put_u64(object, "guest_cid", guest_cid);
	json_put_str(object, "uds_path", socket_path);
	return send_object(api, "PUT", "/vsock", object, err);
}

int vmm_put_entropy(const struct vmm_api *api, struct err *err)
{
	return send_object(api, "PUT", "/entropy", json_new_object(), err);
}

int vmm_put_serial(const struct vmm_api *api, const char *output_path, bool *ret_supported,
		   struct err *err)
{
	json_t *object = json_new_object();
	int r;

	json_put_str(object, "serial_out_path", output_path);
	r = send_object(api, "PUT", "/serial", object, err);
	if (r < 0 && err->kind == ERR_BAD_STATE && strstr(err->message, UNKNOWN_REQUEST)) {
		*err = ERR_INIT;
		*ret_supported = false;
		return 0;
	}
	if (r == 0)
		*ret_supported = true;
	return r;
}

static int act(const struct vmm_api *api, const char *action, struct err *err)
{
	json_t *object = json_new_object();

	json_put_str(object, "action_type", action);
	return send_object(api, "PUT", "/actions", object, err);
}

int vmm_start_instance(const struct vmm_api *api, struct err *err)
{
	return act(api, "InstanceStart", err);
}

int vmm_send_ctrl_alt_del(const struct vmm_api *api, struct err *err)
{
	return act(api, "SendCtrlAltDel", err);
}

static int patch_state(const struct vmm_api *api, const char *state, struct err *err)
{
	json_t *object = json_new_object();

	json_put_str(object, "state", state);
	return send_object(api, "PATCH", "/vm", object, err);
}

int vmm_pause(const struct vmm_api *api, struct err *err)
{
	return patch_state(api, "Paused", err);
}

int vmm_resume(const struct vmm_api *api, struct err *err)
{
	return patch_state(api, "Resumed", err);
}

int vmm_create_snapshot(const struct vmm_api *api, const struct vmm_snapshot *snapshot,
			struct err *err)
{
	json_t *object = json_new_object();

	json_put_str(object, "snapshot_type", "Full");
	json_put_str(object, "snapshot_path", snapshot->state_path);
	json_put_str(object, "mem_file_path", snapshot->memory_path);
	return send_object(api, "PUT", "/snapshot/create", object, err);
}

static void put_network_override(json_t *object, const struct vmm_snapshot_load *load)
{
	json_t *list = json_new_array();
	json_t *override = json_new_object();

	json_put_str(override, "iface_id", load->network_id);
	json_put_str(override, "host_dev_name", load->tap);
	json_add(list, override);
	json_put(object, "network_overrides", list);
}

int vmm_load_snapshot(const struct vmm_api *api, const struct vmm_snapshot_load *load,
		      struct err *err)
{
	json_t *object = json_new_object();
	json_t *memory = json_new_object();
	json_t *vsock = json_new_object();
	int r;

	json_put_str(memory, "backend_type", "File");
	json_put_str(memory, "backend_path", load->snapshot.memory_path);
	json_put_str(vsock, "uds_path", load->vsock_path);
	json_put_str(object, "snapshot_path", load->snapshot.state_path);
	json_put(object, "mem_backend", memory);
	json_put_bool(object, "resume_vm", load->is_resumed);
	if (load->network_id)
		put_network_override(object, load);
	json_put(object, "vsock_override", vsock);
	r = send_object(api, "PUT", "/snapshot/load", object, err);
	if (r < 0 && err->kind == ERR_BAD_STATE &&
	    vmm_blame(span_str(err->message)) == VMM_BLAME_HOST)
		err->kind = ERR_SYSTEM;
	return r;
}

int vmm_refresh_drive(const struct vmm_api *api, const char *drive_id, const char *path,
		      struct err *err)
{
	AUTO_FREE char *request = mem_printf("/drives/%s", drive_id);
	json_t *object = json_new_object();

	json_put_str(object, "drive_id", drive_id);
	json_put_str(object, "path_on_host", path);
	return send_object(api, "PATCH", request, object, err);
}

int vmm_describe(const struct vmm_api *api, struct vmm_description *ret, struct err *err)
{
	static const struct fc_request request = { .verb = "GET", .path = "/" };
	AUTO_BUF answer = BUF_INIT;
	long status = 0;
	int r;

	r = fc_http_send(api, &request, &status, &answer, err);
	if (r == 0)
		r = fc_answer_check(&request, status, buf_span(&answer), err);
	if (r == 0)
		r = fc_description_read(buf_span(&answer), ret, err);
	return r;
}
