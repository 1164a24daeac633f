/* toml++ in, callbacks out. The only C++ of banger: see toml_bridge.h. */
#include "config/toml_bridge.h"

#include <cstdio>
#include <string_view>

namespace
{
/*
 * A broken invariant of the parser: text that it should have refused. A function throws, because
 * some of those who assert are noexcept: there it ends the program, as assert() would.
 */
struct broken {
};

[[noreturn]] void invariant_is_broken()
{
	throw broken{};
}
} // namespace

#define TOML_EXCEPTIONS 0
#define TOML_ASSERT(condition)                 \
	do {                                   \
		if (!(condition))              \
			invariant_is_broken(); \
	} while (0)
#define TOML_ENABLE_FORMATTERS 0
#define TOML_HEADER_ONLY       1
#include <toml++/toml.h>

namespace
{

enum toml_type type_of(const toml::node &node)
{
	switch (node.type()) {
	case toml::node_type::table:
		return TOML_TABLE;
	case toml::node_type::array:
		return TOML_ARRAY;
	case toml::node_type::string:
		return TOML_STRING;
	case toml::node_type::integer:
		return TOML_INTEGER;
	case toml::node_type::floating_point:
		return TOML_FLOAT;
	case toml::node_type::boolean:
		return TOML_BOOLEAN;
	case toml::node_type::none:
	case toml::node_type::date:
	case toml::node_type::time:
	case toml::node_type::date_time:
		break;
	}
	return TOML_DATE;
}

/* Recursion is as deep as the text nests, which toml_check_text() has limited. */
void report(const toml::node &node, const toml::key *key, const struct toml_sink &sink)
{
	struct toml_item item = {};

	item.type = type_of(node);
	item.value_line = node.source().begin.line;
	item.value_column = node.source().begin.column;
	item.line = item.value_line;
	item.column = item.value_column;
	if (key) {
		item.key = key->str().data();
		item.key_len = key->str().size();
		item.line = key->source().begin.line;
		item.column = key->source().begin.column;
	}

	if (const auto *table = node.as_table()) {
		sink.open(sink.context, &item);
		for (auto &&[child_key, child] : *table)
			report(child, &child_key, sink);
		sink.close(sink.context);
		return;
	}
	if (const auto *array = node.as_array()) {
		sink.open(sink.context, &item);
		for (auto &&child : *array)
			report(child, nullptr, sink);
		sink.close(sink.context);
		return;
	}

	if (const auto *text = node.as_string()) {
		item.text = text->get().data();
		item.text_len = text->get().size();
	} else if (const auto *integer = node.as_integer()) {
		item.integer = integer->get();
	} else if (const auto *boolean = node.as_boolean()) {
		item.boolean = boolean->get();
	}
	sink.leaf(sink.context, &item);
}

} // namespace

bool toml_bridge_parse(const char *text, size_t len, const struct toml_sink *sink,
		       struct toml_problem *ret_problem)
try {
	const toml::parse_result result = toml::parse(std::string_view{ text, len });

	if (!result) {
		const toml::parse_error &error = result.error();
		const std::string_view description = error.description();

		ret_problem->line = error.source().begin.line;
		ret_problem->column = error.source().begin.column;
		(void)std::snprintf(ret_problem->message, sizeof(ret_problem->message), "%.*s",
				    static_cast<int>(description.size()), description.data());
		return false;
	}

	report(result.table(), nullptr, *sink);
	return true;
} catch (const broken &) {
	ret_problem->line = 1;
	ret_problem->column = 1;
	(void)std::snprintf(ret_problem->message, sizeof(ret_problem->message),
			    "somewhere in the file is something that is no TOML");
	return false;
}
