// SPDX-License-Identifier: Apache-2.0

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"

/// A simulated certificate starts here: 2026-01-01T00:00:00Z.
static const time_t simulated_time = 1767225600;

enum {
  VALID_DAYS_BEFORE = 1,
  VALID_DAYS_AFTER = 30,
  /// RFC 5280 section 4.1.2.2 allows 20.
  SERIAL_BYTES = 16,
  NAME_BYTES = 8,
};

const EVP_MD *co_hash_function(int hash) {
  switch (hash) {
    case CO_SHA1: return EVP_sha1();
    case CO_SHA224: return EVP_sha224();
    case CO_SHA256: return EVP_sha256();
    case CO_SHA384: return EVP_sha384();
    case CO_SHA512: return EVP_sha512();
    default: return NULL;
  }
}

static int set_serial(X509 *x509, OSSL_LIB_CTX *library) {
  uint8_t bytes[SERIAL_BYTES];
  if (RAND_bytes_ex(library, bytes, sizeof bytes, 0) != 1) return 0;
  bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);  // positive and of fixed length
  BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
  int ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL;
  BN_free(number);
  return ok;
}

/// A random common name: it tells nothing about the device.
static int set_name(X509 *x509, OSSL_LIB_CTX *library) {
  static const char digits[] = "0123456789abcdef";
  uint8_t bytes[NAME_BYTES];
  unsigned char text[2 * NAME_BYTES];
  if (RAND_bytes_ex(library, bytes, sizeof bytes, 0) != 1) return 0;
  for (size_t i = 0; i < NAME_BYTES; i++) {
    text[2 * i] = (unsigned char)digits[bytes[i] >> 4];
    text[2 * i + 1] = (unsigned char)digits[bytes[i] & 15];
  }
  X509_NAME *name = X509_get_subject_name(x509);
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, text, sizeof text, -1, 0) == 1 &&
         X509_set_issuer_name(x509, name) == 1;
}

static int fill(X509 *x509, EVP_PKEY *key, OSSL_LIB_CTX *library) {
  time_t now = library == NULL ? time(NULL) : simulated_time;
  return X509_set_version(x509, 2) == 1 && set_serial(x509, library) && set_name(x509, library) &&
         X509_time_adj_ex(X509_getm_notBefore(x509), -VALID_DAYS_BEFORE, 0, &now) != NULL &&
         X509_time_adj_ex(X509_getm_notAfter(x509), VALID_DAYS_AFTER, 0, &now) != NULL &&
         X509_set_pubkey(x509, key) == 1 && X509_sign(x509, key, EVP_sha256()) > 0;
}

co_certificate *co_certificate_new(const co_context *context) {
  OSSL_LIB_CTX *library = context == NULL ? NULL : context->simulation.library;
  co_certificate *certificate = calloc(1, sizeof *certificate);
  if (certificate == NULL) return NULL;
  ERR_clear_error();
  certificate->key = EVP_PKEY_Q_keygen(library, NULL, "EC", "P-256");
  certificate->x509 = X509_new_ex(library, NULL);
  if (certificate->key == NULL || certificate->x509 == NULL ||
      !fill(certificate->x509, certificate->key, library)) {
    ERR_clear_error();
    co_certificate_free(certificate);
    return NULL;
  }
  return certificate;
}

void co_certificate_free(co_certificate *certificate) {
  if (certificate == NULL) return;
  X509_free(certificate->x509);
  EVP_PKEY_free(certificate->key);
  free(certificate);
}

size_t co_certificate_digest(const co_certificate *certificate, int hash, uint8_t digest[CO_DIGEST_BYTES_MAX]) {
  const EVP_MD *function = co_hash_function(hash);
  unsigned int bytes = 0;
  if (function == NULL || X509_digest(certificate->x509, function, digest, &bytes) != 1) return 0;
  return bytes;
}

int co_certificate_is_for_host(const uint8_t *der, size_t bytes, const char *host) {
  const unsigned char *position = der;
  X509 *certificate = bytes > LONG_MAX ? NULL : d2i_X509(NULL, &position, (long)bytes);
  // A text that is an address is compared with addresses alone: X509_check_ip_asc gives -2 for any other.
  int result = certificate == NULL ? 0 : X509_check_ip_asc(certificate, host, 0);
  if (result == -2) result = host[0] == 0 ? 0 : X509_check_host(certificate, host, 0, CO_HOST_FLAGS, NULL);
  X509_free(certificate);
  ERR_clear_error();
  return result == 1;
}
