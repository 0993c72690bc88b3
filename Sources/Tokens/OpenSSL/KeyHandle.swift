// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

import COpenSSL

/// Owns one reference to an `EVP_PKEY`, public or private.
final class KeyHandle: @unchecked Sendable {
    // @unchecked: a key is not changed once it is here. OpenSSL's operations on a key from several threads at a time take the key's
    // own lock for what they cache, and count references atomically.
    let pointer: OpaquePointer

    /// Takes over the caller's reference.
    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        EVP_PKEY_free(pointer)
    }

    /// A public key of its numbers; nil when OpenSSL refuses them (a point that is not on its curve).
    static func publicKey(_ components: PublicKeyComponents) -> KeyHandle? {
        defer { ERR_clear_error() }
        switch components {
        case .rsa(let modulus, let exponent):
            return build("RSA") { builder, numbers in
                numbers.push(OSSL_PKEY_PARAM_RSA_N, modulus, to: builder) && numbers.push(OSSL_PKEY_PARAM_RSA_E, exponent, to: builder)
            }
        case .elliptic(let curve, let x, let y):
            let point: [UInt8] = [4] + x + y
            let key = build("EC") { builder, _ in
                OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve.groupName, 0) == 1
                    && OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, point.count) == 1
            }
            return key.flatMap { $0.isValidPublicKey ? $0 : nil }
        case .ed25519(let x):
            return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, x, x.count).map(KeyHandle.init(owning:))
        }
    }

    /// Full public key validation (SP 800-56A §5.6.2.3.3): on the curve, not infinity, of the right order.
    private var isValidPublicKey: Bool {
        guard let context = EVP_PKEY_CTX_new_from_pkey(nil, pointer, nil) else { return false }
        defer { EVP_PKEY_CTX_free(context) }
        return EVP_PKEY_public_check(context) == 1
    }

    private static func build(_ type: String, _ fill: (OpaquePointer, Numbers) -> Bool) -> KeyHandle? {
        let numbers = Numbers()
        guard let builder = OSSL_PARAM_BLD_new() else { return nil }
        defer { OSSL_PARAM_BLD_free(builder) }
        guard fill(builder, numbers), let parameters = OSSL_PARAM_BLD_to_param(builder) else { return nil }
        defer { OSSL_PARAM_free(parameters) }
        guard let context = EVP_PKEY_CTX_new_from_name(nil, type, nil) else { return nil }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_fromdata_init(context) == 1, EVP_PKEY_fromdata(context, &key, portcullis_public_key_selection(), parameters) == 1 else {
            return nil
        }
        return key.map(KeyHandle.init(owning:))
    }

    /// Numbers that a parameter builder refers to until it has been turned into parameters.
    private final class Numbers {
        private var held: [OpaquePointer] = []

        func push(_ name: String, _ bytes: [UInt8], to builder: OpaquePointer) -> Bool {
            guard let number = BN_bin2bn(bytes, Int32(bytes.count), nil) else { return false }
            held.append(number)
            return OSSL_PARAM_BLD_push_BN(builder, name, number) == 1
        }

        deinit {
            for number in held { BN_free(number) }
        }
    }
}
