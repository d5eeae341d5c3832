// SPDX-License-Identifier: Apache-2.0

// What DTLS and SRTP need of OpenSSL 3, under names of our own.
//
// Most of OpenSSL's interface is macros, and its types clash with those of BoringSSL, which comes with Swift
// packages: so no OpenSSL header is visible through this one. Handles are opaque; functions that make one return
// NULL on failure, others return 1 for success unless they say otherwise. Lengths are bytes.
#ifndef COPENSSL_H
#define COPENSSL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: context

/// The settings that all DTLS associations share, made once per process. May be used by several threads.
typedef struct co_context co_context;

/// Makes a context that offers and accepts the named SRTP profiles (OpenSSL's names, ':' between, best first); with
/// NULL it does not negotiate SRTP at all.
co_context *co_context_new(const char *srtp_profiles);

/// Makes a context with a library context of its own whose random numbers all follow from `seed`. Never for production.
co_context *co_context_new_simulated(const char *srtp_profiles, uint64_t seed);

/// Makes a context for clients of servers that an authority vouches for: no SRTP, no certificate of ours, every server's
/// chain and name are verified (see co_dtls_expect_host). Trusted are the certificates in the PEM file `file`, or in the
/// PEM text `pem`; with NULL for both those that the system trusts. NULL if there are none.
co_context *co_context_new_trusting(const char *file, const uint8_t *pem, size_t pem_bytes);

/// Makes a context for tests that plays such a server: it shows the chain of a PEM text and asks for no certificate.
co_context *co_context_new_serving_for_test(
    const uint8_t *chain, size_t chain_bytes, const uint8_t *key, size_t key_bytes);

void co_context_free(co_context *context);

// MARK: certificate

/// An ECDSA P-256 key pair with its self-signed certificate.
typedef struct co_certificate co_certificate;

/// Makes a key pair and a certificate signed with SHA-256, valid from a day ago for 31 days. A context may be NULL; a
/// simulated one gives a repeatable key and fixed dates.
co_certificate *co_certificate_new(const co_context *context);

void co_certificate_free(co_certificate *certificate);

enum { CO_SHA1 = 1, CO_SHA224, CO_SHA256, CO_SHA384, CO_SHA512 };

/// The most bytes a digest has.
enum { CO_DIGEST_BYTES_MAX = 64 };

/// Writes the digest of the certificate's DER form and returns its length, 0 on failure.
size_t co_certificate_digest(const co_certificate *certificate, int hash, uint8_t digest[CO_DIGEST_BYTES_MAX]);

/// Whether a certificate in DER form is for a host: a name, or an address as text. Nothing else of it is verified.
int co_certificate_is_for_host(const uint8_t *der, size_t bytes, const char *host);

// MARK: DTLS

/// One DTLS association over datagrams that the caller moves. Not for several threads at once.
typedef struct co_dtls co_dtls;

typedef enum {
  CO_DTLS_HANDSHAKING,
  /// The handshake is complete, the peer is who it should be, an SRTP profile is chosen where one is wanted.
  CO_DTLS_CONNECTED,
  /// For good; see co_dtls_failure.
  CO_DTLS_FAILED,
  /// The peer sent close_notify, or co_dtls_close was called.
  CO_DTLS_CLOSED,
} co_dtls_state;

typedef enum {
  CO_FAILURE_NONE,
  CO_FAILURE_FINGERPRINT,
  CO_FAILURE_NO_PEER_CERTIFICATE,
  CO_FAILURE_NO_SRTP_PROFILE,
  /// The server's chain or name did not verify; co_dtls_failure_reason says why.
  CO_FAILURE_CERTIFICATE,
  /// OpenSSL gave up; co_dtls_failure_reason says why.
  CO_FAILURE_PROTOCOL,
} co_dtls_failure_kind;

/// Makes an association. The certificate may be NULL (tests only). The first timeout is in microseconds.
co_dtls *co_dtls_new(
    co_context *context, const co_certificate *certificate, int is_client, size_t datagram_bytes_max,
    uint32_t first_timeout_microseconds);

void co_dtls_free(co_dtls *dtls);

/// The peer's certificate has to match one of the digests given by calls of this function; all are of one hash.
int co_dtls_accept_digest(co_dtls *dtls, int hash, const uint8_t *digest, size_t digest_bytes);

/// Names the server, which its certificate then has to be for: a host name, or an address as text. Without it no handshake
/// of a trusting context succeeds.
int co_dtls_expect_host(co_dtls *dtls, const char *host);

/// Lets the peer do without SRTP: a connection of data channels alone needs no keys for media.
void co_dtls_allow_no_srtp(co_dtls *dtls);

/// Sends the client's first flight. `now` is in nanoseconds, here and below.
co_dtls_state co_dtls_start(co_dtls *dtls, int64_t now);

/// Takes one datagram. Application data that it holds goes to the queue that co_dtls_read empties.
co_dtls_state co_dtls_receive(co_dtls *dtls, const uint8_t *datagram, size_t bytes, int64_t now);

/// The same, once connected: the first message goes straight to `message`, which has room for `bytes` bytes, and its
/// length to `message_bytes`, -1 when there is none. Further ones go to the queue.
co_dtls_state co_dtls_open(
    co_dtls *dtls, const uint8_t *datagram, size_t bytes, uint8_t *message, int64_t *message_bytes, int64_t now);

/// Nanoseconds until co_dtls_handle_timeout should be called, or -1 for never.
int64_t co_dtls_timeout(co_dtls *dtls, int64_t now);

