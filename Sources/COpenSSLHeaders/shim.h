// SPDX-License-Identifier: Apache-2.0

// Nothing but COpenSSL may import this module: its C types clash with those of BoringSSL.
#ifndef COPENSSLHEADERS_SHIM_H
#define COPENSSLHEADERS_SHIM_H

#include <openssl/ssl.h>

#endif
