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

// `EVP_PKEY_PUBLIC_KEY` is a macro of macros that the importer may not evaluate.
static inline int portcullis_public_key_selection(void) { return EVP_PKEY_PUBLIC_KEY; }
