/* Where cgroups are on this host, and where among them ours may be. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/text.h"
#include "priv/private.h"

const char *const controller_names[CONTROLLER_COUNT] = {
	[CONTROLLER_CPU] = "cpu",
	[CONTROLLER_CPUACCT] = "cpuacct",
	[CONTROLLER_MEMORY] = "memory",
	[CONTROLLER_PIDS] = "pids",
};

/* Like parse_until(), but the last word needs no separator. False at the end. */
static bool take_word(struct span *text, char separator, struct span *ret)
{
	if (text->len == 0)
		return false;
	if (!parse_until(text, separator, ret)) {
		*ret = *text;
		*text = span_skip(*text, text->len);
	}
	return true;
}

/* Which of our controllers a list of words separated by commas names. */
static unsigned parse_controllers(struct span list)
{
	unsigned found = 0;
	struct span word;

	while (take_word(&list, ',', &word)) {
		for (unsigned i = 0; i < CONTROLLER_COUNT; i++) {
			if (span_eq(word, span_str(controller_names[i])))
				found |= CONTROLLER_BIT(i);
		}
	}
	return found;
}

/* Our cgroup in the hierarchy that has `controllers` (v2: none), by /proc/self/cgroup. */
static bool find_path(struct span text, bool is_v2, unsigned controllers, struct span *ret)
{
	struct span line, number, names;

	while (take_word(&text, '\n', &line)) {
		if (!parse_until(&line, ':', &number) || !parse_until(&line, ':', &names))
			continue;
		if (is_v2 ? span_eq(number, span_str("0")) && names.len == 0
			  : (parse_controllers(names) & controllers) != 0) {
			*ret = line;
			return true;
		}
	}
	return false;
}

/* Our own cgroup as a path below the mount point, whose root in the hierarchy is `root`. */
static char *own_below(struct span path, struct span root)
{
	if (path.len == 0 || path.ptr[0] != '/' || memmem(path.ptr, path.len, "/..", 3))
		return NULL;
	if (!span_eq(root, span_str("/"))) {
		if (path.len < root.len || memcmp(path.ptr, root.ptr, root.len) != 0 ||
		    (path.len > root.len && path.ptr[root.len] != '/'))
			return NULL;
		path = span_skip(path, root.len);
	}
	return path.len == 0 ? mem_strdup("/") : mem_strndup((const char *)path.ptr, path.len);
}

/* The fields of a line of mountinfo, proc(5), that matter here. */
struct mount_line {
	struct span root;
	struct span mount_point;
	struct span type;
	struct span options;
};

static bool parse_mount(struct span line, struct mount_line *ret)
{
	struct span field;

	for (int i = 0; i < 3; i++) {
		if (!parse_until(&line, ' ', &field))
			return false;
	}
	if (!parse_until(&line, ' ', &ret->root) || !parse_until(&line, ' ', &ret->mount_point))
		return false;
	do {
		if (!parse_until(&line, ' ', &field))
			return false;
	} while (!span_eq(field, span_str("-")));
	if (!parse_until(&line, ' ', &ret->type) || !parse_until(&line, ' ', &field))
		return false;
	ret->options = line;
	return true;
}

size_t hierarchies_parse(struct span mountinfo, struct span cgroup,
			 struct hierarchy ret[static HIERARCHIES_MAX])
{
	unsigned seen = 0;
	bool has_v2 = false;
	size_t count = 0;
	struct span line;

	while (count < HIERARCHIES_MAX && take_word(&mountinfo, '\n', &line)) {
		struct mount_line mount;
		unsigned controllers = 0;
		struct span path;
		bool is_v2;

		if (!parse_mount(line, &mount))
			continue;
		is_v2 = span_eq(mount.type, span_str("cgroup2"));
		if (span_eq(mount.type, span_str("cgroup")))
			controllers = parse_controllers(mount.options) & ~seen;
		/* A name with blanks is written with escapes; nobody mounts cgroups there. */
		if ((is_v2 ? has_v2 : controllers == 0) ||
		    memchr(mount.mount_point.ptr, '\\', mount.mount_point.len))
			continue;
		ret[count++] = (struct hierarchy){
			.is_v2 = is_v2,
			.controllers = controllers,
			.mount_point = mem_strndup((const char *)mount.mount_point.ptr,
						   mount.mount_point.len),
			.own = find_path(cgroup, is_v2, controllers, &path)
				       ? own_below(path, mount.root)
				       : NULL,
			.base_fd = -1,
		};
		seen |= controllers;
		has_v2 = has_v2 || is_v2;
	}
	return count;
}

const char *hierarchy_base(const char *own, bool is_delegated, bool is_root)
{
	static const char *const managed[] = { "/user.slice", "/system.slice", "/init.scope" };

	if (!own)
		return NULL;
	if (is_delegated || str_eq(own, "/"))
		return own;
	for (size_t i = 0; is_root && i < ARRAY_LEN(managed); i++) {
		const size_t len = strlen(managed[i]);

		if (str_starts(own, managed[i]) && (own[len] == '\0' || own[len] == '/'))
			return "/";
	}
	return NULL;
}

uint64_t keyed_number(struct span text, const char *key)
{
	struct span line;
	uint64_t value = 0;

	while (take_word(&text, '\n', &line)) {
		if (parse_literal(&line, key) && parse_byte(&line, ' ') &&
		    parse_u64(&line, UINT64_MAX, &value))
			return value;
	}
	return 0;
}
