// SPDX-License-Identifier: Apache-2.0

#include <openssl/err.h>
#include <openssl/srtp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "internal.h"
#include "message_queue.h"

enum {
  /// Digests of one hash that a session description may list; certificates of a peer, so 1 in practice.
  ACCEPTED_DIGESTS_MAX = 8,
  /// Bytes waiting to be sent: a few flights of the handshake, or 80 SCTP packets.
  OUTPUT_BYTES_MAX = 98304,
  /// Bytes of received application data waiting to be taken.
  MESSAGE_BYTES_MAX = 98304,
  /// The longest plaintext of one record (RFC 6347 section 4.3.1).
  RECORD_BYTES_MAX = 16384,
  /// The shortest record, a bare header (RFC 6347 section 4.1): bounds the reads for one datagram.
  RECORD_BYTES_MIN = 13,
  /// Header, explicit nonce and tag of AES-GCM (RFC 5288), the most of the cipher suites that we agree to.
  RECORD_OVERHEAD_BYTES_MAX = 37,
  /// RFC 6347 section 4.2.4.1: the timer doubles up to 60 seconds.
  TIMEOUT_MICROSECONDS_MAX = 60000000,
  /// Bytes of IPv4 and UDP headers.
  IP_OVERHEAD_BYTES = 28,
};

struct co_dtls {
  SSL *ssl;
  co_identity identity;
  /// For CO_IDENTITY_CHAIN: whose certificate it has to be is set.
  int has_host;
  /// For CO_IDENTITY_DIGEST: whether a handshake without an SRTP profile may succeed.
  int allows_no_srtp;
  co_dtls_state state;
  co_dtls_failure_kind failure;
  const char *reason;
  /// The datagram lent to the call in progress, NULL once OpenSSL has taken it.
  const uint8_t *input;
  size_t input_bytes;
  /// Memory that is lent to the call in progress for the next datagram, NULL for none, and what was written to it.
  uint8_t *lent_output;
  size_t lent_output_room;
  size_t lent_output_bytes;
  message_queue output;
  message_queue messages;
  int accepted_hash;
  size_t accepted_count;
  size_t accepted_bytes;
  uint8_t accepted[ACCEPTED_DIGESTS_MAX][CO_DIGEST_BYTES_MAX];
  int is_verified;
  uint32_t first_timeout_microseconds;
};

// MARK: time

// Defined by the target CVirtualClock, which simulations link: OpenSSL's timer then sees the caller's time.
extern void cvc_set_time(int64_t nanoseconds) __attribute__((weak));
extern void cvc_clear_time(void) __attribute__((weak));

static void enter(int64_t now) {
  ERR_clear_error();
  if (cvc_set_time != NULL) cvc_set_time(now);
}

static void leave(void) {
  if (cvc_clear_time != NULL) cvc_clear_time();
  ERR_clear_error();
}

unsigned int co_dtls_timer(SSL *ssl, unsigned int previous_microseconds) {
  const co_dtls *dtls = SSL_get_app_data(ssl);
  if (previous_microseconds == 0) return dtls->first_timeout_microseconds;
  if (previous_microseconds >= TIMEOUT_MICROSECONDS_MAX / 2) return TIMEOUT_MICROSECONDS_MAX;
  return previous_microseconds * 2;
}

// MARK: datagrams in and out

static int bio_read(BIO *bio, char *data, int bytes) {
  co_dtls *dtls = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (dtls->input == NULL) {
    BIO_set_retry_read(bio);
    return -1;
  }
  // As with a socket, what does not fit is lost.
  size_t count = dtls->input_bytes < (size_t)bytes ? dtls->input_bytes : (size_t)bytes;
  memcpy(data, dtls->input, count);
  dtls->input = NULL;
  return (int)count;
}

static int bio_write(BIO *bio, const char *data, int bytes) {
  co_dtls *dtls = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (bytes > 0 && dtls->lent_output != NULL && (size_t)bytes <= dtls->lent_output_room) {
    memcpy(dtls->lent_output, data, (size_t)bytes);
    dtls->lent_output_bytes = (size_t)bytes;
    dtls->lent_output = NULL;
    return bytes;
  }
  if (bytes > 0) message_queue_push(&dtls->output, (const uint8_t *)data, (size_t)bytes);
  return bytes;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD: return IP_OVERHEAD_BYTES;
    // In particular nothing is ever "pending": OpenSSL would count it against the datagram's limit.
    default: return 0;
  }
}

