// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Portcullis authors

/// Why a key or a key set is not taken. The description is a clause about "the key" or "the file" for a configuration message;
/// it never holds any of what was read.
package enum KeyProblem: Error, Sendable, Equatable, CustomStringConvertible {
    // Of key sets (RFC 7517 §5)
    case notJSON
    case notAKeySet
    /// No key of the set can be used; how many there were.
    case noUsableKey(of: Int)

    // Of PEM files (RFC 7468)
    case notPEM
    case severalKeys
    case encrypted
    case publicKeyNeeded
    case privateKeyNeeded
    case notPKCS8
    case certificate
    case damaged

    // Of any key
    case unsupported
    case privateKey
    case forAnotherUse
    case forAnotherAlgorithm
    case notListed
    case weakRSA(bits: Int)
    case hugeRSA(bits: Int)
    case badRSA
    case shortSecret(bytes: Int)
    case badPoint
    case badMember(String)
    /// The two halves of a private key do not belong together.
    case inconsistent
    /// libcrypto has failed, which says nothing about the key.
    case failed

    package var description: String {
        switch self {
        case .notJSON: "is no JSON"
        case .notAKeySet: "is no JSON Web Key Set, an object with an array named keys"
        case .noUsableKey(of: 0): "has no key"
        case .noUsableKey(of: let count): "has \(count) \(count == 1 ? "key" : "keys"), none of which can be used"
        case .notPEM: "has no PEM block"
        case .severalKeys: "has more than one PEM block, one key is needed"
        case .encrypted: "is encrypted, a key without a passphrase is needed"
        case .publicKeyNeeded: "is a private key, a public key is needed"
        case .privateKeyNeeded: "is a public key, a PKCS#8 private key is needed"
        case .notPKCS8: "is no PKCS#8 private key (openssl pkcs8 -topk8 -nocrypt makes one)"
        case .certificate: "is no public key (of a certificate, openssl x509 -pubkey -noout prints it)"
        case .damaged: "is damaged or of an unknown kind"
        case .unsupported: "is of a kind that is not supported"
        case .privateKey: "is a private key"
        case .forAnotherUse: "is not for verifying signatures"
        case .forAnotherAlgorithm: "is for an algorithm that it does not fit or that is not supported"
        case .notListed: "fits none of the listed algorithms"
        case .weakRSA(let bits): "is an RSA key of \(bits) bits, at least \(KeyLimit.leastRSABits) are needed"
        case .hugeRSA(let bits): "is an RSA key of \(bits) bits, at most \(KeyLimit.mostRSABits) are taken"
        case .badRSA: "is an RSA key with an unusable modulus or exponent"
        case .shortSecret(let bytes): "has \(bytes) bytes, a secret needs at least \(KeyLimit.leastSecretBytes)"
        case .badPoint: "is no valid point of its curve"
        case .badMember(let name): "has no usable member \(name)"
        case .inconsistent: "is a private key that does not belong to its public half"
        case .failed: "cannot be used because libcrypto failed"
        }
    }
}

enum KeyLimit {
    /// RFC 7518 §3.3.
    static let leastRSABits = 2048
    /// A verification takes time with the square of this; nobody signs tokens with more.
    static let mostRSABits = 8192
    /// Bytes of the public exponent; usual is 3 (65537).
    static let mostRSAExponentBytes = 8
    /// RFC 7518 §3.2, for HS256.
    static let leastSecretBytes = 32
    /// A token without `kid` is tried with every key that fits, so their number bounds what a forged token costs.
    static let keysInSet = 128
}
