// SPDX-License-Identifier: Apache-2.0

#ifndef CVIEWERPAGE_H
#define CVIEWERPAGE_H

#include <stddef.h>

/// How many files the viewer page consists of.
size_t cvp_asset_count(void);

/// One file of the viewer page, by index from 0.
///
/// Returns its bytes, which live as long as the program, and writes their number, the path that the file is served
/// under ("/" for the page itself) and its content type. Returns NULL when the index is too large.
const unsigned char *cvp_asset(size_t index, size_t *size, const char **path, const char **contentType);

#endif
