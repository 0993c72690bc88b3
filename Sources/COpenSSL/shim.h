// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

// libcrypto 3.x for the module Tokens, the only one that imports it. What it calls are functions; where OpenSSL offers only a
// macro or a variadic function, there is a static inline wrapper below with the reason.
#pragma once
#include <openssl/bn.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/opensslv.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "Portcullis needs OpenSSL 3.0 or later (libssl-dev)"
#endif

// `OPENSSL_free` is a macro around the call site's file and line.
static inline void portcullis_openssl_free(void *memory) { OPENSSL_free(memory); }

// `OPENSSL_clear_free`, the same for memory that held a private key.
static inline void portcullis_openssl_clear_free(void *memory, size_t size) { OPENSSL_clear_free(memory, size); }

// `OSSL_PARAM_construct_*` keep the addresses that they are given, and a Swift string or array has none beyond one call: so a list
// of parameters is made and used within one function of C. NULL or 0 means that OpenSSL refused.
static inline EVP_PKEY *portcullis_public_key(const char *type, OSSL_PARAM *parameters) {
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
  if (context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
    EVP_PKEY_free(key);
    key = NULL;
  }
  EVP_PKEY_CTX_free(context);
  return key;
}

// As above. Numbers are big-endian bytes.
static inline EVP_PKEY *portcullis_rsa_public_key(const unsigned char *modulus, size_t modulus_size, const unsigned char *exponent, size_t exponent_size) {
  EVP_PKEY *key = NULL;
  OSSL_PARAM *parameters = NULL;
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  BIGNUM *n = BN_bin2bn(modulus, (int)modulus_size, NULL);
  BIGNUM *e = BN_bin2bn(exponent, (int)exponent_size, NULL);
  if (builder != NULL && n != NULL && e != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
      OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1 && (parameters = OSSL_PARAM_BLD_to_param(builder)) != NULL)
    key = portcullis_public_key("RSA", parameters);
  OSSL_PARAM_free(parameters);
  BN_free(n);
  BN_free(e);
  OSSL_PARAM_BLD_free(builder);
  return key;
}

// As above. `point` is in the uncompressed form of SEC 1.
static inline EVP_PKEY *portcullis_ec_public_key(const char *group, const unsigned char *point, size_t point_size) {
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)group, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, point_size),
      OSSL_PARAM_construct_end(),
  };
  return portcullis_public_key("EC", parameters);
}

// As above.
static inline int portcullis_hmac_init(EVP_MAC_CTX *context, const char *hash, const unsigned char *key, size_t key_size) {
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hash, 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_init(context, key, key_size, parameters);
}
