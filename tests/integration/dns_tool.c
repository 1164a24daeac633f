/*
 * The .vm server with names from its input: dns_tool ADDRESS... prints "ADDRESS PORT" for each,
 * then takes lines "NAME IPV4", "NAME -" (no address) and "NAME gone", answers each with "ok", and
 * ends with its input.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "dns/server.h"

static int obey(struct dns_zone *zone, char *line)
{
	char *blank = strchr(line, ' ');
	struct in_addr address = { 0 };

	line[strcspn(line, "\n")] = '\0';
	if (!blank)
		return 1;
	*blank = '\0';
	if (str_eq(blank + 1, "gone")) {
		dns_zone_remove(zone, line);
	} else {
		if (!str_eq(blank + 1, "-") && inet_pton(AF_INET, blank + 1, &address) != 1)
			return 1;
		dns_zone_set(zone, line, ntohl(address.s_addr));
	}
	return puts("ok") < 0 || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	CLEANUP(dns_zone_freep) struct dns_zone *zone = dns_zone_new();
	struct dns_server *server;
	struct err err = ERR_INIT;
	char line[256];
	int r = 0;

	if (dns_server_start(zone, (const char *const *)argv + 1, (size_t)argc - 1, &server, &err) <
	    0) {
		(void)fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	for (int i = 1; i < argc; i++)
		printf("%s %u\n", argv[i], dns_server_port(server, (size_t)i - 1));
	r = fflush(stdout);
	while (r == 0 && fgets(line, sizeof(line), stdin))
		r = obey(zone, line);
	dns_server_stop(server);
	return r;
}
