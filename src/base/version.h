/* Version, commit and build time of this build; the same in every program. */
#pragma once

struct version {
	const char *version; /* "0.1.0" */
	const char
		*commit; /* short hash, with "+" when the tree was changed; "unknown" without git */
	const char *built; /* RFC 3339; SOURCE_DATE_EPOCH honoured */
};

extern const struct version banger_version;
