// SPDX-License-Identifier: Apache-2.0

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "internal.h"

/// ECDHE with authenticated encryption only (RFC 8827 section 6.5), AES-128 first as browsers do. RSA stands for the
/// peer's certificate; ours is ECDSA.
static const char cipher_list[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

enum {
  /// Bytes of certificates that a peer may send; WebRTC's are self-signed and below 2 KB.
  CERTIFICATE_BYTES_MAX = 16384,
  /// Bytes of certificates that a server may send: ten of a usual size, twice what long chains have.
  CHAIN_BYTES_MAX = 32768,
};

/// What all contexts have in common.
static int configure(SSL_CTX *ssl) {
  if (SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION) != 1) return 0;
  if (SSL_CTX_set_cipher_list(ssl, cipher_list) != 1) return 0;
  if (SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384") != 1) return 0;
  SSL_CTX_set_options(
      ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_COMPRESSION |
               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(ssl, 1);
  return 1;
}

/// The peers' side: certificates of their own making, known by their digests, and SRTP.
static int configure_peer(SSL_CTX *ssl, const char *srtp_profiles) {
  if (!configure(ssl)) return 0;
  // Unlike its siblings this function returns 0 for success.
  if (srtp_profiles != NULL && SSL_CTX_set_tlsext_use_srtp(ssl, srtp_profiles) != 0) return 0;
  SSL_CTX_set_max_cert_list(ssl, CERTIFICATE_BYTES_MAX);
  // The first alone lets a handshake without a client certificate succeed.
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_cert_verify_callback(ssl, co_dtls_verify, NULL);
  return 1;
}

static co_context *make(const char *srtp_profiles, co_simulation simulation) {
  co_context *context = calloc(1, sizeof *context);
  if (context == NULL) {
    co_simulation_cleanup(&simulation);
    return NULL;
  }
  context->simulation = simulation;
  ERR_clear_error();
  context->ssl = SSL_CTX_new_ex(simulation.library, NULL, DTLS_method());
  if (context->ssl == NULL || !configure_peer(context->ssl, srtp_profiles)) {
    ERR_clear_error();
    co_context_free(context);
    return NULL;
  }
  return context;
}

co_context *co_context_new(const char *srtp_profiles) {
  return make(srtp_profiles, (co_simulation){NULL, NULL, NULL});
}

co_context *co_context_new_simulated(const char *srtp_profiles, uint64_t seed) {
  co_simulation simulation = {NULL, NULL, NULL};
  return co_simulation_init(&simulation, seed) ? make(srtp_profiles, simulation) : NULL;
}

// MARK: servers with certificates of authorities

/// Calls `use` for each certificate of a PEM text and returns how many there were, -1 when one is damaged or refused.
static int for_each_certificate(
    const uint8_t *pem, size_t bytes, SSL_CTX *ssl, int (*use)(SSL_CTX *ssl, X509 *certificate, int index)) {
  BIO *text = bytes > INT_MAX ? NULL : BIO_new_mem_buf(pem, (int)bytes);
  if (text == NULL) return -1;
  int count = 0;
  X509 *certificate;
  while (count >= 0 && (certificate = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) {
    count = use(ssl, certificate, count) == 1 ? count + 1 : -1;
    X509_free(certificate);
  }
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) count = -1;
  BIO_free(text);
  return count;
}

static int trust(SSL_CTX *ssl, X509 *certificate, int index) {
  (void)index;
  return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate);
}

static int show(SSL_CTX *ssl, X509 *certificate, int index) {
  return index == 0 ? SSL_CTX_use_certificate(ssl, certificate) : (int)SSL_CTX_add1_chain_cert(ssl, certificate);
}

static int configure_trusting(SSL_CTX *ssl, const char *file, const uint8_t *pem, size_t pem_bytes) {
  if (!configure(ssl)) return 0;
  SSL_CTX_set_max_cert_list(ssl, CHAIN_BYTES_MAX);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
  if (file != NULL) return SSL_CTX_load_verify_file(ssl, file) == 1;
  if (pem != NULL) return for_each_certificate(pem, pem_bytes, ssl, trust) > 0;
  return SSL_CTX_set_default_verify_paths(ssl) == 1;
}

static int configure_serving(
    SSL_CTX *ssl, const uint8_t *chain, size_t chain_bytes, const uint8_t *key, size_t key_bytes) {
  if (!configure(ssl) || for_each_certificate(chain, chain_bytes, ssl, show) < 1) return 0;
  BIO *text = BIO_new_mem_buf(key, (int)key_bytes);
  EVP_PKEY *private = text == NULL ? NULL : PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
  int ok = private != NULL && SSL_CTX_use_PrivateKey(ssl, private) == 1;
  EVP_PKEY_free(private);
  BIO_free(text);
  return ok;
}

static co_context *make_plain(co_identity identity) {
  co_context *context = calloc(1, sizeof *context);
  if (context == NULL) return NULL;
  context->identity = identity;
  ERR_clear_error();
  context->ssl = SSL_CTX_new(DTLS_method());
  if (context->ssl == NULL) {
    co_context_free(context);
    return NULL;
  }
  return context;
}

static co_context *finished(co_context *context, int is_configured) {
  ERR_clear_error();
  if (is_configured) return context;
  co_context_free(context);
  return NULL;
}

co_context *co_context_new_trusting(const char *file, const uint8_t *pem, size_t pem_bytes) {
  co_context *context = make_plain(CO_IDENTITY_CHAIN);
  if (context == NULL) return NULL;
  return finished(context, configure_trusting(context->ssl, file, pem, pem_bytes));
}

co_context *co_context_new_serving_for_test(
    const uint8_t *chain, size_t chain_bytes, const uint8_t *key, size_t key_bytes) {
  co_context *context = make_plain(CO_IDENTITY_ANYBODY);
  if (context == NULL) return NULL;
  return finished(context, configure_serving(context->ssl, chain, chain_bytes, key, key_bytes));
}

void co_context_free(co_context *context) {
  if (context == NULL) return;
  SSL_CTX_free(context->ssl);
  co_simulation_cleanup(&context->simulation);
  free(context);
}
