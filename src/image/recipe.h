/* Inside src/image: what a recipe means for mmdebstrap. */
#pragma once

#include "base/strv.h"
#include "image/image.h"

/* Appends mmdebstrap's options for it, beside suite, variant and packages. */
void recipe_options(const struct image_recipe *recipe, struct strv *ret);
