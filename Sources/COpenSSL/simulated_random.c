// SPDX-License-Identifier: Apache-2.0

// A library context for simulations: OpenSSL's default algorithms over a random number generator that follows from a
// seed, so that whole handshakes repeat byte for byte.
//
// OpenSSL's own TEST-RAND hands out a buffer of fixed length and belongs to one thread; this small built-in provider
// never runs dry, and its state belongs to the library context, whatever thread calls.

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const char provider_name[] = "co-simulation";
static const char generator_name[] = "CO-SIMULATED-RAND";

/// The seed's way into the provider's init function, which takes no argument of ours.
static _Thread_local uint64_t seed_of_next_provider;

typedef struct {
  pthread_mutex_t lock;
  uint64_t state;
} simulated_generator;

/// SplitMix64 (Steele, Lea, Flood 2014).
static uint64_t next_word(simulated_generator *generator) {
  generator->state += 0x9e3779b97f4a7c15u;
  uint64_t word = generator->state;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

static void *rand_new(void *provider, void *parent, const OSSL_DISPATCH *parent_calls) {
  (void)parent;
  (void)parent_calls;
  return provider;
}

static void rand_free(void *generator) { (void)generator; }

static int rand_instantiate(
    void *generator, unsigned int strength, int prediction_resistance, const unsigned char *text, size_t text_bytes,
    const OSSL_PARAM params[]) {
  (void)generator, (void)strength, (void)prediction_resistance, (void)text, (void)text_bytes, (void)params;
  return 1;
}

static int rand_uninstantiate(void *generator) {
  (void)generator;
  return 1;
}

static int rand_generate(
    void *context, unsigned char *output, size_t bytes, unsigned int strength, int prediction_resistance,
    const unsigned char *text, size_t text_bytes) {
  (void)strength, (void)prediction_resistance, (void)text, (void)text_bytes;
  simulated_generator *generator = context;
  pthread_mutex_lock(&generator->lock);
  for (size_t offset = 0; offset < bytes; offset += sizeof(uint64_t)) {
    uint64_t word = next_word(generator);
    size_t part = bytes - offset < sizeof word ? bytes - offset : sizeof word;
    memcpy(output + offset, &word, part);
  }
  pthread_mutex_unlock(&generator->lock);
  return 1;
}

static int rand_reseed(
    void *generator, int prediction_resistance, const unsigned char *entropy, size_t entropy_bytes,
    const unsigned char *text, size_t text_bytes) {
  (void)generator, (void)prediction_resistance, (void)entropy, (void)entropy_bytes, (void)text, (void)text_bytes;
  return 1;
}

static int rand_enable_locking(void *generator) {
  (void)generator;
  return 1;
}

static int rand_lock(void *generator) {
  (void)generator;
  return 1;
}

static void rand_unlock(void *generator) { (void)generator; }

static const OSSL_PARAM *rand_gettable(void *generator, void *provider) {
  (void)generator, (void)provider;
  static const OSSL_PARAM params[] = {
      OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, NULL), OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, NULL),
      OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, NULL), OSSL_PARAM_END};
  return params;
}

static int rand_get(void *generator, OSSL_PARAM params[]) {
  (void)generator;
  OSSL_PARAM *param = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
  if (param != NULL && !OSSL_PARAM_set_int(param, EVP_RAND_STATE_READY)) return 0;
  param = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
  if (param != NULL && !OSSL_PARAM_set_uint(param, 256)) return 0;
  param = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
  return param == NULL || OSSL_PARAM_set_size_t(param, INT32_MAX);
}

static const OSSL_DISPATCH generator_calls[] = {
    {OSSL_FUNC_RAND_NEWCTX, (void (*)(void))rand_new},
    {OSSL_FUNC_RAND_FREECTX, (void (*)(void))rand_free},
    {OSSL_FUNC_RAND_INSTANTIATE, (void (*)(void))rand_instantiate},
    {OSSL_FUNC_RAND_UNINSTANTIATE, (void (*)(void))rand_uninstantiate},
    {OSSL_FUNC_RAND_GENERATE, (void (*)(void))rand_generate},
    {OSSL_FUNC_RAND_RESEED, (void (*)(void))rand_reseed},
    {OSSL_FUNC_RAND_ENABLE_LOCKING, (void (*)(void))rand_enable_locking},
    {OSSL_FUNC_RAND_LOCK, (void (*)(void))rand_lock},
    {OSSL_FUNC_RAND_UNLOCK, (void (*)(void))rand_unlock},
    {OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, (void (*)(void))rand_gettable},
    {OSSL_FUNC_RAND_GET_CTX_PARAMS, (void (*)(void))rand_get},
    {0, NULL}};

static const OSSL_ALGORITHM generators[] = {
    {generator_name, "provider=co-simulation", generator_calls, NULL}, {NULL, NULL, NULL, NULL}};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache) {
  (void)provider;
  *no_cache = 0;
  return operation == OSSL_OP_RAND ? generators : NULL;
}

static void teardown(void *provider) {
  simulated_generator *generator = provider;
  pthread_mutex_destroy(&generator->lock);
  free(generator);
}

static const OSSL_DISPATCH provider_calls[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
    {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
    {0, NULL}};

static int init_provider(
    const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provider) {
  (void)handle, (void)in;
  simulated_generator *generator = calloc(1, sizeof *generator);
  if (generator == NULL) return 0;
  pthread_mutex_init(&generator->lock, NULL);
  generator->state = seed_of_next_provider;
  *provider = generator;
  *out = provider_calls;
  return 1;
}

int co_simulation_init(co_simulation *simulation, uint64_t seed) {
  OSSL_LIB_CTX *library = simulation->library = OSSL_LIB_CTX_new();
  if (library == NULL) return 0;
  seed_of_next_provider = seed;
  if (OSSL_PROVIDER_add_builtin(library, provider_name, init_provider) == 1) {
    simulation->generators = OSSL_PROVIDER_load(library, provider_name);
    simulation->algorithms = OSSL_PROVIDER_load(library, "default");
    if (simulation->generators != NULL && simulation->algorithms != NULL &&
        RAND_set_DRBG_type(library, generator_name, "provider=co-simulation", NULL, NULL) == 1) {
      return 1;
    }
  }
  co_simulation_cleanup(simulation);
  return 0;
}

void co_simulation_cleanup(co_simulation *simulation) {
  if (simulation->generators != NULL) OSSL_PROVIDER_unload(simulation->generators);
  if (simulation->algorithms != NULL) OSSL_PROVIDER_unload(simulation->algorithms);
  OSSL_LIB_CTX_free(simulation->library);
  *simulation = (co_simulation){NULL, NULL, NULL};
}