static int bio_create(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_method_once = PTHREAD_ONCE_INIT;

static void make_bio_method(void) {
  bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lent datagrams");
  if (bio_method == NULL) return;
  BIO_meth_set_read(bio_method, bio_read);
  BIO_meth_set_write(bio_method, bio_write);
  BIO_meth_set_ctrl(bio_method, bio_control);
  BIO_meth_set_create(bio_method, bio_create);
}

// MARK: life

co_dtls *co_dtls_new(
    co_context *context, const co_certificate *certificate, int is_client, size_t datagram_bytes_max,
    uint32_t first_timeout_microseconds) {
  pthread_once(&bio_method_once, make_bio_method);
  co_dtls *dtls = calloc(1, sizeof *dtls);
  if (dtls == NULL) return NULL;
  dtls->reason = "";
  dtls->identity = context->identity;
  dtls->first_timeout_microseconds = first_timeout_microseconds;
  message_queue_init(&dtls->output, OUTPUT_BYTES_MAX);
  message_queue_init(&dtls->messages, MESSAGE_BYTES_MAX);
  ERR_clear_error();
  dtls->ssl = SSL_new(context->ssl);
  BIO *bio = bio_method == NULL ? NULL : BIO_new(bio_method);
  if (dtls->ssl == NULL || bio == NULL ||
      (certificate != NULL && (SSL_use_certificate(dtls->ssl, certificate->x509) != 1 ||
                               SSL_use_PrivateKey(dtls->ssl, certificate->key) != 1))) {
    ERR_clear_error();
    BIO_free(bio);
    co_dtls_free(dtls);
    return NULL;
  }
  BIO_set_data(bio, dtls);
  SSL_set_bio(dtls->ssl, bio, bio);
  SSL_set_app_data(dtls->ssl, dtls);
  DTLS_set_timer_cb(dtls->ssl, co_dtls_timer);
  SSL_set_mtu(dtls->ssl, (long)datagram_bytes_max);
  if (is_client) SSL_set_connect_state(dtls->ssl);
  else SSL_set_accept_state(dtls->ssl);
  return dtls;
}

void co_dtls_free(co_dtls *dtls) {
  if (dtls == NULL) return;
  SSL_free(dtls->ssl);
  message_queue_free(&dtls->output);
  message_queue_free(&dtls->messages);
  free(dtls);
}

// MARK: the peer's certificate

int co_dtls_accept_digest(co_dtls *dtls, int hash, const uint8_t *digest, size_t digest_bytes) {
  const EVP_MD *function = co_hash_function(hash);
  if (function == NULL || digest_bytes != (size_t)EVP_MD_get_size(function)) return 0;
  if (dtls->accepted_count == ACCEPTED_DIGESTS_MAX) return 0;
  if (dtls->accepted_count > 0 && dtls->accepted_hash != hash) return 0;
  dtls->accepted_hash = hash;
  dtls->accepted_bytes = digest_bytes;
  memcpy(dtls->accepted[dtls->accepted_count++], digest, digest_bytes);
  return 1;
}

static int matches(const co_dtls *dtls, const X509 *certificate) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  int found = 0;
  if (certificate == NULL || dtls->accepted_count == 0) return 0;
  if (X509_digest(certificate, co_hash_function(dtls->accepted_hash), digest, &bytes) != 1) return 0;
  if (bytes != dtls->accepted_bytes) return 0;
  for (size_t i = 0; i < dtls->accepted_count; i++) found |= CRYPTO_memcmp(digest, dtls->accepted[i], bytes) == 0;
  return found;
}

