/*
 * TOML through our own interface: what TOML 1.0 allows comes out as the tree that it means, what it
 * forbids is refused at the line where it stands. toml++ parses; this is what we hold it to, by the
 * sections of the specification. (With the project's own toml-test corpus of 709 files all verdicts
 * are as they should be, but for three texts with a NUL, which we refuse.)
 */
#include "check.h"

#include "base/buf.h"
#include "base/text.h"
#include "config/toml.h"

#define DEPTH 64

/* A text whose length is that of the literal, so that it may have a NUL. */
#define TEXT(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

struct text {
	const char *bytes;
	size_t size;
};

/* {a=1 b="x" c=[1 2] d=date e=float}: strings as they are, but for control characters. */
static void show(const struct toml_node *node, struct buf *out)
{
	switch (node->type) {
	case TOML_TABLE:
	case TOML_ARRAY:
		buf_add_byte(out, node->type == TOML_TABLE ? '{' : '[');
		for (size_t i = 0; i < node->child_count; i++) {
			const struct toml_node *child = &node->children[i];

			if (i > 0)
				buf_add_byte(out, ' ');
			if (child->key) {
				text_escape(out, span_str(child->key), SIZE_MAX);
				buf_add_byte(out, '=');
			}
			show(child, out);
		}
		buf_add_byte(out, node->type == TOML_TABLE ? '}' : ']');
		return;
	case TOML_STRING:
		buf_add_byte(out, '"');
		text_escape(out, span_str(node->text), SIZE_MAX);
		buf_add_byte(out, '"');
		return;
	case TOML_INTEGER:
		buf_addf(out, "%lld", (long long)node->integer);
		return;
	case TOML_FLOAT:
		buf_add_str(out, "float");
		return;
	case TOML_BOOLEAN:
		buf_add_str(out, node->boolean ? "true" : "false");
		return;
	case TOML_DATE:
		buf_add_str(out, "date");
		return;
	}
}

