// SPDX-License-Identifier: Apache-2.0

// SHA1_Init and its siblings are marked as deprecated for EVP_Digest..., whose copies of a prepared state allocate
// memory for each packet. A plain structure that is copied does not.
#define OPENSSL_SUPPRESS_DEPRECATED

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { TAG_BYTES = 16, SHA1_BLOCK_BYTES = 64 };

struct co_gcm {
  EVP_CIPHER_CTX *cipher;
};

struct co_ctr {
  EVP_CIPHER_CTX *cipher;
};

struct co_hmac_sha1 {
  SHA_CTX inner;
  SHA_CTX outer;
};

static EVP_CIPHER_CTX *make_cipher(const EVP_CIPHER *cipher, const uint8_t *key, int encrypts) {
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  if (context == NULL) return NULL;
  if (EVP_CipherInit_ex(context, cipher, NULL, key, NULL, encrypts) != 1) {
    ERR_clear_error();
    EVP_CIPHER_CTX_free(context);
    return NULL;
  }
  return context;
}

co_gcm *co_gcm_new(const uint8_t *key, size_t key_bytes, int encrypts) {
  if (key_bytes != 16 && key_bytes != 32) return NULL;
  co_gcm *gcm = calloc(1, sizeof *gcm);
  if (gcm == NULL) return NULL;
  gcm->cipher = make_cipher(key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), key, encrypts);
  if (gcm->cipher != NULL) return gcm;
  free(gcm);
  return NULL;
}

void co_gcm_free(co_gcm *gcm) {
  if (gcm == NULL) return;
  EVP_CIPHER_CTX_free(gcm->cipher);
  free(gcm);
}

static int update(EVP_CIPHER_CTX *cipher, uint8_t *output, const uint8_t *input, size_t bytes) {
  int written = 0;
  if (bytes == 0) return 1;
  return bytes <= INT_MAX && EVP_CipherUpdate(cipher, output, &written, input, (int)bytes) == 1;
}

int co_gcm_seal(
    co_gcm *gcm, const uint8_t nonce[12], const uint8_t *data, size_t data_bytes, const uint8_t *more_data,
    size_t more_data_bytes, const uint8_t *first, size_t first_bytes, const uint8_t *second, size_t second_bytes,
    uint8_t *output) {
  int written = 0;
  uint8_t *end = output + first_bytes + second_bytes;
  return EVP_CipherInit_ex(gcm->cipher, NULL, NULL, NULL, nonce, -1) == 1 &&
         update(gcm->cipher, NULL, data, data_bytes) && update(gcm->cipher, NULL, more_data, more_data_bytes) &&
         update(gcm->cipher, output, first, first_bytes) &&
         update(gcm->cipher, output + first_bytes, second, second_bytes) &&
         EVP_CipherFinal_ex(gcm->cipher, end, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(gcm->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, end) == 1;
}

int co_gcm_open(
    co_gcm *gcm, const uint8_t nonce[12], const uint8_t *data, size_t data_bytes, const uint8_t *more_data,
    size_t more_data_bytes, const uint8_t *input, size_t bytes, uint8_t *output) {
  if (bytes < TAG_BYTES) return 0;
  size_t text_bytes = bytes - TAG_BYTES;
  uint8_t tag[TAG_BYTES];
  int written = 0;
  memcpy(tag, input + text_bytes, TAG_BYTES);
  int ok = EVP_CipherInit_ex(gcm->cipher, NULL, NULL, NULL, nonce, -1) == 1 &&
           EVP_CIPHER_CTX_ctrl(gcm->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
           update(gcm->cipher, NULL, data, data_bytes) && update(gcm->cipher, NULL, more_data, more_data_bytes) &&
           update(gcm->cipher, output, input, text_bytes) &&
           EVP_CipherFinal_ex(gcm->cipher, output + text_bytes, &written) == 1;
  if (ok) return 1;
  // Nothing that was not authenticated stays where a caller could read it.
  OPENSSL_cleanse(output, text_bytes);
  return 0;
}

co_ctr *co_ctr_new(const uint8_t *key, size_t key_bytes) {
  if (key_bytes != 16 && key_bytes != 32) return NULL;
  co_ctr *ctr = calloc(1, sizeof *ctr);
  if (ctr == NULL) return NULL;
  ctr->cipher = make_cipher(key_bytes == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr(), key, 1);
  if (ctr->cipher != NULL) return ctr;
  free(ctr);
  return NULL;
}

void co_ctr_free(co_ctr *ctr) {
  if (ctr == NULL) return;
  EVP_CIPHER_CTX_free(ctr->cipher);
  free(ctr);
}

int co_ctr_apply(
    co_ctr *ctr, const uint8_t counter[16], const uint8_t *first, size_t first_bytes, const uint8_t *second,
    size_t second_bytes, uint8_t *output) {
  return EVP_CipherInit_ex(ctr->cipher, NULL, NULL, NULL, counter, -1) == 1 &&
         update(ctr->cipher, output, first, first_bytes) &&
         update(ctr->cipher, output + first_bytes, second, second_bytes);
}

co_hmac_sha1 *co_hmac_sha1_new(const uint8_t *key, size_t key_bytes) {
  if (key_bytes > SHA1_BLOCK_BYTES) return NULL;
  co_hmac_sha1 *hmac = calloc(1, sizeof *hmac);
  if (hmac == NULL) return NULL;
  uint8_t block[SHA1_BLOCK_BYTES];
  int ok = SHA1_Init(&hmac->inner) == 1 && SHA1_Init(&hmac->outer) == 1;
  for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)((i < key_bytes ? key[i] : 0) ^ 0x36);
  ok = ok && SHA1_Update(&hmac->inner, block, sizeof block) == 1;
  for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
  ok = ok && SHA1_Update(&hmac->outer, block, sizeof block) == 1;
  OPENSSL_cleanse(block, sizeof block);
  if (ok) return hmac;
  co_hmac_sha1_free(hmac);
  return NULL;
}

void co_hmac_sha1_free(co_hmac_sha1 *hmac) {
  if (hmac == NULL) return;
  OPENSSL_cleanse(hmac, sizeof *hmac);
  free(hmac);
}

int co_hmac_sha1_tag(
    const co_hmac_sha1 *hmac, const uint8_t *first, size_t first_bytes, const uint8_t *second, size_t second_bytes,
    uint8_t tag[20]) {
  SHA_CTX state = hmac->inner;
  uint8_t digest[SHA_DIGEST_LENGTH];
  if (first_bytes > 0 && SHA1_Update(&state, first, first_bytes) != 1) return 0;
  if (second_bytes > 0 && SHA1_Update(&state, second, second_bytes) != 1) return 0;
  if (SHA1_Final(digest, &state) != 1) return 0;
  state = hmac->outer;
  return SHA1_Update(&state, digest, sizeof digest) == 1 && SHA1_Final(tag, &state) == 1;
}

int co_is_equal(const uint8_t *left, const uint8_t *right, size_t bytes) {
  return CRYPTO_memcmp(left, right, bytes) == 0;
}