/// Stands for OpenSSL's whole chain check: certificates of WebRTC are self-signed and only their digest counts (RFC
/// 8122 section 6.2). Both roles pass here after the hellos, so that a peer without SRTP gets its alert here too.
int co_dtls_verify(X509_STORE_CTX *store, void *argument) {
  (void)argument;
  SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  co_dtls *dtls = ssl == NULL ? NULL : SSL_get_app_data(ssl);
  if (dtls == NULL) return 0;
  dtls->is_verified = 0;
  if (!matches(dtls, X509_STORE_CTX_get0_cert(store))) {
    dtls->failure = CO_FAILURE_FINGERPRINT;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);  // the alert becomes bad_certificate
    return 0;
  }
  if (!dtls->allows_no_srtp && co_dtls_srtp_profile(dtls) == 0) {
    dtls->failure = CO_FAILURE_NO_SRTP_PROFILE;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);  // handshake_failure
    return 0;
  }
  X509_STORE_CTX_set_error(store, X509_V_OK);
  dtls->is_verified = 1;
  return 1;
}

/// A host name is also sent as SNI; an address must not be (RFC 6066 section 3).
int co_dtls_expect_host(co_dtls *dtls, const char *host) {
  X509_VERIFY_PARAM *parameters = SSL_get0_param(dtls->ssl);
  X509_VERIFY_PARAM_set_hostflags(parameters, CO_HOST_FLAGS);
  int is_address = X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1;
  dtls->has_host = host[0] != 0 && (is_address || (X509_VERIFY_PARAM_set1_host(parameters, host, 0) == 1 &&
                                                   SSL_set_tlsext_host_name(dtls->ssl, host) == 1));
  ERR_clear_error();
  return dtls->has_host;
}

void co_dtls_allow_no_srtp(co_dtls *dtls) { dtls->allows_no_srtp = 1; }

// MARK: progress

static void fail(co_dtls *dtls, co_dtls_failure_kind kind, const char *reason) {
  dtls->state = CO_DTLS_FAILED;
  if (dtls->failure == CO_FAILURE_NONE) dtls->failure = kind;
  if (reason != NULL) dtls->reason = reason;
}

static void fail_by_error_queue(co_dtls *dtls) {
  unsigned long error = ERR_peek_error();
  // OpenSSL refuses some malformed fragments without a word.
  const char *reason = error == 0 ? "malformed message" : ERR_reason_error_string(error);
  int is_empty_certificate = ERR_GET_LIB(error) == ERR_LIB_SSL &&
                             ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
  int is_refused_chain = dtls->identity == CO_IDENTITY_CHAIN && ERR_GET_LIB(error) == ERR_LIB_SSL &&
                         ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  if (is_refused_chain) {
    fail(dtls, CO_FAILURE_CERTIFICATE, X509_verify_cert_error_string(SSL_get_verify_result(dtls->ssl)));
  } else {
    fail(dtls, is_empty_certificate ? CO_FAILURE_NO_PEER_CERTIFICATE : CO_FAILURE_PROTOCOL, reason);
  }
}

