// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors
#pragma once
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

/// crypt_r on a fresh `crypt_data` that is wiped afterwards: Swift does not import the 32 KiB structure's large members.
/// Writes the hash and its NUL to `output` and returns 0, or returns -1 where the setting is not understood, the phrase is too long or memory is short.
static inline int portcullis_crypt(const char *phrase, const char *setting, char *output, size_t output_size) {
    struct crypt_data *data = (struct crypt_data *)calloc(1, sizeof(*data));
    if (data == NULL) return -1;
    const char *hash = crypt_r(phrase, setting, data);
    int result = -1;
    // A failure is told by NULL or by a text that begins with a star, depending on the library.
    if (hash != NULL && hash[0] != '*' && strlen(hash) < output_size) {
        memcpy(output, hash, strlen(hash) + 1);
        result = 0;
    }
    explicit_bzero(data, sizeof(*data));
    free(data);
    return result;
}

/// Whether this libcrypt can check passwords against a hash that begins like `setting`. The macros are not there before libxcrypt 4.3; then only use shows it.
static inline int portcullis_crypt_understands(const char *setting) {
#ifdef CRYPT_CHECKSALT_AVAILABLE
    int verdict = crypt_checksalt(setting);
    return verdict != CRYPT_SALT_INVALID && verdict != CRYPT_SALT_METHOD_DISABLED;
#else
    return setting[0] != '\0';
#endif
}
