/*
 * The host's own package sources, as far as they are Debian's archive: a host in a closed network
 * has its mirror there, and what it trusts for itself is right for the guests.
 */
#pragma once

#include "base/err.h"
#include "base/macros.h"
#include "base/span.h"
#include "base/strv.h"

/*
 * Appends "deb URI SUITE main" for each enabled source of `suite`, its updates and its security
 * updates, in the order of the files. Taken as Debian's archive is what has an http(s) address
 * whose path ends in "debian" or "debian-security" (or is of snapshot.debian.org), the component
 * main, and no key of its own but Debian's. Others are passed over, and so is what is malformed:
 * apt is there to complain.
 */
void apt_sources_parse_list(struct span text, const char *suite, struct strv *ret);
void apt_sources_parse_stanzas(struct span text, const char *suite, struct strv *ret);

/*
 * The same for sources.list, sources.list.d/NAME.list and NAME.sources below `apt_dir`
 * ("/etc/apt"). Nothing when the suite itself is not among them: updates alone are no archive. 0 or
 * -errno; missing files are none.
 */
int apt_sources_read(const char *apt_dir, const char *suite, struct strv *ret) MUST_CHECK;
