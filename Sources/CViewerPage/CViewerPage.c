// SPDX-License-Identifier: Apache-2.0

#include "CViewerPage.h"

// #embed is C23; the compiler offers it in earlier modes as an extension and says so.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char index_html[] = {
#embed "assets/index.html"
};

static const unsigned char viewer_js[] = {
#embed "assets/viewer.js"
};

static const unsigned char console_js[] = {
#embed "assets/console.js"
};

static const unsigned char viewer_css[] = {
#embed "assets/viewer.css"
};

struct asset {
  const char *path;
  const char *content_type;
  const unsigned char *bytes;
  size_t size;
};

static const struct asset assets[] = {
  {"/", "text/html; charset=utf-8", index_html, sizeof index_html},
  {"/viewer.js", "text/javascript; charset=utf-8", viewer_js, sizeof viewer_js},
  {"/console.js", "text/javascript; charset=utf-8", console_js, sizeof console_js},
  {"/viewer.css", "text/css; charset=utf-8", viewer_css, sizeof viewer_css},
};

size_t cvp_asset_count(void) { return sizeof assets / sizeof assets[0]; }

const unsigned char *cvp_asset(size_t index, size_t *size, const char **path, const char **contentType) {
  if (index >= cvp_asset_count()) return NULL;
  const struct asset *asset = &assets[index];
  *size = asset->size;
  *path = asset->path;
  *contentType = asset->content_type;
  return asset->bytes;
}
