// SPDX-License-Identifier: Apache-2.0

#include <openssl/err.h>
#include <stdlib.h>

#include "internal.h"

/// ECDHE with authenticated encryption only (RFC 8827 section 6.5), AES-128 first as browsers do. RSA stands for the
/// peer's certificate; ours is ECDSA.
static const char cipher_list[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// Bytes of certificates that a peer may send; WebRTC's are self-signed and below 2 KB.
enum { CERTIFICATE_BYTES_MAX = 16384 };

static int configure(SSL_CTX *ssl, const char *srtp_profiles) {
  if (SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION) != 1) return 0;
  if (SSL_CTX_set_cipher_list(ssl, cipher_list) != 1) return 0;
  if (SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384") != 1) return 0;
  // Unlike its siblings this function returns 0 for success.
  if (srtp_profiles != NULL && SSL_CTX_set_tlsext_use_srtp(ssl, srtp_profiles) != 0) return 0;
  SSL_CTX_set_options(
      ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_COMPRESSION |
               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(ssl, CERTIFICATE_BYTES_MAX);
  SSL_CTX_set_read_ahead(ssl, 1);
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
  if (context->ssl == NULL || !configure(context->ssl, srtp_profiles)) {
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

void co_context_free(co_context *context) {
  if (context == NULL) return;
  SSL_CTX_free(context->ssl);
  co_simulation_cleanup(&context->simulation);
  free(context);
}