co_dtls_state co_dtls_handle_timeout(co_dtls *dtls, int64_t now);

/// The length of the oldest datagram to be sent, 0 when there is none.
size_t co_dtls_output_bytes(const co_dtls *dtls);

/// Copies the oldest datagram to `datagram`, which has room for co_dtls_output_bytes.
void co_dtls_take_output(co_dtls *dtls, uint8_t *datagram);

/// Encrypts one message of application data; 0 when not connected, above the datagram's limit or when OpenSSL refuses.
int co_dtls_write(co_dtls *dtls, const uint8_t *data, size_t bytes, int64_t now);

/// The same, but writes the datagram straight to `datagram`, past the queue, and returns its length, 0 when it cannot;
/// `room` has to be enough for the longest datagram.
size_t co_dtls_seal(
    co_dtls *dtls, const uint8_t *data, size_t bytes, uint8_t *datagram, size_t room, int64_t now);

/// The length of the oldest received message of application data, -1 when there is none.
int64_t co_dtls_readable_bytes(const co_dtls *dtls);

/// Copies the oldest message to `data`, which has room for co_dtls_readable_bytes.
void co_dtls_read(co_dtls *dtls, uint8_t *data);

/// Sends close_notify where a handshake was completed and takes nothing more.
void co_dtls_close(co_dtls *dtls, int64_t now);

/// Asks the peer for a new handshake, which no co_dtls grants; for tests of just that.
int co_dtls_renegotiate_for_test(co_dtls *dtls, int64_t now);

/// How many datagrams were dropped because the queue of datagrams to be sent was full.
uint64_t co_dtls_dropped_output(const co_dtls *dtls);
/// How many messages were dropped because the queue of received messages was full.
uint64_t co_dtls_dropped_messages(const co_dtls *dtls);

co_dtls_failure_kind co_dtls_failure(const co_dtls *dtls);
/// A constant English text of OpenSSL's, or "".
const char *co_dtls_failure_reason(const co_dtls *dtls);

/// The IANA number of the chosen SRTP profile, 0 for none.
uint16_t co_dtls_srtp_profile(const co_dtls *dtls);
/// The IANA name of the cipher suite.
const char *co_dtls_cipher_suite(const co_dtls *dtls);
/// The version on the wire, 0xfefd for DTLS 1.2.
uint16_t co_dtls_version(const co_dtls *dtls);
/// The most bytes of application data that fit a datagram.
size_t co_dtls_message_bytes_max(co_dtls *dtls);
/// Derives keying material for "EXTRACTOR-dtls_srtp" (RFC 5764 section 4.2).
int co_dtls_export_srtp_keys(co_dtls *dtls, uint8_t *material, size_t bytes);
/// Writes the digest of the peer's certificate and returns its length, 0 when there is none.
size_t co_dtls_peer_digest(const co_dtls *dtls, int hash, uint8_t digest[CO_DIGEST_BYTES_MAX]);

// MARK: ciphers for SRTP

/// AES-GCM with a 12-byte nonce and a 16-byte tag, for one direction.
typedef struct co_gcm co_gcm;

/// Makes a cipher of a key of 16 or 32 bytes.
co_gcm *co_gcm_new(const uint8_t *key, size_t key_bytes, int encrypts);
void co_gcm_free(co_gcm *gcm);

/// Encrypts `first` and `second`, one after the other, and appends the tag: `output` has room for both and 16 bytes.
/// The associated data is in two parts as well. Any part may be empty.
int co_gcm_seal(
    co_gcm *gcm, const uint8_t nonce[12], const uint8_t *data, size_t data_bytes, const uint8_t *more_data,
    size_t more_data_bytes, const uint8_t *first, size_t first_bytes, const uint8_t *second, size_t second_bytes,
    uint8_t *output);

/// Decrypts `bytes` bytes that end in the tag to `output`, which has room for 16 fewer; 0 when the tag does not match.
int co_gcm_open(
    co_gcm *gcm, const uint8_t nonce[12], const uint8_t *data, size_t data_bytes, const uint8_t *more_data,
    size_t more_data_bytes, const uint8_t *input, size_t bytes, uint8_t *output);

/// AES in counter mode.
typedef struct co_ctr co_ctr;

/// Makes a cipher of a key of 16 or 32 bytes.
co_ctr *co_ctr_new(const uint8_t *key, size_t key_bytes);
void co_ctr_free(co_ctr *ctr);

/// Encrypts or decrypts `first` and `second`, one after the other, to `output`.
int co_ctr_apply(
    co_ctr *ctr, const uint8_t counter[16], const uint8_t *first, size_t first_bytes, const uint8_t *second,
    size_t second_bytes, uint8_t *output);

/// HMAC-SHA1 with the key's two hash states kept ready.
typedef struct co_hmac_sha1 co_hmac_sha1;

/// Makes an authenticator of a key of at most 64 bytes.
co_hmac_sha1 *co_hmac_sha1_new(const uint8_t *key, size_t key_bytes);
void co_hmac_sha1_free(co_hmac_sha1 *hmac);

/// Authenticates `first` and `second`, one after the other.
int co_hmac_sha1_tag(
    const co_hmac_sha1 *hmac, const uint8_t *first, size_t first_bytes, const uint8_t *second, size_t second_bytes,
    uint8_t tag[20]);

/// Whether both hold the same bytes, in a time that depends on the length alone.
int co_is_equal(const uint8_t *left, const uint8_t *right, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
