// SPDX-License-Identifier: Apache-2.0

#ifndef COPENSSL_INTERNAL_H
#define COPENSSL_INTERNAL_H

#include <openssl/ssl.h>

#include "COpenSSL.h"

struct co_context {
  SSL_CTX *ssl;
  /// NULL: OpenSSL's default library context.
  OSSL_LIB_CTX *library;
};

struct co_certificate {
  X509 *x509;
  EVP_PKEY *key;
};

/// The hash function of a CO_SHA... number, NULL for any other.
const EVP_MD *co_hash_function(int hash);

/// Makes a library context whose random numbers follow from `seed`.
OSSL_LIB_CTX *co_simulated_library_new(uint64_t seed);
void co_simulated_library_free(OSSL_LIB_CTX *library);

/// The verify callback of every context: checks the peer's certificate against the accepted digests.
int co_dtls_verify(X509_STORE_CTX *store, void *argument);

/// OpenSSL's timer callback: the first duration of a flight, then twice the one before.
unsigned int co_dtls_timer(SSL *ssl, unsigned int previous_microseconds);

#endif
