// SPDX-License-Identifier: Apache-2.0

#ifndef COPENSSL_INTERNAL_H
#define COPENSSL_INTERNAL_H

#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "COpenSSL.h"

/// A library context whose random numbers follow from a seed.
typedef struct {
  /// NULL: OpenSSL's default library context, nothing simulated.
  OSSL_LIB_CTX *library;
  OSSL_PROVIDER *generators;
  OSSL_PROVIDER *algorithms;
} co_simulation;

/// How an association knows its peer.
typedef enum {
  /// By the digest of its certificate: WebRTC. It has to agree on an SRTP profile too.
  CO_IDENTITY_DIGEST,
  /// By a chain to a trusted authority and the host's name: a client of a server.
  CO_IDENTITY_CHAIN,
  /// Not at all: a server in tests.
  CO_IDENTITY_ANYBODY,
} co_identity;

struct co_context {
  SSL_CTX *ssl;
  co_identity identity;
  co_simulation simulation;
};

struct co_certificate {
  X509 *x509;
  EVP_PKEY *key;
};

/// The hash function of a CO_SHA... number, NULL for any other.
const EVP_MD *co_hash_function(int hash);

/// How host names are compared: the subject's common name is none (RFC 9525 section 2), and "w*.example.com" is no
/// wildcard (section 6.3).
enum { CO_HOST_FLAGS = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT };

/// Fills an empty simulation; on failure it stays empty.
int co_simulation_init(co_simulation *simulation, uint64_t seed);
void co_simulation_cleanup(co_simulation *simulation);

/// The verify callback of every context: checks the peer's certificate against the accepted digests.
int co_dtls_verify(X509_STORE_CTX *store, void *argument);

/// OpenSSL's timer callback: the first duration of a flight, then twice the one before.
unsigned int co_dtls_timer(SSL *ssl, unsigned int previous_microseconds);

#endif
