/* What the files of this folder share. */
#pragma once

#include "priv/priv.h"

struct priv {
	char tag[PRIV_TAG_SIZE];
};