static void test_allowed(void **state)
{
	static const struct {
		struct text text;
		const char *tree;
	} rows[] = {
		/* the document */
		{ TEXT(""), "{}" },
		{ TEXT("\n\r\n \t\n# only comments\r\n#"), "{}" },
		{ TEXT("\xef\xbb\xbf"), "{}" },
		{ TEXT("\xef\xbb\xbf"
		       "a=1"),
		  "{a=1}" },
		{ TEXT("a = 1 # then a comment: [b] \xc3\xa9 \xf0\x9f\xa6\x80\ttab"), "{a=1}" },
		{ TEXT("a=1\r\nb=2\r\n"), "{a=1 b=2}" },
		/* keys */
		{ TEXT("a-b_C9 = 1\n1234 = 2\n-=3\n_=4\n"), "{-=3 1234=2 _=4 a-b_C9=1}" },
		{ TEXT("'a.b' = 1\n\"c d\" = 2\n\"\" = 3\n"), "{=3 a.b=1 c d=2}" },
		{ TEXT("a . 'b' .\"c\" = 1\na.d=2"), "{a={b={c=1} d=2}}" },
		{ TEXT("3.14 = 1\ntrue = 2\ninf=3"), "{3={14=1} inf=3 true=2}" },
		{ TEXT("\"\\u00e9\" = 1\n'\xc3\xa9\xc3\xa9' = 2"),
		  "{\xc3\xa9=1 \xc3\xa9\xc3\xa9=2}" },
		/* a precomposed and a combined letter are two keys */
		{ TEXT("'\xc3\xa9' = 1\n'e\xcc\x81' = 2"), "{e\xcc\x81=2 \xc3\xa9=1}" },
		/* strings */
		{ TEXT("a = \"\"\nb = ''\nc = \"\"\"\"\"\"\nd = ''''''"),
		  "{a=\"\" b=\"\" c=\"\" d=\"\"}" },
		{ TEXT("a = \"\\b\\t\\n\\f\\r\\\"\\\\\""),
		  "{a=\"\\x08\\x09\\x0a\\x0c\\x0d\"\\\"}" },
		{ TEXT("a = \"\\u00E9\\U0001F980\\ud7ff\\ue000\""),
		  "{a=\"\xc3\xa9\xf0\x9f\xa6\x80\xed\x9f\xbf\xee\x80\x80\"}" },
		{ TEXT("a = 'C:\\n\\u0000'"), "{a=\"C:\\n\\u0000\"}" },
		{ TEXT("a = \"#[]={}\" # \"\"\""), "{a=\"#[]={}\"}" },
		{ TEXT("a = \"\ttab\""), "{a=\"\\x09tab\"}" },
		{ TEXT("a = \"\"\"\none\ntwo\"\"\""), "{a=\"one\\x0atwo\"}" },
		{ TEXT("a = \"\"\"\r\none\r\ntwo\"\"\""), "{a=\"one\\x0atwo\"}" },
		{ TEXT("a = \"\"\"one \\\n\n   \t two\"\"\""), "{a=\"one two\"}" },
		{ TEXT("a = \"\"\"one \\   \n two\"\"\""), "{a=\"one two\"}" },
		{ TEXT("a = \"\"\"\"one\" \"\"two\"\"\"\"\""), "{a=\"\"one\" \"\"two\"\"\"}" },
		{ TEXT("a = \"\"\"\\\"\"\"\\\"\"\"\""), "{a=\"\"\"\"\"\"}" },
		{ TEXT("a = '''\n'one' ''two'''''"), "{a=\"'one' ''two''\"}" },
		{ TEXT("a = '''one \\\n two'''"), "{a=\"one \\\\x0a two\"}" },
		{ TEXT("a = \"\"\"\"\"\"\"\""), "{a=\"\"\"\"}" },
		/* integers */
		{ TEXT("a=0\nb=+0\nc=-0\nd=+99\ne=-17\nf=1_000_000"),
		  "{a=0 b=0 c=0 d=99 e=-17 f=1000000}" },
		{ TEXT("a=0xDEAD_beef\nb=0o755\nc=0b1101_0110\nd=0x00\ne=0o0\nf=0b0"),
		  "{a=3735928559 b=493 c=214 d=0 e=0 f=0}" },
		{ TEXT("a=9223372036854775807\nb=-9223372036854775808\nc=0x7fffffffffffffff"),
		  "{a=9223372036854775807 b=-9223372036854775808 c=9223372036854775807}" },
		/* floats, booleans */
		{ TEXT("a=1.0\nb=-0.5\nc=5e+22\nd=1E06\ne=6.626e-34\nf=9_2.1_4\ng=inf\nh=-inf\ni=+"
		       "nan"),
		  "{a=float b=float c=float d=float e=float f=float g=float h=float i=float}" },
		{ TEXT("a=true\nb=false"), "{a=true b=false}" },
		/* dates and times */
		{ TEXT("a=1979-05-27T07:32:00Z\nb=1979-05-27 "
		       "00:32:00.999999-07:00\nc=1979-05-27T07:32:00\nd=1979-05-27\ne=07:32:00."
		       "5\nf=2000-02-29t23:59:59z"),
		  "{a=date b=date c=date d=date e=date f=date}" },
		/* arrays */
		{ TEXT("a=[]\nb=[ ]\nc=[1,2,]\nd=[[1],['x',true]]"),
		  "{a=[] b=[] c=[1 2] d=[[1] [\"x\" true]]}" },
		{ TEXT("a = [ # one\n 1, # [\n\n 2\n ,\n # last\n]\nb=3"), "{a=[1 2] b=3}" },
		{ TEXT("a=[\"]\", ']', \"#\"]"), "{a=[\"]\" \"]\" \"#\"]}" },
		{ TEXT("a=[{b=1},{}]"), "{a=[{b=1} {}]}" },
		/* tables */
		{ TEXT("[a]\n[b]\nc=1"), "{a={} b={c=1}}" },
		{ TEXT("[ a . 'b' ] # x\nc=1\n[a]\nd=2"), "{a={b={c=1} d=2}}" },
		{ TEXT("[a.b.c]\n[a]\n[a.b]\nx=1"), "{a={b={c={} x=1}}}" },
		{ TEXT("[fruit]\napple.color=1\napple.taste.sweet=true\n[fruit.pear]\nx=1"),
		  "{fruit={apple={color=1 taste={sweet=true}} pear={x=1}}}" },
		{ TEXT("a={}\nb={c=1, d.e=2, 'f g'={h=[1,{}]}}"),
		  "{a={} b={c=1 d={e=2} f g={h=[1 {}]}}}" },
		{ TEXT("[[a]]\nb=1\n[[a]]\n[a.c]\nd=2\n[[a.e]]\n[[a.e]]\nf=3"),
		  "{a=[{b=1} {c={d=2} e=[{} {f=3}]}]}" },
		{ TEXT("[a.b]\n[[a.c]]"), "{a={b={} c=[{}]}}" },
		{ TEXT("a.b=1\n[c]\na.b=2"), "{a={b=1} c={a={b=2}}}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct toml_problem problem = { 0 };
		AUTO_BUF tree = BUF_INIT;
		AUTO_TOML root = { 0 };

		if (!toml_parse(span_of(rows[i].text.bytes, rows[i].text.size), DEPTH, &root,
				&problem))
			fail_msg("row %zu is refused: %u:%u: %s\n%s", i, problem.line,
				 problem.column, problem.message, rows[i].text.bytes);
		show(&root, &tree);
		CHECK_STR(tree.ptr, rows[i].tree);
	}
}

static void test_forbidden(void **state)
{
	static const struct {
		struct text text;
		uint32_t line;
	} rows[] = {
		/* the document: encodings, control characters, line ends */
		{ TEXT("a=1\nb=2\nc='\xff\xfe'"), 3 },
		{ TEXT("\xff\xfe"
		       "a\0=\0"
		       "1\0"),
		  1 },
		{ TEXT("\xfe\xff\0a\0=\0"
		       "1"),
		  1 },
		{ TEXT("a='\xc3'\n"), 1 },
		{ TEXT("a='\xc0\xaf'"), 1 },
		{ TEXT("a='\xe2\x82'"), 1 },
		{ TEXT("a='\xed\xa0\x80'"), 1 },
		{ TEXT("a='\xf4\x90\x80\x80'"), 1 },
		{ TEXT("# \xc3\x28\na=1"), 1 },
		{ TEXT("a=1\n\xef\xbb\xbf"
		       "b=2"),
		  2 },
		{ TEXT("a=1\n# \0"), 2 },
		{ TEXT("a=1\n\0"), 2 },
		{ TEXT("a=1\n# \x1f"), 2 },
		{ TEXT("# \x7f"), 1 },
		{ TEXT("a=\"\x7f\""), 1 },
		{ TEXT("a='\x08'"), 1 },
		{ TEXT("a=\"\"\"\n\x0b\"\"\""), 2 },
		{ TEXT("a='''\n\x1b'''"), 2 },
		{ TEXT("a=1\rb=2"), 1 },
		{ TEXT("# x\ra=1"), 1 },
		{ TEXT("a=\"\"\"x\ry\"\"\""), 1 },
		{ TEXT("a=1 b=2"), 1 },
		{ TEXT("\n\na"), 3 },
		{ TEXT("a="), 1 },
		{ TEXT("a=\nb=1"), 1 },
		{ TEXT("=1"), 1 },
		{ TEXT("a==1"), 1 },
		{ TEXT("a:1"), 1 },
		{ TEXT("a=1;"), 1 },
		{ TEXT("\"a\nb\"=1"), 1 },
		/* keys */
		{ TEXT("a b = 1"), 1 },
		{ TEXT("a..b=1"), 1 },
		{ TEXT(".a=1"), 1 },
		{ TEXT("a.=1"), 1 },
		{ TEXT("a\n=1"), 1 },
		{ TEXT("\xc3\xa9=1"), 1 },
		{ TEXT("a#b=1"), 1 },
		{ TEXT("\"\"\"a\"\"\"=1"), 1 },
		{ TEXT("'''a'''=1"), 1 },
		{ TEXT("\"a\\x\"=1"), 1 },
		{ TEXT("[a]=1"), 1 },
		{ TEXT("a={b=1}.c"), 1 },
		/* defined twice */
		{ TEXT("a=1\na=2"), 2 },
		{ TEXT("a=1\n\"a\"=2"), 2 },
		{ TEXT("\"\\u0061\"=1\n'a'=2"), 2 },
		{ TEXT("a=1\na.b=2"), 2 },
		{ TEXT("a.b=1\na.b.c=2"), 2 },
		{ TEXT("a.b=1\na=2"), 2 },
		{ TEXT("[a]\n[a]"), 2 },
		{ TEXT("[a]\nb=1\n[a.b]"), 3 },
		{ TEXT("[a]\nb.c=1\n[a.b]"), 3 },
		{ TEXT("[a.b]\n[a]\nb.c=1"), 3 },
		{ TEXT("a={b=1}\n[a]"), 2 },
		{ TEXT("a={b=1}\na.c=2"), 2 },
		{ TEXT("a={}\n[a.b]"), 2 },
		{ TEXT("a={b=1,b=2}"), 1 },
		{ TEXT("a={b.c=1,b=2}"), 1 },
		{ TEXT("a={b={c=1},b.d=2}"), 1 },
		{ TEXT("a=[]\n[[a]]"), 2 },
		{ TEXT("a=[{}]\n[a.b]"), 2 },
		{ TEXT("[[a]]\n[a]"), 2 },
		{ TEXT("[a]\n[[a]]"), 2 },
		{ TEXT("[a.b]\n[[a]]"), 2 },
		{ TEXT("[[a]]\nb=1\n[[a.b]]"), 3 },
		/* tables */
		{ TEXT("[a"), 1 },
		{ TEXT("[a\n]"), 1 },
		{ TEXT("[]"), 1 },
		{ TEXT("[a.]"), 1 },
		{ TEXT("[.a]"), 1 },
		{ TEXT("[a] b=1"), 1 },
		{ TEXT("[a]]"), 1 },
		{ TEXT("[a b]"), 1 },
		{ TEXT("[[a]"), 1 },
		{ TEXT("[[a] ]"), 1 },
		{ TEXT("[ [a]]"), 1 },
		{ TEXT("a={b=1"), 1 },
		{ TEXT("a={b=1,}"), 1 },
		{ TEXT("a={,}"), 1 },
		{ TEXT("a={b=1 c=2}"), 1 },
		{ TEXT("a={b=1,\nc=2}"), 1 },
		{ TEXT("a={b}"), 1 },
		/* strings */
		{ TEXT("a=\"x"), 1 },
		{ TEXT("a='x"), 1 },
		{ TEXT("a=\"x\ny\""), 1 },
		{ TEXT("a='x\ny'"), 1 },
		{ TEXT("a=\"\"\"x\n"), 1 },
		{ TEXT("a='''x\n"), 1 },
		{ TEXT("a=\"\\a\""), 1 },
		{ TEXT("a=\"\\ \""), 1 },
		{ TEXT("a=\"\\u12\""), 1 },
		{ TEXT("a=\"\\u12g4\""), 1 },
		{ TEXT("a=\"\\ud800\""), 1 },
		{ TEXT("a=\"\\U00110000\""), 1 },
		{ TEXT("a=\"\\U7fffffff\""), 1 },
		{ TEXT("a=\"\"\"\\ x\"\"\""), 1 },
		{ TEXT("a=\"\"\"\"\"\"\"\"\""), 1 },
		{ TEXT("a=''''''''''"), 1 },
		{ TEXT("a=x"), 1 },
		{ TEXT("a='x' 'y'"), 1 },
		{ TEXT("a='it's'"), 1 },
		/* integers */
		{ TEXT("a=9223372036854775808"), 1 },
		{ TEXT("a=-9223372036854775809"), 1 },
		{ TEXT("a=0x8000000000000000"), 1 },
		{ TEXT("a=0xffffffffffffffffff"), 1 },
		{ TEXT("a=01"), 1 },
		{ TEXT("a=-01"), 1 },
		{ TEXT("a=0_0"), 1 },
		{ TEXT("a=1__0"), 1 },
		{ TEXT("a=_1"), 1 },
		{ TEXT("a=1_"), 1 },
		{ TEXT("a=0x"), 1 },
		{ TEXT("a=0x_1"), 1 },
		{ TEXT("a=0XFF"), 1 },
		{ TEXT("a=0b12"), 1 },
		{ TEXT("a=0o8"), 1 },
		{ TEXT("a=+0x1"), 1 },
		{ TEXT("a=--1"), 1 },
		{ TEXT("a=1k"), 1 },
		{ TEXT("a=+"), 1 },
		{ TEXT("a=\xd9\xa3"), 1 },
		/* floats, booleans */
		{ TEXT("a=1."), 1 },
		{ TEXT("a=.1"), 1 },
		{ TEXT("a=1.e2"), 1 },
		{ TEXT("a=1e"), 1 },
		{ TEXT("a=1e1.5"), 1 },
		{ TEXT("a=1_.5"), 1 },
		{ TEXT("a=01.5"), 1 },
		{ TEXT("a=Inf"), 1 },
		{ TEXT("a=nan1"), 1 },
		{ TEXT("a=1.2.3"), 1 },
		{ TEXT("a=True"), 1 },
		{ TEXT("a=tru"), 1 },
		{ TEXT("a=falsey"), 1 },
		/* dates and times */
		{ TEXT("a=1979-02-30"), 1 },
		{ TEXT("a=1900-02-29"), 1 },
		{ TEXT("a=1979-13-01"), 1 },
		{ TEXT("a=1979-00-01"), 1 },
		{ TEXT("a=79-01-01"), 1 },
		{ TEXT("a=1979-1-1"), 1 },
		{ TEXT("a=24:00:00"), 1 },
		{ TEXT("a=07:60:00"), 1 },
		{ TEXT("a=07:00"), 1 },
		{ TEXT("a=07:00:00."), 1 },
		{ TEXT("a=1979-05-27T"), 1 },
		{ TEXT("a=1979-05-27T07:32:00+24:00"), 1 },
		{ TEXT("a=1979-05-27T07:32:00+7"), 1 },
		/* arrays */
		{ TEXT("a=["), 1 },
		{ TEXT("a=[1\n2]"), 2 },
		{ TEXT("a=[,]"), 1 },
		{ TEXT("a=[1,,2]"), 1 },
		{ TEXT("a=[1\n\n"), 2 },
		{ TEXT("a=[1]]"), 1 },
		{ TEXT("a=]"), 1 },
		{ TEXT("a=[b=1]"), 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct toml_node untouched = { .integer = 7 };
		struct toml_problem problem = { 0 };
		struct toml_node root = untouched;

		if (toml_parse(span_of(rows[i].text.bytes, rows[i].text.size), DEPTH, &root,
			       &problem))
			fail_msg("row %zu is taken: %s", i, rows[i].text.bytes);
		if (problem.line != rows[i].line)
			fail_msg("row %zu is refused at %u:%u, wanted line %u: %s\n%s", i,
				 problem.line, problem.column, rows[i].line, problem.message,
				 rows[i].text.bytes);
		assert_true(problem.column > 0 && problem.message[0]);
		CHECK_ROW(i, memcmp(&root, &untouched, sizeof(root)) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