static int wants_more(co_dtls *dtls, int result) {
  int error = SSL_get_error(dtls->ssl, result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/// The settings and the verify callback enforce all of this already; nothing may depend on that alone.
static void check_peer(co_dtls *dtls) {
  if (dtls->identity == CO_IDENTITY_ANYBODY) return;
  if (SSL_get0_peer_certificate(dtls->ssl) == NULL) return fail(dtls, CO_FAILURE_NO_PEER_CERTIFICATE, NULL);
  if (dtls->identity == CO_IDENTITY_CHAIN) {
    if (!dtls->has_host) return fail(dtls, CO_FAILURE_CERTIFICATE, "no host name to verify");
    long result = SSL_get_verify_result(dtls->ssl);
    if (result != X509_V_OK) fail(dtls, CO_FAILURE_CERTIFICATE, X509_verify_cert_error_string(result));
    return;
  }
  if (!dtls->is_verified || SSL_session_reused(dtls->ssl)) return fail(dtls, CO_FAILURE_FINGERPRINT, NULL);
  if (!dtls->allows_no_srtp && co_dtls_srtp_profile(dtls) == 0) fail(dtls, CO_FAILURE_NO_SRTP_PROFILE, NULL);
}

static void shake_hands(co_dtls *dtls) {
  int result = SSL_do_handshake(dtls->ssl);
  if (result != 1) {
    if (!wants_more(dtls, result)) fail_by_error_queue(dtls);
    return;
  }
  check_peer(dtls);
  if (dtls->state == CO_DTLS_HANDSHAKING) dtls->state = CO_DTLS_CONNECTED;
}

/// Reads one message to `message` and returns its length, 0 when there is none.
static int read_message(co_dtls *dtls, uint8_t *message, size_t room) {
  int result = SSL_read(dtls->ssl, message, (int)room);
  if (result > 0) return result;
  if (wants_more(dtls, result)) return 0;
  if (SSL_get_error(dtls->ssl, result) == SSL_ERROR_ZERO_RETURN) {
    SSL_shutdown(dtls->ssl);
    dtls->state = CO_DTLS_CLOSED;
  } else {
    fail_by_error_queue(dtls);
  }
  return 0;
}

/// Empties OpenSSL of application data. Also answers a repeated last flight, which heals its loss.
static void read_messages(co_dtls *dtls, size_t reads_max) {
  uint8_t message[RECORD_BYTES_MAX];
  for (size_t i = 0; i < reads_max; i++) {
    int bytes = read_message(dtls, message, sizeof message);
    if (bytes == 0) return;
    message_queue_push(&dtls->messages, message, (size_t)bytes);
  }
}

static void advance(co_dtls *dtls) {
  size_t reads_max = 1 + dtls->input_bytes / RECORD_BYTES_MIN;
  if (dtls->state == CO_DTLS_HANDSHAKING) shake_hands(dtls);
  if (dtls->state == CO_DTLS_CONNECTED) read_messages(dtls, reads_max);
}

co_dtls_state co_dtls_start(co_dtls *dtls, int64_t now) {
  enter(now);
  advance(dtls);
  leave();
  return dtls->state;
}

co_dtls_state co_dtls_receive(co_dtls *dtls, const uint8_t *datagram, size_t bytes, int64_t now) {
  if (dtls->state == CO_DTLS_FAILED || dtls->state == CO_DTLS_CLOSED || bytes == 0) return dtls->state;
  enter(now);
  dtls->input = datagram;
  dtls->input_bytes = bytes;
  advance(dtls);
  dtls->input = NULL;
  dtls->input_bytes = 0;
  leave();
  return dtls->state;
}

co_dtls_state co_dtls_open(
    co_dtls *dtls, const uint8_t *datagram, size_t bytes, uint8_t *message, int64_t *message_bytes, int64_t now) {
  *message_bytes = -1;
  if (dtls->state != CO_DTLS_CONNECTED || bytes == 0) return dtls->state;
  enter(now);
  dtls->input = datagram;
  dtls->input_bytes = bytes;
  int first = read_message(dtls, message, bytes < RECORD_BYTES_MAX ? bytes : RECORD_BYTES_MAX);
  if (first > 0) *message_bytes = first;
  // A record has some dozens of bytes around its message: with this much left over there is another one.
  if (first > 0 && bytes - (size_t)first > RECORD_OVERHEAD_BYTES_MAX) read_messages(dtls, bytes / RECORD_BYTES_MIN);
  dtls->input = NULL;
  dtls->input_bytes = 0;
  leave();
  return dtls->state;
}

int64_t co_dtls_timeout(co_dtls *dtls, int64_t now) {
  if (dtls->state == CO_DTLS_FAILED || dtls->state == CO_DTLS_CLOSED) return -1;
  struct timeval left = {0, 0};
  enter(now);
  int is_set = DTLSv1_get_timeout(dtls->ssl, &left) == 1;
  leave();
  return is_set ? (int64_t)left.tv_sec * 1000000000 + (int64_t)left.tv_usec * 1000 : -1;
}

co_dtls_state co_dtls_handle_timeout(co_dtls *dtls, int64_t now) {
  if (dtls->state == CO_DTLS_FAILED || dtls->state == CO_DTLS_CLOSED) return dtls->state;
  enter(now);
  if (DTLSv1_handle_timeout(dtls->ssl) < 0) fail_by_error_queue(dtls);
  leave();
  return dtls->state;
}

size_t co_dtls_output_bytes(const co_dtls *dtls) {
  return message_queue_is_empty(&dtls->output) ? 0 : message_queue_first_bytes(&dtls->output);
}

void co_dtls_take_output(co_dtls *dtls, uint8_t *datagram) { message_queue_pop(&dtls->output, datagram); }

int co_dtls_write(co_dtls *dtls, const uint8_t *data, size_t bytes, int64_t now) {
  if (dtls->state != CO_DTLS_CONNECTED || bytes == 0 || bytes > co_dtls_message_bytes_max(dtls)) return 0;
  enter(now);
  int result = SSL_write(dtls->ssl, data, (int)bytes);
  leave();
  return result == (int)bytes;
}

size_t co_dtls_seal(
    co_dtls *dtls, const uint8_t *data, size_t bytes, uint8_t *datagram, size_t room, int64_t now) {
  dtls->lent_output = datagram;
  dtls->lent_output_room = room;
  dtls->lent_output_bytes = 0;
  int is_written = co_dtls_write(dtls, data, bytes, now);
  dtls->lent_output = NULL;
  return is_written ? dtls->lent_output_bytes : 0;
}

int64_t co_dtls_readable_bytes(const co_dtls *dtls) {
  return message_queue_is_empty(&dtls->messages) ? -1 : (int64_t)message_queue_first_bytes(&dtls->messages);
}

void co_dtls_read(co_dtls *dtls, uint8_t *data) { message_queue_pop(&dtls->messages, data); }

void co_dtls_close(co_dtls *dtls, int64_t now) {
  if (dtls->state == CO_DTLS_CONNECTED) {
    enter(now);
    SSL_shutdown(dtls->ssl);
    leave();
  }
  if (dtls->state != CO_DTLS_FAILED) dtls->state = CO_DTLS_CLOSED;
}

// MARK: what became of it

uint64_t co_dtls_dropped_output(const co_dtls *dtls) { return dtls->output.dropped; }

uint64_t co_dtls_dropped_messages(const co_dtls *dtls) { return dtls->messages.dropped; }

co_dtls_failure_kind co_dtls_failure(const co_dtls *dtls) { return dtls->failure; }

const char *co_dtls_failure_reason(const co_dtls *dtls) { return dtls->reason; }

uint16_t co_dtls_srtp_profile(const co_dtls *dtls) {
  const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(dtls->ssl);
  return profile == NULL ? 0 : (uint16_t)profile->id;
}

const char *co_dtls_cipher_suite(const co_dtls *dtls) {
  const SSL_CIPHER *cipher = SSL_get_current_cipher(dtls->ssl);
  const char *name = cipher == NULL ? NULL : SSL_CIPHER_standard_name(cipher);
  return name == NULL ? "" : name;
}

int co_dtls_renegotiate_for_test(co_dtls *dtls, int64_t now) {
  if (dtls->state != CO_DTLS_CONNECTED) return 0;
  enter(now);
  SSL_clear_options(dtls->ssl, SSL_OP_NO_RENEGOTIATION);
  int result = SSL_renegotiate(dtls->ssl);
  if (result == 1) SSL_do_handshake(dtls->ssl);
  leave();
  return result;
}

uint16_t co_dtls_version(const co_dtls *dtls) { return (uint16_t)SSL_version(dtls->ssl); }

size_t co_dtls_message_bytes_max(co_dtls *dtls) { return DTLS_get_data_mtu(dtls->ssl); }

int co_dtls_export_srtp_keys(co_dtls *dtls, uint8_t *material, size_t bytes) {
  static const char label[] = "EXTRACTOR-dtls_srtp";
  return dtls->state == CO_DTLS_CONNECTED &&
         SSL_export_keying_material(dtls->ssl, material, bytes, label, sizeof label - 1, NULL, 0, 0) == 1;
}

size_t co_dtls_peer_digest(const co_dtls *dtls, int hash, uint8_t digest[CO_DIGEST_BYTES_MAX]) {
  const X509 *certificate = SSL_get0_peer_certificate(dtls->ssl);
  const EVP_MD *function = co_hash_function(hash);
  unsigned int bytes = 0;
  if (certificate == NULL || function == NULL || X509_digest(certificate, function, digest, &bytes) != 1) return 0;
  return bytes;
}
