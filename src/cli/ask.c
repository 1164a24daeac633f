#include "cli/ask.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/link.h"
#include "cli/request.h"

int ask(struct cli *cli, const char *method, json_t *params, json_t **ret, struct err *err)
{
	AUTO_JSON *given = params;
	int r;

	r = link_open(cli, err);
	if (r < 0)
		return r;
	return request_call(cli, method, TAKE_PTR(given), NULL, ret, err);
}

int ask_about(struct cli *cli, const char *method, const char *key, const char *value, json_t **ret,
	      struct err *err)
{
	json_t *params = json_new_object();

	json_put_str(params, key, value);
	return ask(cli, method, params, ret, err);
}

int ask_to_delete(struct cli *cli, const char *method, const char *what, const char *name)
{
	AUTO_JSON *result = NULL;
	struct err err = ERR_INIT;

	if (ask_about(cli, method, what, name, &result, &err) < 0) {
		(void)err_context(&err, -EIO, "cannot delete %s '%s'", what, name);
		return cli_fail(cli, &err);
	}
	if (cli->out.is_json)
		out_json(&cli->out, result);
	else
		out_addf(&cli->out, "%s: deleted\n", json_get_str(result, "name"));
	return 0;
}

void ask_context(struct err *err, const char *what, const char *name)
{
	AUTO_FREE char *quoted = mem_printf("'%s'", name);

	if (!strstr(err->message, quoted))
		(void)err_context(err, -EIO, "%s %s", what, quoted);
}

void ask_context_of_making(struct err *err, const char *what)
{
	if (!str_starts(err->message, "cannot create "))
		(void)err_context(err, -EIO, "%s", what);
}
