#include "config/toml.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct builder {
	struct toml_node *root;
	struct toml_node **open; /* owned stack; each one's parent grows no more while it is open */
	size_t open_count;
	size_t open_cap;
	bool has_nul;
	uint32_t nul_line;
	uint32_t nul_column;
};

static char *copy_text(struct builder *b, const struct toml_item *item, const char *text,
		       size_t len)
{
	if (!text)
		return NULL;
	if (memchr(text, '\0', len) && !b->has_nul) {
		b->has_nul = true;
		b->nul_line = item->line;
		b->nul_column = item->column;
	}
	return mem_strndup(text, len);
}

static struct toml_node *add_node(struct builder *b, const struct toml_item *item)
{
	struct toml_node *node = b->root;

	if (b->open_count > 0) {
		struct toml_node *parent = b->open[b->open_count - 1];

		if (parent->child_count == parent->child_cap) {
			parent->child_cap = parent->child_cap ? parent->child_cap * 2 : 4;
			parent->children = mem_grow(parent->children, parent->child_cap,
						    sizeof(*parent->children));
		}
		node = &parent->children[parent->child_count++];
	}

	*node = (struct toml_node){
		.type = item->type,
		.line = item->line,
		.column = item->column,
		.value_line = item->value_line,
		.value_column = item->value_column,
		.key = copy_text(b, item, item->key, item->key_len),
		.text = copy_text(b, item, item->text, item->text_len),
		.integer = item->integer,
		.boolean = item->boolean,
	};
	return node;
}

static void on_open(void *context, const struct toml_item *item)
{
	struct builder *b = context;
	struct toml_node *node = add_node(b, item);

	if (b->open_count == b->open_cap) {
		b->open_cap = b->open_cap ? b->open_cap * 2 : 16;
		b->open = mem_grow(b->open, b->open_cap, sizeof(struct toml_node *));
	}
	b->open[b->open_count++] = node;
}

static void on_leaf(void *context, const struct toml_item *item)
{
	(void)add_node(context, item);
}

static void on_close(void *context)
{
	struct builder *b = context;

	b->open_count--;
}

bool toml_parse(struct span text, size_t depth_max, struct toml_node *ret,
		struct toml_problem *ret_problem)
{
	struct toml_node root = { .type = TOML_TABLE };
	struct builder b = { .root = &root };
	const struct toml_sink sink = {
		.context = &b, .open = on_open, .leaf = on_leaf, .close = on_close
	};
	bool good;

	if (!toml_check_text(text, depth_max, ret_problem))
		return false;

	good = toml_bridge_parse((const char *)text.ptr, text.len, &sink, ret_problem);
	mem_free(b.open);
	if (good && b.has_nul) {
		*ret_problem = (struct toml_problem){ .line = b.nul_line, .column = b.nul_column };
		(void)snprintf(ret_problem->message, sizeof(ret_problem->message),
			       "a text with a NUL character in it");
		good = false;
	}
	if (!good) {
		toml_done(&root);
		return false;
	}

	*ret = root;
	return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): toml_check_text() has limited it */
void toml_done(struct toml_node *root)
{
	if (!root)
		return;

	for (size_t i = 0; i < root->child_count; i++)
		toml_done(&root->children[i]);
	mem_free(root->children);
	mem_free(root->key);
	mem_free(root->text);
	*root = (struct toml_node){ .type = TOML_TABLE };
}

const char *toml_type_phrase(enum toml_type type)
{
	switch (type) {
	case TOML_TABLE:
		return "a table";
	case TOML_ARRAY:
		return "an array";
	case TOML_STRING:
		return "a string";
	case TOML_INTEGER:
		return "an integer";
	case TOML_FLOAT:
		return "a floating-point number";
	case TOML_BOOLEAN:
		return "a boolean";
	case TOML_DATE:
		return "a date or time";
	}
	return "something else";
}
