#include "ext4/path.h"

#include "ext4/tree.h"

bool path_next(struct span *path, struct span *ret)
{
	size_t len = 0;

	while (path->len > 0 && path->ptr[0] == '/')
		*path = span_skip(*path, 1);
	while (len < path->len && path->ptr[len] != '/')
		len++;
	*ret = span_of(path->ptr, len);
	*path = span_skip(*path, len);
	while (path->len > 0 && path->ptr[0] == '/')
		*path = span_skip(*path, 1);
	return ret->len > 0;
}

bool path_is_dot(struct span name)
{
	return span_eq(name, span_str("."));
}

bool path_is_dot_dot(struct span name)
{
	return span_eq(name, span_str(".."));
}

int path_check(struct span path, struct err *err)
{
	struct span name;

	if (path.len == 0)
		return err_set(err, ERR_INVALID, "the name is empty");
	if (path.len > TREE_PATH_MAX)
		return err_set(err, ERR_INVALID, "the name has %zu bytes, more than %d", path.len,
			       TREE_PATH_MAX);
	while (path_next(&path, &name)) {
		if (path_is_dot_dot(name))
			return err_set(err, ERR_INVALID, "'..' is not allowed");
		if (name.len > TREE_NAME_MAX)
			return err_set(err, ERR_INVALID, "a component has %zu bytes, more than %d",
				       name.len, TREE_NAME_MAX);
	}
	return 0;
}

void path_split(struct span path, struct span *ret_parent, struct span *ret_name)
{
	struct span rest = path;
	struct span name;

	*ret_parent = span_of(path.ptr, 0);
	*ret_name = span_of(path.ptr, 0);
	while (path_next(&rest, &name)) {
		if (path_is_dot(name))
			continue;
		*ret_parent = span_of(path.ptr, (size_t)(name.ptr - path.ptr));
		*ret_name = name;
	}
}
